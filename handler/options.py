"""The options of a request, and how they are read from headers, form fields and JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from handler.errors import RequestError, quoted
from model.decoding_options import DecodingOptions, Option, allows, expected, option, options_of

HEADER = "x-caption-"  # precedes an option's name, in which - stands for _
# Numbers in headers and forms. Python's own reading also accepts "1_0" and digits of any script.
_WHOLE = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,99})?|\.[0-9]{1,99})(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class RequestOptions(DecodingOptions):
    """How a photo is captioned and what its reply holds; each field is an option."""

    return_tokens: bool = option(False, "each word of the caption with its log-probability")
    return_attention: bool = option(False, "where each word looked, as rows of a grid")
    return_timing: bool = option(False, "milliseconds that the parts of captioning took")
    return_image: bool = option(False, "width, height and format of the photo")

    @property
    def decoding(self) -> DecodingOptions:
        """The options of the search for captions, without those of the reply."""
        return DecodingOptions(**{f.name: getattr(self, f.name) for f in fields(DecodingOptions)})

    def changed(self, *asked: Mapping[str, Any]) -> RequestOptions:
        """Return these options, changed as a request asks.

        Parameters
        ----------
        asked
            Names and values (JSON values or texts) from each place where a request may have
            options. The last place that names an option wins, but the others must be valid too.

        Raises
        ------
        RequestError
            An option is unknown or invalid; the message says what was given and what is allowed.
        """
        given: dict[str, Any] = {}
        for place in asked:
            given |= _read(place)
        # A request for few beams alone lowers the default number of captions; a number of captions
        # that the request names itself, wherever, is never lowered but refused.
        beam_size = given.get("beam_size", self.beam_size)
        if "num_captions" in given and given["num_captions"] > beam_size:
            raise RequestError(
                "invalid_option",
                f"num_captions is {given['num_captions']}; it must be a whole number in"
                f" 1..beam_size, {beam_size}",
            )
        given.setdefault("num_captions", min(self.num_captions, beam_size))
        return replace(self, **given)


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the options among headers of any spelling: ``X-Caption-Beam-Size`` is ``beam_size``.

    Raises
    ------
    RequestError
        Two spellings of one header have different values; their order is left to chance.
    """
    found: dict[str, str] = {}
    for spelled, value in headers.items():
        if spelled.lower().startswith(HEADER):
            name = spelled.lower().removeprefix(HEADER).replace("-", "_")
            if found.setdefault(name, value) != value:
                raise RequestError(
                    "invalid_option",
                    f"the headers ask for {quoted(name)} twice: {quoted(found[name])} and"
                    f" {quoted(value)}",
                )
    return found


def option_schemas() -> dict[str, dict[str, Any]]:
    """Return each option's type and range in the words of JSON Schema.

    The maximum of an option that may not exceed another one is that option's name.
    """
    return {each.name: _schema(each) for each in OPTIONS.values()}


def _schema(option: Option) -> dict[str, Any]:
    if option.type is bool:
        return {"type": "boolean"}
    kind = "integer" if option.type is int else "number"
    maximum = option.at_most or option.maximum
    return {"type": kind, "minimum": option.minimum, "maximum": maximum}


def _read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that one place of a request names."""
    for name in asked:
        if name not in OPTIONS:
            raise RequestError(
                "invalid_option",
                f"there is no option {quoted(name)}; there are {', '.join(OPTIONS)}",
            )
    return {name: _value(OPTIONS[name], given) for name, given in asked.items()}


def _value(option: Option, given: Any) -> Any:
    """Return an option's value, given as a JSON value or as a text; raises `RequestError`."""
    value = _from_text(option.type, given.strip(" \t")) if isinstance(given, str) else given
    if option.type is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one type for numbers: 5.0 is 5
    if not allows(option, value):
        raise RequestError(
            "invalid_option", f"{option.name} is {quoted(given)}; it must be {expected(option)}"
        )
    return option.type(value)


def _from_text(kind: type, text: str) -> Any:
    """Return the value of a type that a text stands for; None if it stands for none."""
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    if kind is int:
        return int(text) if _WHOLE.fullmatch(text) else None
    return float(text) if _DECIMAL.fullmatch(text) else None


OPTIONS = options_of(RequestOptions)
