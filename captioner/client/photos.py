"""A photo and the options for its caption, as they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from captioner.photo_files import read_photo

Photo: TypeAlias = bytes | Path


def photo_content(photo: Photo) -> bytes:
    """Return the bytes of an image file that is given by its path or its content.

    Raises
    ------
    OSError
        The file cannot be read, or is a pipe or a device, which might never end.
    TypeError
        The photo is neither bytes nor a Path.
    """
    if isinstance(photo, Path):
        return read_photo(photo)
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    raise TypeError(f"a photo is bytes or a Path, not {type(photo).__name__}")


def option_headers(options: Mapping[str, Any]) -> dict[str, str]:
    """Return options as headers, ``beam_size=5`` as ``X-Caption-Beam-Size: 5``; None is left out.

    Raises
    ------
    ValueError
        A value cannot be sent as a header.
    """
    headers = {}
    for name, value in options.items():
        if value is None:
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not (text.isascii() and text.isprintable()):
            raise ValueError(f"{name} is {value!r}; it cannot be sent as a header")
        headers[f"X-Caption-{name.replace('_', '-').title()}"] = text
    return headers
