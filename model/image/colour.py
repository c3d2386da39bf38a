"""Conversion of an image's colours to sRGB, by its ICC profile."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from model.image.profiles import ENTRY_SIZE, HEADER_SIZE, MAX_PROFILE, number_at, profile_of

# A profile whose colours differ from sRGB's by this much at most, of 255, is taken for sRGB: it
# then costs nothing.
TOLERANCE = 3
MAX_CACHED = 32  # transforms, of up to half a million bytes each
_MAX_TAGS = 100  # LCMS, which Pillow uses, allows as many

# The colour spaces of profiles, and the modes of images whose numbers they explain.
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"}
# Profiles of inputs, displays, outputs and colour spaces; others link devices or name colours.
_CLASSES = {b"scnr", b"mntr", b"prtr", b"spac"}


class Conversion(NamedTuple):
    """The conversion of an image's own numbers to sRGB."""

    mode: str  # of the image that `apply` takes: RGB, L, CMYK or LAB
    transform: ImageCms.ImageCmsTransform

    def apply(self, picture: Image.Image) -> Image.Image:
        """Return the picture in sRGB; safe in several threads at once."""
        return self.transform.apply(picture)


def conversion(image: Image.Image, data: bytes) -> Conversion | None:
    """Return how an image becomes sRGB, or None if its numbers are sRGB already.

    A profile that is broken, or made for images of another kind, is ignored.

    Parameters
    ----------
    image
        Opened, not loaded.
    data
        The file it was opened from.
    """
    profile = profile_of(image, data)
    if not profile or len(profile) > MAX_PROFILE:
        return None
    mode = _SPACES.get(profile[16:20])
    fits = {
        "L": image.mode in _GREY_MODES,
        "CMYK": image.mode == "CMYK",
        "LAB": image.mode == "LAB",
    }
    # Grey numbers can be taken for equal red, green and blue.
    if mode is None or not fits.get(mode, image.mode not in ("CMYK", "LAB")):
        return None
    transform = _cached_transform(profile, mode)
    return None if transform is None else Conversion(mode, transform)


_transforms: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()
_lock = threading.Lock()


def _cached_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return `_transform`, made once for each of the `MAX_CACHED` profiles used last."""
    key = hashlib.sha256(profile).digest(), mode
    with _lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    transform = _transform(profile, mode)  # outside the lock: at worst, two threads make the same
    with _lock:
        _transforms[key] = transform
        if len(_transforms) > MAX_CACHED:
            _transforms.popitem(last=False)
    return transform


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Make a transform to sRGB; None if the profile is broken, of no use here, or sRGB."""
    if not _is_usable(profile):
        return None
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            # Without its cache of one pixel, an LCMS transform is surely safe in several threads.
            flags=ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        probe = _probe(mode)
        if probe is not None:
            converted = np.asarray(transform.apply(probe)).astype(int)
            if np.abs(converted - np.asarray(probe.convert("RGB"))).max() <= TOLERANCE:
                return None
    except (OSError, ValueError, TypeError):  # what ImageCms raises for broken profiles
        return None
    return transform


def _is_usable(profile: bytes) -> bool:
    """Whether a profile is of an image's kind and made of tables that are as long as they say.

    Chains of "processing elements" are refused: a megabyte of them holds so many that a transform
    takes minutes to make. No camera and no common program writes them.
    """
    if len(profile) < HEADER_SIZE + 4 or profile[12:16] not in _CLASSES:
        return False
    count = number_at(profile, HEADER_SIZE)
    end = HEADER_SIZE + 4 + count * ENTRY_SIZE
    if count > _MAX_TAGS or len(profile) < end:
        return False
    starts = (number_at(profile, at + 4) for at in range(HEADER_SIZE + 4, end, ENTRY_SIZE))
    return all(profile[start : start + 4] != b"mpet" for start in starts)


def _probe(mode: str) -> Image.Image | None:
    """Return a picture that a profile is compared with sRGB on; None for CMYK and Lab.

    Profiles of those two always differ.
    """
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "RGB":
        steps = np.linspace(0, 255, 18, dtype=np.uint8)
        return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18, -1, 3))
    return None
