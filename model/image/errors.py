"""The errors of bytes that are no photo."""

from __future__ import annotations


class InvalidImage(ValueError):
    """The bytes are no photo that can be captioned; the message says why."""


class UnsupportedFormat(InvalidImage):
    """The bytes are a picture, document or video of a kind that is not read."""
