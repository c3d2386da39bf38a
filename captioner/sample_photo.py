"""A photo for a first try, from an installed package."""

from __future__ import annotations

import importlib.resources
import io
from typing import NamedTuple

import numpy as np
from PIL import Image


class SamplePhoto(NamedTuple):
    """A photo and the name it is shown by."""

    name: str
    content: bytes


def sample_photo(format: str = "PNG") -> SamplePhoto:
    """Return PyWavelets' photo of a man behind a camera, in grey (CC0, by Lav Varshney).

    Parameters
    ----------
    format
        Pillow's name for the image format. The bytes of most formats depend on the version of
        their encoder; those of BMP are always the same.
    """
    with (importlib.resources.files("pywt") / "data" / "camera.npz").open("rb") as file:
        pixels = np.load(file)["data"]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return SamplePhoto(f"camera.{format.lower()}", buffer.getvalue())
