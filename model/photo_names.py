"""The endings of photos' names, by which photos are told from other files in folders and tars."""

from __future__ import annotations

from pathlib import PurePosixPath

# The endings of the formats that `model.image` reads, which takes seconds to import. HEIC is always
# among them: where its decoder is not installed, its photos get an error that says how to install
# it.
PHOTO_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"),
    *(".dib", ".avif", ".heic", ".heif", ".hif"),
)


def is_photo_name(path: str) -> bool:
    """Return whether a file's name has the ending of a photo, in any case, and is not hidden."""
    file = PurePosixPath(path)
    return file.suffix.lower() in PHOTO_ENDINGS and not file.name.startswith(".")
