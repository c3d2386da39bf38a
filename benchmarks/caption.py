"""From the bytes of photos to captions: throughput, latency, share of the peak, large photos."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import material
from benchmarks.measure import in_turn, ratio
from benchmarks.report import Line, Options, Report, columns
from benchmarks.tutorial import MOST_STEPS, TutorialCaptioner
from model import Captioner, DecodingOptions, checkpoint, image
from model.captioner import Caption
from model.inference.devices import has_bf16
from model.inference.products import convolution_operators, product_operators

Shape = Sequence[int]

# As long as the tutorial's may be, so that neither is stopped before the other.
# The tutorial's search: it sums log-probabilities, whatever the length.
DECODING = DecodingOptions(beam_size=5, max_length=MOST_STEPS, length_penalty=0.0, consensus=False)
BY_SCORE = DecodingOptions(consensus=False)
THRESHOLDS = {"throughput": 15.0, "latency": 4.0, "share of the peak": 0.25, "large photos": 2.5}


def product_operations(x: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(x) * out_shape[-1]


def convolution_operations(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


# Torch's counter does not know the private operators that a prepared network calls.
OPERATIONS: dict[Any, Any] = {
    **dict.fromkeys(product_operators(), product_operations),
    **dict.fromkeys(convolution_operators(), convolution_operations),
}


@dataclass(frozen=True)
class Sizes:
    """How many photos, the large ones' pixels, and the side of the product that finds the peak."""

    batch: int = 32
    single: int = 8  # photos one at a time
    peak_batch: int = 64
    large: tuple[int, int] = material.CAMERA
    product: int = 4096


QUICK = Sizes(batch=4, single=2, peak_batch=4, large=(1200, 900), product=256)


def bench(options: Options) -> Report:
    """All five, each with its baseline in turn."""
    sizes = QUICK if options.quick else Sizes()
    captioner = Captioner.load(options.checkpoint)
    tutorial = TutorialCaptioner(*checkpoint.load(options.checkpoint))
    photos = material.photos(max(sizes.batch, sizes.peak_batch), options.photos)
    report = Report()
    for part in (
        against_the_tutorial(captioner, tutorial, photos, sizes, options.rounds),
        against_the_likeliest(captioner, photos[: sizes.batch], options.rounds),
        against_the_peak(captioner, photos[: sizes.peak_batch], sizes.product, options.rounds),
        large_photos(captioner, sizes, options.rounds),
    ):
        report.figures |= part.figures
        report.lines += part.lines
    return report


def against_the_tutorial(
    captioner: Captioner,
    tutorial: TutorialCaptioner,
    photos: Sequence[bytes],
    sizes: Sizes,
    rounds: int,
) -> Report:
    """A batch, and photos one at a time."""
    batch, single = photos[: sizes.batch], photos[: sizes.single]
    beam = DECODING.beam_size
    times = in_turn(
        {
            "batch": lambda: captioner.caption(batch, DECODING),
            "their batch": lambda: [tutorial.caption(photo, beam) for photo in batch],
            "single": lambda: [captioner.caption([photo], DECODING) for photo in single],
            "their single": lambda: [tutorial.caption(photo, beam) for photo in single],
        },
        rounds,
    )
    ours, theirs = (statistics.median(times[name]) for name in ("batch", "their batch"))
    alone, theirs_alone = (statistics.median(times[name]) for name in ("single", "their single"))
    figures: dict[str, Any] = {
        "beam": beam,
        "photos_a_second": {
            f"batch of {len(batch)}": len(batch) / ours,
            "one at a time": len(single) / alone,
            "tutorial": len(batch) / theirs,
        },
        "milliseconds_a_photo_alone": {
            "ours": 1e3 * alone / len(single),
            "tutorial": 1e3 * theirs_alone / len(single),
        },
        "caption_words": {
            "ours": mean_words(captioner.caption(batch, DECODING)),
            "tutorial": statistics.fmean(
                len(tutorial.caption(photo, beam).split()) for photo in batch
            ),
        },
    }
    print(described(figures))
    return Report(
        figures,
        [
            Line(
                f"caption, batch {len(batch)}, beam {beam}",
                ratio(times, "their batch", "batch"),
                "times the tutorial's speed",
                at_least=THRESHOLDS["throughput"],
            ),
            Line(
                f"caption, one at a time, beam {beam}",
                ratio(times, "their single", "single"),
                "times the tutorial's speed",
                at_least=THRESHOLDS["latency"],
            ),
        ],
    )


