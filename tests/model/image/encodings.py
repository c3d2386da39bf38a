"""One picture in every encoding of the accepted formats."""

from __future__ import annotations

from tests.model.image.bmp_files import bmps
from tests.model.image.jpeg_files import jpegs
from tests.model.image.other_files import heics, others
from tests.model.image.pictures import Encoded
from tests.model.image.png_files import pngs
from tests.model.image.tiff_files import packed_tiffs, tiffs


def encodings() -> dict[str, Encoded]:
    """Return every encoded picture by a name that says how it is encoded."""
    found: dict[str, Encoded] = {}
    for make in (jpegs, pngs, tiffs, packed_tiffs, bmps, others, heics):
        for name, encoded in make():
            assert name not in found
            found[name] = encoded
    return found
