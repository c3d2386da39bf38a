"""The fields of the page's form for options, made from the options that requests have."""

from __future__ import annotations

from html import escape

from handler.options import HEADER, OPTIONS
from model.decoding_options import DecodingOptions, Option, options_of

SHOWN_CAPTIONS = 3  # that the page asks for, unless its reader asks for others
FIRST = {"num_captions": SHOWN_CAPTIONS}


def option_fields() -> str:
    """Return a labelled field for each option of the search; an empty one is the server's default.

    A field's name is the header by which a request has the option.
    """
    names = options_of(DecodingOptions)
    return "\n".join(_field(OPTIONS[name]) for name in names)


def _field(option: Option) -> str:
    name = escape(option.name)
    label = escape(option.name.removeprefix("num_").replace("_", " ").capitalize())
    help = option.help[0].upper() + option.help[1:]
    control = _choice(option) if option.type is bool else _number(option)
    return (
        f'<div class="field"><label for="{name}">{label}</label>{control}'
        f'<p id="{name}-help">{escape(help)}</p></div>'
    )


def _number(option: Option) -> str:
    step = 1 if option.type is int else 0.1
    return (
        f'<input type="number" {_attributes(option)} min="{option.minimum}"'
        f' max="{option.maximum}" step="{step}" value="{FIRST.get(option.name, "")}">'
    )


def _choice(option: Option) -> str:
    return (
        f'<select {_attributes(option)}><option value="">as the server does</option>'
        '<option value="true">yes</option><option value="false">no</option></select>'
    )


def _attributes(option: Option) -> str:
    name = escape(option.name)
    header = HEADER + name.replace("_", "-")
    return f'id="{name}" name="{header}" aria-describedby="{name}-help"'
