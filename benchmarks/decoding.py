"""The seconds that photos of every image format take to decode, against the estimate from headers.

Other decoders are compared for a camera's JPEG, where they are installed.

The estimate is `model.image.cost`'s, by which the server refuses what would take too long.
Photos of one colour have next to no bytes, as a decompression bomb has; photos of noise have as
many as their format can need.
"""

from __future__ import annotations

import importlib.util
import io
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import inputs
from benchmarks.measure import in_turn, ratio
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from model import image
from model.image.cost import estimate

SIDE, QUICK_SIDE = 2000, 100  # pixels
ENCODER_SIDE = 240  # pixels, the size that photos are decoded for
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("RGB", {"quality": 95}),
    "JPEG progressive": ("RGB", {"quality": 95, "progressive": True}),
    "JPEG CMYK": ("CMYK", {"quality": 95}),
    "PNG": ("RGB", {}),
    "PNG transparent": ("RGBA", {}),
    "PNG palette": ("P", {"transparency": 3}),
    "WEBP": ("RGBA", {"quality": 95, "method": 0}),
    "WEBP lossless": ("RGBA", {"lossless": True, "method": 0}),
    "GIF": ("P", {}),
    "BMP": ("RGB", {}),
    "TIFF": ("RGBA", {}),
    "TIFF deflate": ("RGB", {"compression": "tiff_adobe_deflate"}),
    "TIFF LZW": ("CMYK", {"compression": "tiff_lzw"}),
    "AVIF": ("RGB", {"quality": 95, "speed": 10}),
    "AVIF transparent": ("RGBA", {"quality": 95, "speed": 10}),
    "HEIC": ("RGB", {"quality": 95}),
    "HEIC transparent": ("RGBA", {"quality": 95}),
}


def bench(options: Options) -> Report:
    """Decode photos of one colour and of noise, of every accepted format and its costly kinds."""
    side = QUICK_SIDE if options.quick else SIDE
    report, rows = Report(), [["", "estimated, s", "measured, s", "megabytes"]]
    for name, (mode, settings) in FORMATS.items():
        format = name.partition(" ")[0]
        if format not in image.accepted():
            continue
        for kind, picture in (("flat", _flat(side)), ("noise", _noise(side))):
            photo = _saved(picture.convert(mode), format, settings)
            estimated = estimate(photo).seconds
            measured = statistics.median(_processor_seconds(photo) for _ in range(options.rounds))
            label = f"{name}, {kind}"
            rows.append([label, f"{estimated:.3f}", f"{measured:.3f}", f"{len(photo) / 1e6:.2f}"])
            report.figures[label] = {"estimated": estimated, "measured": measured}
            line = Line(f"decoding, {label}", measured / estimated, "of the estimate", at_most=1)
            report.lines.append(line)
    print(f"photos of {side} x {side} pixels, seconds of one core")
    print(columns(rows))
    photo = inputs.large_photos(1, (side, side) if options.quick else inputs.CAMERA)[0]
    report.lines += _other_decoders(photo, options.rounds)
    return report


def _other_decoders(photo: bytes, rounds: int) -> list[Line]:
    """Decode a camera's JPEG at an eighth of its size by each decoder that is installed."""

    def by_pillow() -> NDArray[np.uint8]:
        picture = Image.open(io.BytesIO(photo))
        picture.draft("RGB", (ENCODER_SIDE, ENCODER_SIDE))
        return np.asarray(picture)

    def by_simplejpeg() -> NDArray[np.uint8]:
        simplejpeg = importlib.import_module("simplejpeg")
        least = {"min_height": ENCODER_SIDE, "min_width": ENCODER_SIDE, "min_factor": 1}
        return np.asarray(simplejpeg.decode_jpeg(photo, "RGB", **least))

    def by_opencv() -> NDArray[np.uint8]:
        cv2 = importlib.import_module("cv2")
        cv2.setNumThreads(1)
        pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    lines, wanted = [], by_pillow()
    for name, module, decode in (
        ("simplejpeg", "simplejpeg", by_simplejpeg),
        ("OpenCV", "cv2", by_opencv),
    ):
        if importlib.util.find_spec(module) is None:
            print(f"{name} is not installed and is left out")
            continue
        timings = in_turn({"pillow": by_pillow, name: decode}, rounds)
        found = decode()
        same = found.shape == wanted.shape and bool((found == wanted).all())
        unit = f"times Pillow's speed, {'the same' if same else 'other'} pixels"
        lines.append(Line(f"camera's JPEG, {name}", ratio(timings, "pillow", name), unit))
    return lines


def _flat(side: int) -> Image.Image:
    return Image.new("RGBA", (side, side), (200, 100, 50, 128))


def _noise(side: int) -> Image.Image:
    """Return a blurred pattern with noise on it, which no format compresses well."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (side // 8 + 1, side // 8 + 1, 4), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side))).astype(np.int16)
    noise = random.integers(-6, 7, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def _saved(picture: Image.Image, format: str, settings: dict[str, Any]) -> bytes:
    if format == "HEIC":
        import pillow_heif

        pillow_heif.register_heif_opener()
        format = "HEIF"
    buffer = io.BytesIO()
    picture.save(buffer, format, **settings)
    return buffer.getvalue()


def _processor_seconds(photo: bytes) -> float:
    """Return the seconds of all threads together: what a decoder shares out counts as well."""
    started = time.process_time()
    image.decode(photo, ENCODER_SIDE)
    return time.process_time() - started
