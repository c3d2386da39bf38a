"""Captioning from the bytes of photos: throughput, latency, share of the peak, large photos.

The baselines are the tutorial's algorithm on the same weights, the search without consensus, a
matrix product, and JPEGs decoded in full. Runs and their baselines take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import inputs
from benchmarks.measure import in_turn, ratio
from benchmarks.operations import count_operations
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from benchmarks.tutorial import MAX_STEPS, TutorialCaptioner
from model import Captioner, DecodingOptions, checkpoint, image
from model.captioner import Caption
from model.inference.devices import choose_device, has_bf16

# As the tutorial searches: log-probabilities are summed whatever the length, and captions may be as
# long as there, so that neither search stops before the other.
DECODING = DecodingOptions(beam_size=5, max_length=MAX_STEPS, length_penalty=0.0, consensus=False)
WITHOUT_CONSENSUS = DecodingOptions(consensus=False)
THRESHOLDS = {"throughput": 20.0, "latency": 6.0, "share of the peak": 0.25, "large photos": 2.5}


@dataclass(frozen=True)
class Sizes:
    """The number of photos and the sizes of inputs."""

    batch: int = 32
    single: int = 8  # photos that are captioned one at a time
    peak_batch: int = 64  # photos together where operations are counted
    large: tuple[int, int] = inputs.CAMERA  # pixels of large photos, width and height
    product: int = 4096  # rows and columns of the matrices whose product shows the machine's peak


QUICK = Sizes(batch=4, single=2, peak_batch=4, large=(1200, 900), product=256)


def bench(options: Options) -> Report:
    """Run all parts, each with its baseline in turn."""
    sizes = QUICK if options.quick else Sizes()
    device = choose_device(options.device)
    captioner = Captioner.load(options.checkpoint, device)
    tutorial = TutorialCaptioner(*checkpoint.load(options.checkpoint, device))
    photos = inputs.photos(max(sizes.batch, sizes.peak_batch), options.photos)
    report = Report()
    for part in (
        against_the_tutorial(captioner, tutorial, photos, sizes, options.rounds),
        against_no_consensus(captioner, photos[: sizes.batch], options.rounds),
        against_the_peak(captioner, photos[: sizes.peak_batch], sizes.product, options.rounds),
        large_photos(captioner, sizes, options.rounds),
    ):
        report.add(part)
    return report


def against_the_tutorial(
    captioner: Captioner,
    tutorial: TutorialCaptioner,
    photos: Sequence[bytes],
    sizes: Sizes,
    rounds: int,
) -> Report:
    """Compare with the tutorial's algorithm: a batch of photos, and photos one at a time."""
    batch, single = photos[: sizes.batch], photos[: sizes.single]
    beam = DECODING.beam_size
    timings = in_turn(
        {
            "batch": lambda: captioner.caption(batch, DECODING),
            "tutorial's batch": lambda: [tutorial.caption(photo, beam) for photo in batch],
            "single": lambda: [captioner.caption([photo], DECODING) for photo in single],
            "tutorial's single": lambda: [tutorial.caption(photo, beam) for photo in single],
        },
        rounds,
    )
    medians = {name: statistics.median(seconds) for name, seconds in timings.items()}
    figures: dict[str, Any] = {
        "beam": beam,
        "photos_a_second": {
            f"batch of {len(batch)}": len(batch) / medians["batch"],
            "one at a time": len(single) / medians["single"],
            "tutorial": len(batch) / medians["tutorial's batch"],
        },
        "milliseconds_a_photo_alone": {
            "ours": 1e3 * medians["single"] / len(single),
            "tutorial": 1e3 * medians["tutorial's single"] / len(single),
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
                ratio(timings, "tutorial's batch", "batch"),
                "times the tutorial's speed",
                at_least=THRESHOLDS["throughput"],
            ),
            Line(
                f"caption, one at a time, beam {beam}",
                ratio(timings, "tutorial's single", "single"),
                "times the tutorial's speed",
                at_least=THRESHOLDS["latency"],
            ),
        ],
    )


