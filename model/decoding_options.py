"""The options of a search for captions: one place for their names, ranges, defaults and help.

The command line, the options of requests and the tests of documents read them from the fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

Value = TypeVar("Value", int, float, bool)


class Option(NamedTuple):
    """One option, as `options_of` reads it from the field of a dataclass."""

    name: str
    type: type  # int, float or bool
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    at_most: str = ""  # the name of another option that this one may not exceed


def option(
    default: Value,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    at_most: str = "",
) -> Value:
    """Return a dataclass field that describes itself; see `Option`."""
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "at_most": at_most}
    described: Value = field(default=default, metadata=metadata)
    return described


def options_of(options: type) -> dict[str, Option]:
    """Return each option of a dataclass by its name, in order."""
    return {
        f.name: Option(f.name, type(f.default), f.default, **f.metadata)
        for f in fields(options)  # all of them are made by `option`
    }


@dataclass(frozen=True)
class DecodingOptions:
    """The options of a search for captions.

    Raises
    ------
    ValueError
        An option is outside its range; the message says what was given and what is allowed.
    """

    beam_size: int = option(
        10, "hypotheses kept for a photo, K; 1 without a length penalty is greedy", 1, 20
    )
    num_captions: int = option(1, "captions returned for a photo", 1, 20, at_most="beam_size")
    # Three times as many tokens where those are characters, see `WordMap.max_tokens`.
    max_length: int = option(18, "words at most", 1, 50)
    length_penalty: float = option(
        0.6, "exponent of the length in the score; 0 is off, more favours longer captions", 0, 2
    )
    consensus: bool = option(
        True,
        "rank the captions found by what they have in common with all that were held likely,"
        " instead of by score",
    )

    def __post_init__(self) -> None:
        for each in options_of(type(self)).values():
            check(each, getattr(self, each.name))
        if self.num_captions > self.beam_size:
            raise ValueError(
                f"num_captions is {self.num_captions}; it must be at most"
                f" beam_size, {self.beam_size}"
            )

    @property
    def kept(self) -> int:
        """The number of captions that a search keeps for a photo."""
        return self.beam_size if self.consensus else self.num_captions


def check(option: Option, value: object) -> None:
    """Raise `ValueError` unless a value is of the option's type and in its range."""
    if not allows(option, value):
        raise ValueError(f"{option.name} is {value!r}; it must be {expected(option)}")


def allows(option: Option, value: object) -> bool:
    """Whether a value is of the option's type and in its range; a whole number may be a float."""
    if type(value) is not option.type and not (option.type is float and type(value) is int):
        return False
    if option.type is bool:
        return True
    assert isinstance(value, int | float)
    assert option.minimum is not None
    assert option.maximum is not None
    return option.minimum <= value <= option.maximum  # not so for NaN


def expected(option: Option) -> str:
    """Return the values that an option allows, in words for a message."""
    if option.type is bool:
        return "true or false"
    kind = "a whole number" if option.type is int else "a number"
    return f"{kind} in {option.minimum}..{option.maximum}"
