"""What a request may ask for, however it was sent: headers, form fields or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from handler.errors import RequestError, quoted
from model.decoding_options import DecodingOptions, Option, allows, expected, option, options_of

HEADER = "x-caption-"  # before an option's name, with - for _
# Numbers in headers and forms. Python's own reading would take "1_0" and the digits of any script.
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,99})?|\.[0-9]{1,99})(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class RequestOptions(DecodingOptions):
    """How a photo is captioned and what the reply holds; the fields are the options' names."""

    return_tokens: bool = option(False, "each word of the caption with its log-probability")
    return_attention: bool = option(False, "where each word looked, rows of the grid")
    return_timing: bool = option(False, "how long the parts of captioning took, milliseconds")
    return_image: bool = option(False, "width, height and format of the photo as it was read")

    @property
    def decoding(self) -> DecodingOptions:
        """The options of the search alone."""
        return DecodingOptions(**{f.name: getattr(self, f.name) for f in fields(DecodingOptions)})

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
    """Return every option's type and range, for people and programs."""
    return {each.name: _described(each) for each in OPTIONS.values()}


def _described(option: Option) -> dict[str, Any]:
    if option.type is bool:
        return {"type": "boolean"}
    kind = "integer" if option.type is int else "number"
    maximum = option.at_most or option.maximum
    return {"type": kind, "minimum": option.minimum, "maximum": maximum}


def _read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that one place of a request names."""
    for name in asked:
        if name not in OPTIONS:
            raise RequestError.option(
                f"there is no option {quoted(name)}; there are {', '.join(OPTIONS)}"
            )
    return {name: _value(OPTIONS[name], given) for name, given in asked.items()}


def _value(option: Option, given: Any) -> Any:
    """Return an option's value, given as JSON's or as text; raises `RequestError`."""
    value = _from_text(option.type, given.strip(" \t")) if isinstance(given, str) else given
    if option.type is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 5.0 is 5
    if not allows(option, value):
        raise RequestError.option(
            f"{option.name} is {quoted(given)}; it must be {expected(option)}"
        )
    return option.type(value)


def _from_text(kind: type, text: str) -> Any:
    """Return the value that a text stands for, or None."""
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    if kind is int:
        return int(text) if _WHOLE.fullmatch(text) else None
    return float(text) if _DECIMAL.fullmatch(text) else None


OPTIONS = options_of(RequestOptions)