def against_no_consensus(captioner: Captioner, photos: Sequence[bytes], rounds: int) -> Report:
    """Compare the default search with the same search without consensus."""
    timings = in_turn(
        {
            "default": lambda: captioner.caption(photos),
            "no consensus": lambda: captioner.caption(photos, WITHOUT_CONSENSUS),
        },
        rounds,
    )
    seconds = statistics.median(timings["default"])
    line = Line(
        f"caption, batch {len(photos)}, default search",
        ratio(timings, "no consensus", "default"),
        "of the speed without consensus",
    )
    return Report({"photos_a_second_by_default": len(photos) / seconds}, [line])


def against_the_peak(
    captioner: Captioner, photos: Sequence[bytes], product: int, rounds: int
) -> Report:
    """Compare the operations a second of captioning with those of a matrix product.

    The time of decoding photos is included. Matrix products and convolutions are counted as they
    are executed, in a run that is not timed.
    """
    size = captioner.network.config.image_size
    decoded = torch.stack([image.decode(photo, size) for photo in photos])
    operations = count_operations(lambda: captioner.caption_photos(decoded, DECODING))
    dtype = torch.bfloat16 if has_bf16(captioner.device) else torch.float32
    square = torch.randn(product, product).to(captioner.device, dtype)

    def multiply() -> None:
        torch.mm(square, square)
        if square.device.type == "cuda":
            torch.cuda.synchronize(square.device)

    timings = in_turn(
        {"caption": lambda: captioner.caption(photos, DECODING), "product": multiply}, rounds
    )
    peak = 2 * product**3 / statistics.median(timings["product"])
    reached = operations / statistics.median(timings["caption"])
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
                ratio(timings, "product", "caption") * operations / (2 * product**3),
                f"of the {type_name} peak",
                at_least=THRESHOLDS["share of the peak"],
            )
        ],
    )


def large_photos(captioner: Captioner, sizes: Sizes, rounds: int) -> Report:
    """Compare captioning of large JPEGs with decoding them in full first, by as many threads.

    Decoding alone is compared, too. Decoding at a lower resolution skips transforms, but not the
    entropy coding before them: the gain falls as the bytes of a photo rise, so those are printed.
    """
    photos = inputs.large_photos(sizes.batch, sizes.large)
    side = captioner.network.config.image_size

    def decoded(decode: Callable[[bytes, int], torch.Tensor]) -> torch.Tensor:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return torch.stack(list(pool.map(lambda data: decode(data, side), photos)))

    timings = in_turn(
        {
            "captioned": lambda: captioner.caption(photos, DECODING),
            "captioned, decoded in full": lambda: captioner.caption_photos(
                decoded(inputs.decode_fully), DECODING
            ),
            "decoding alone": lambda: decoded(image.decode),
            "decoding alone, in full": lambda: decoded(inputs.decode_fully),
        },
        rounds,
    )
    rates = {name: len(photos) / statistics.median(seconds) for name, seconds in timings.items()}
    megapixels = sizes.large[0] * sizes.large[1] / 1e6
    megabytes = statistics.fmean(map(len, photos)) / 1e6
    kind = f"{megapixels:.0f}-megapixel photos"
    rows = [[f"{kind} of {megabytes:.1f} MB, batch {len(photos)}", "photos/s"]]
    print(columns([*rows, *([name, f"{rate:.1f}"] for name, rate in rates.items())]))
    unit = "times the speed in full"
    captioned = ratio(timings, "captioned, decoded in full", "captioned")
    alone = ratio(timings, "decoding alone, in full", "decoding alone")
    return Report(
        {"large_photos_a_second": rates, "large_photo_megabytes": megabytes},
        [
            Line(f"caption, {kind}", captioned, unit, at_least=THRESHOLDS["large photos"]),
            Line(f"decoding alone, {kind}", alone, unit),
        ],
    )


def mean_words(captions: Sequence[Sequence[Caption]]) -> float:
    """Return the words of a photo's best caption, on average."""
    return statistics.fmean(len(found[0].words) for found in captions)


def described(figures: dict[str, Any]) -> str:
    """Return the photos a second of each way to caption, as a table."""
    rows = [["caption", "photos/s", "caption words"]]
    for name, rate in figures["photos_a_second"].items():
        words = figures["caption_words"]["tutorial" if name == "tutorial" else "ours"]
        rows.append([name, f"{rate:.1f}", f"{words:.1f}"])
    return columns(rows)
