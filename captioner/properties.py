"""The lines of a ``.properties`` file, such as config.properties."""

from __future__ import annotations


def read_properties(text: str) -> dict[str, str]:
    """Return the values of a file's keys; comments and lines without ``=`` are left out."""
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    return {name.strip(): value.strip() for name, equals, value in lines if equals}
