"""What a request may ask for, however it was sent: headers, form fields or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from handler.errors import RequestError, quoted
from model import DecodingOptions

HEADER = "x-caption-"  # before an option's name, with - for _
MOST_BEAMS, MOST_WORDS, MOST_PENALTY = 10, 50, 2
# Numbers in headers and forms. Python's own reading would take "1_0" and the digits of any script.
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,99})?|\.[0-9]{1,99})(?:[eE][+-]?[0-9]{1,3})?")


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

    def changed(self, *asked: Mapping[str, Any]) -> RequestOptions:
        """Return these options with what a request asks for, as JSON's values or as texts.

        Parameters
        ----------
        asked
            From each place that a request has for options. Of an option that several of them name
            the last one counts, but each has to be right.

        Raises
        ------
        RequestError
            Names the option, what was given and what is allowed.
        """
        given: dict[str, Any] = {}
        for place in asked:
            given |= _read(place)
        # Asking for a width alone should not collide with a default number of captions; a number
        # that was asked for, wherever that was, is never reduced without a word.
        beam_size = given.get("beam_size", self.beam_size)
        if "num_captions" in given and given["num_captions"] > beam_size:
            raise RequestError.option(
                f"num_captions is {given['num_captions']}; it must be a whole number in"
                f" 1..beam_size, {beam_size}"
            )
        given.setdefault("num_captions", min(self.num_captions, beam_size))
        return replace(self, **given)


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the options among headers of any spelling: ``X-Caption-Beam-Size`` is ``beam_size``.

    Raises
    ------
    RequestError
        Two spellings of one header differ: which of them comes last is left to chance.
    """
    found: dict[str, str] = {}
    for spelled, value in headers.items():
        if spelled.lower().startswith(HEADER):
            name = spelled.lower().removeprefix(HEADER).replace("-", "_")
            if found.setdefault(name, value) != value:
                raise RequestError.option(
                    f"the headers ask for {quoted(name)} twice: {quoted(found[name])} and"
                    f" {quoted(value)}"
                )
    return found


def described() -> dict[str, dict[str, Any]]:
    """Every option's type and range, for people and programs."""
    whole = {"beam_size": MOST_BEAMS, "num_captions": "beam_size", "max_length": MOST_WORDS}
    told: dict[str, dict[str, Any]] = {
        name: {"type": "integer", "minimum": 1, "maximum": most} for name, most in whole.items()
    }
    told["length_penalty"] = {"type": "number", "minimum": 0, "maximum": MOST_PENALTY}
    return {f.name: told.get(f.name, {"type": "boolean"}) for f in fields(RequestOptions)}


def _read(asked: Mapping[str, Any]) -> dict[str, Any]:
    for name in asked:
        if name not in _READERS:
            raise RequestError.option(
                f"there is no option {quoted(name)}; there are {', '.join(_READERS)}"
            )
    return {name: _READERS[name](name, value) for name, value in asked.items()}


def _whole(most: int) -> Any:
    def read(name: str, value: Any) -> int:
        number: Any = value
        if isinstance(value, str):
            number = int(value) if _WHOLE.fullmatch(value := value.strip(" \t")) else None
        elif isinstance(value, float) and value.is_integer():
            number = int(value)  # JSON has one kind of number: 5.0 is 5
        if type(number) is not int or not 1 <= number <= most:
            raise RequestError.option(
                f"{name} is {quoted(value)}; it must be a whole number in 1..{most}"
            )
        return number

    return read


def _penalty(name: str, value: Any) -> float:
    number: Any = value
    if isinstance(value, str):
        number = float(value) if _DECIMAL.fullmatch(value := value.strip(" \t")) else None
    if type(number) not in (int, float) or not 0 <= number <= MOST_PENALTY:
        raise RequestError.option(
            f"{name} is {quoted(value)}; it must be a number in 0..{MOST_PENALTY}"
        )
    return float(number)


def _flag(name: str, value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str) and (text := value.strip(" \t").lower()) in known:
        return known[text]
    if isinstance(value, bool):
        return value
    raise RequestError.option(f"{name} is {quoted(value)}; it must be true or false")


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