def against_the_likeliest(captioner: Captioner, photos: Sequence[bytes], rounds: int) -> Report:
    """What the consensus of the default search costs."""
    times = in_turn(
        {
            "default": lambda: captioner.caption(photos),
            "by score": lambda: captioner.caption(photos, BY_SCORE),
        },
        rounds,
    )
    seconds = statistics.median(times["default"])
    line = Line(
        f"caption, batch {len(photos)}, default search",
        ratio(times, "by score", "default"),
        "of the speed without consensus",
    )
    return Report({"photos_a_second_by_default": len(photos) / seconds}, [line])


def against_the_peak(
    captioner: Captioner, photos: Sequence[bytes], product: int, rounds: int
) -> Report:
    """Operations a second, decoding included, as a share of what a matrix product reaches.

    Products and convolutions count, as they are executed, in a run of their own.
    """
    with FlopCounterMode(display=False, custom_mapping=OPERATIONS) as counter:
        captioner.caption(photos, DECODING)
    operations = counter.get_total_flops()
    dtype = torch.bfloat16 if has_bf16(captioner.device) else torch.float32
    square = torch.randn(product, product).to(dtype)
    times = in_turn(
        {
            "caption": lambda: captioner.caption(photos, DECODING),
            "product": lambda: torch.mm(square, square),
        },
        rounds,
    )
    peak = 2 * product**3 / statistics.median(times["product"])
    reached = operations / statistics.median(times["caption"])
    type_name = str(dtype).removeprefix("torch.")
    print(
        f"batch {len(photos)}: {operations / len(photos) / 1e9:.2f} GFLOP a photo,"
        f" {reached / 1e9:.0f} GFLOP/s; a {type_name} product of {product} x {product}"
        f" reaches {peak / 1e9:.0f} GFLOP/s"
    )
    name = f"caption, batch {len(photos)}, beam {DECODING.beam_size}, operations"
    return Report(
        {
            "operations_a_photo": operations / len(photos),
            "operations_a_second": reached,
            "peak_operations_a_second": peak,
            "peak_of": f"{type_name} product of {product} x {product}",
        },
        [
            Line(
                name,
                ratio(times, "product", "caption") * operations / (2 * product**3),
                f"of the {type_name} peak",
                at_least=THRESHOLDS["share of the peak"],
            )
        ],
    )


def large_photos(captioner: Captioner, sizes: Sizes, rounds: int) -> Report:
    """As they come, and decoded in full first, by as many threads; decoding alone beside it.

    Skipping resolution skips transforms, not the entropy coding in front of them: the gain falls
    as the bytes of a photo rise, so those are told.
    """
    photos = material.large_photos(sizes.batch, sizes.large)
    side = captioner.network.config.image_size

    def decoded(decode: Callable[[bytes, int], torch.Tensor]) -> torch.Tensor:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return torch.stack(list(pool.map(lambda data: decode(data, side), photos)))

    times = in_turn(
        {
            "captioned": lambda: captioner.caption(photos, DECODING),
            "captioned, decoded in full": lambda: captioner.caption_photos(
                decoded(material.decode_fully), DECODING
            ),
            "decoding alone": lambda: decoded(image.decode),
            "decoding alone, in full": lambda: decoded(material.decode_fully),
        },
        rounds,
    )
    rates = {name: len(photos) / statistics.median(taken) for name, taken in times.items()}
    megapixels = sizes.large[0] * sizes.large[1] / 1e6
    megabytes = statistics.fmean(map(len, photos)) / 1e6
    what = f"{megapixels:.0f}-megapixel photos"
    rows = [[f"{what} of {megabytes:.1f} MB, batch {len(photos)}", "photos/s"]]
    print(columns([*rows, *([name, f"{rate:.1f}"] for name, rate in rates.items())]))
    than = "times the speed in full"
    captioned = ratio(times, "captioned, decoded in full", "captioned")
    alone = ratio(times, "decoding alone, in full", "decoding alone")
    return Report(
        {"large_photos_a_second": rates, "large_photo_megabytes": megabytes},
        [
            Line(f"caption, {what}", captioned, than, at_least=THRESHOLDS["large photos"]),
            Line(f"decoding alone, {what}", alone, than),
        ],
    )


def mean_words(captions: Sequence[Sequence[Caption]]) -> float:
    return statistics.fmean(len(found[0].words) for found in captions)


def described(figures: dict[str, Any]) -> str:
    rows = [["caption", "photos/s", "caption words"]]
    for name, rate in figures["photos_a_second"].items():
        words = figures["caption_words"]["tutorial" if name == "tutorial" else "ours"]
        rows.append([name, f"{rate:.1f}", f"{words:.1f}"])
    return columns(rows)
