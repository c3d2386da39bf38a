"""What a request may ask for, however it was sent: headers, form fields or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from handler.errors import RequestError
from model import DecodingOptions

HEADER = "x-caption-"  # before an option's name, with - for _
MOST_BEAMS, MOST_WORDS, MOST_PENALTY = 10, 50, 2


@dataclass(frozen=True)
class RequestOptions:
    """How a photo is captioned and what the reply tells; the fields are the options' names."""

    beam_size: int = DecodingOptions.beam_size
    num_captions: int = DecodingOptions.num_captions
    max_length: int = DecodingOptions.max_length
    length_penalty: float = DecodingOptions.length_penalty
    consensus: bool = DecodingOptions.consensus
    return_tokens: bool = False
    return_attention: bool = False
    return_timing: bool = False
    return_image: bool = False

    @property
    def decoding(self) -> DecodingOptions:
        return DecodingOptions(
            self.beam_size,
            self.num_captions,
            self.max_length,
            self.length_penalty,
            self.consensus,
        )

    def changed(self, asked: Mapping[str, Any]) -> RequestOptions:
        """With what was asked for: JSON's values, or the texts of headers and form fields.

        Raises
        ------
        RequestError
            Names the option, what was given and what is allowed.
        """
        given: dict[str, Any] = {}
        for name, value in asked.items():
            if name not in _READERS:
                raise RequestError.option(
                    f"there is no option {_quoted(name)}; there are {', '.join(_READERS)}"
                )
            given[name] = _READERS[name](name, value)
        # Asking for a width alone should not collide with a default number of captions.
        beam_size = given.get("beam_size", self.beam_size)
        if "num_captions" in given and given["num_captions"] > beam_size:
            raise RequestError.option(
                f"num_captions is {given['num_captions']}; it must be a whole number in"
                f" 1..beam_size, {beam_size}"
            )
        given.setdefault("num_captions", min(self.num_captions, beam_size))
        return replace(self, **given)


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The options among headers of any spelling: ``X-Caption-Beam-Size`` is ``beam_size``."""
    return {
        name.lower().removeprefix(HEADER).replace("-", "_"): value
        for name, value in headers.items()
        if name.lower().startswith(HEADER)
    }


def described() -> dict[str, dict[str, Any]]:
    """Every option's type and range, for people and programs."""
    whole = {"beam_size": MOST_BEAMS, "num_captions": "beam_size", "max_length": MOST_WORDS}
    told: dict[str, dict[str, Any]] = {
        name: {"type": "integer", "minimum": 1, "maximum": most} for name, most in whole.items()
    }
    told["length_penalty"] = {"type": "number", "minimum": 0, "maximum": MOST_PENALTY}
    return {f.name: told.get(f.name, {"type": "boolean"}) for f in fields(RequestOptions)}


def _whole(most: int) -> Any:
    def read(name: str, value: Any) -> int:
        number = _number(value, int)
        if number is None or not 1 <= number <= most:
            raise RequestError.option(
                f"{name} is {_quoted(value)}; it must be a whole number in 1..{most}"
            )
        return int(number)

    return read


def _penalty(name: str, value: Any) -> float:
    number = _number(value, float)
    if number is None or not 0 <= number <= MOST_PENALTY:
        raise RequestError.option(
            f"{name} is {_quoted(value)}; it must be a number in 0..{MOST_PENALTY}"
        )
    return float(number)


def _flag(name: str, value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    if isinstance(value, bool):
        return value
    raise RequestError.option(f"{name} is {_quoted(value)}; it must be true or false")


def _number(value: Any, kind: type[int] | type[float]) -> int | float | None:
    """From JSON or from a text; None if it is no such number."""
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return None
    allowed = (int,) if kind is int else (int, float)
    return value if type(value) in allowed else None


def _quoted(value: Any) -> str:
    """As it was given, but no longer than a line of a log."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_READERS: dict[str, Any] = {
    "beam_size": _whole(MOST_BEAMS),
    "num_captions": _whole(MOST_BEAMS),
    "max_length": _whole(MOST_WORDS),
    "length_penalty": _penalty,
    "consensus": _flag,
    "return_tokens": _flag,
    "return_attention": _flag,
    "return_timing": _flag,
    "return_image": _flag,
}
