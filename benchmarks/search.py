"""The beam search alone, on grids encoded beforehand: its cost against photos, beams and words.

A step is one word of one photo: its beams attend to the grid, read a word and score all words. The
cost against the size of the vocabulary is measured on decoders with random weights, and as the cost
of a step only: random weights do not end a caption, so the cost of a photo would mean nothing.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import inputs
from benchmarks.measure import Timings, in_turn, ratio
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from benchmarks.tutorial import MAX_STEPS, TutorialCaptioner, pooled
from model import Captioner, DecodingOptions, checkpoint, image
from model.beam_search import beam_search
from model.config import ModelConfig
from model.hypotheses import Hypothesis
from model.network import ShowAttendTell

RANDOM_STEPS = 20  # of a search with random weights, which would not end
# Cost may grow this much faster than photos, beams and words do: larger batches do not fit into the
# caches, and no machine is quite idle.
MAX_GROWTH = 1.2
MIN_SPEED = 30.0  # times the tutorial's


@dataclass(frozen=True)
class Sizes:
    """The sizes that are measured; ``batch`` and ``beam`` are those where another size varies."""

    batches: tuple[int, ...] = (1, 8, 32, 128)
    beams: tuple[int, ...] = (1, 3, 5, 10)
    words: tuple[int, ...] = (2540, 5000, 10000)
    batch: int = 32
    beam: int = 5


QUICK = Sizes(batches=(1, 2, 4), beams=(1, 3, 5), words=(50, 100), batch=2, beam=3)


@dataclass(frozen=True)
class Search:
    """A search to be timed, and the counts of one run of it."""

    run: Callable[[], list[list[Hypothesis]]]
    photos: int
    beams: int
    steps: int  # of all beams of all photos together
    length: float  # words of a caption, on average

    @classmethod
    def of(cls, captioner: Captioner, grid: torch.Tensor, beams: int, max_words: int) -> Search:
        """Make the search of grids (B, P, D) for captions of at most so many words."""
        decoder = captioner.network.decoder
        options = DecodingOptions(
            beam_size=beams, max_length=max_words, length_penalty=0.0, consensus=False
        )

        def run() -> list[list[Hypothesis]]:
            return beam_search(decoder, grid, captioner.word_map, options)

        with mock.patch.object(decoder, "step", wraps=decoder.step) as step:
            found = run()
        steps = sum(len(call.args[0]) for call in step.call_args_list)  # tokens, shape = (b, k)
        length = statistics.fmean(len(hypotheses[0].tokens) for hypotheses in found)
        return cls(run, len(grid), beams, steps, length)

    def figures(self, seconds: list[float]) -> dict[str, float]:
        """Return what a photo and a step cost, from the seconds of each round."""
        microseconds = 1e6 * statistics.median(seconds)
        return {
            "photos": self.photos,
            "beams": self.beams,
            "caption_words": self.length,
            "steps_a_photo": self.steps / self.photos,
            "microseconds_a_photo": microseconds / self.photos,
            "microseconds_a_step": microseconds / self.steps,
        }


def bench(options: Options) -> Report:
    """Run all searches in turn, the tutorial's among them."""
    sizes = QUICK if options.quick else Sizes()
    captioner = Captioner.load(options.checkpoint)
    grids = encoded(captioner, max(sizes.batches), options.photos)
    grid = grids[: sizes.batch]
    swept = {
        f"{b} photos, {k} beams": Search.of(captioner, grids[:b], k, MAX_STEPS)
        for b in sizes.batches
        for k in sizes.beams
    }
    by_words = {
        f"{v} words": Search.of(
            random_captioner(captioner.network.config, v), grid, sizes.beam, RANDOM_STEPS
        )
        for v in sizes.words
    }
    tutorial = TutorialCaptioner(*checkpoint.load(options.checkpoint))
    tutorial_grids = pooled(grid)

    def search_as_the_tutorial() -> list[list[int]]:
        return [tutorial.search(one, sizes.beam) for one in tutorial_grids]

    runs: dict[str, Callable[[], object]] = {
        name: search.run for name, search in (swept | by_words).items()
    }
    timings = in_turn(runs | {"tutorial": search_as_the_tutorial}, options.rounds)
    figures = {
        "batch": sizes.batch,
        "beam": sizes.beam,
        "sweep": [search.figures(timings[name]) for name, search in swept.items()],
        "vocabulary": [
            {"vocabulary": v} | search.figures(timings[name])
            for v, (name, search) in zip(sizes.words, by_words.items(), strict=True)
        ],
        "tutorial": {
            "microseconds_a_photo": 1e6 * statistics.median(timings["tutorial"]) / sizes.batch,
            "caption_words": statistics.fmean(map(len, search_as_the_tutorial())),
        },
    }
    print(described(figures))
    return Report(figures, lines(timings, swept | by_words, sizes))


def lines(timings: Timings, searches: Mapping[str, Search], sizes: Sizes) -> list[Line]:
    """Return the speed against the tutorial's, and the growth of cost from usual to large sizes."""
    batch, beam, words = sizes.batch, sizes.beam, sizes.words
    here = f"{batch} photos, {beam} beams"

    def growth(name: str, small: str, large: str, proportion: float) -> Line:
        steps = searches[large].steps / searches[small].steps
        measured = ratio(timings, large, small) / steps / proportion
        return Line(f"search, {name}", measured, "of proportional cost", at_most=MAX_GROWTH)

    max_batch, max_beam = max(sizes.batches), max(sizes.beams)
    return [
        Line(
            f"search, {here}",
            ratio(timings, "tutorial", here),
            "times the tutorial's speed",
            at_least=MIN_SPEED,
        ),
        growth(f"{batch} to {max_batch} photos", here, f"{max_batch} photos, {beam} beams", 1),
        growth(
            f"{beam} to {max_beam} beams",
            here,
            f"{batch} photos, {max_beam} beams",
            max_beam / beam,
        ),
        growth(
            f"{words[0]} to {words[-1]} words",
            f"{words[0]} words",
            f"{words[-1]} words",
            words[-1] / words[0],
        ),
    ]


def described(figures: Mapping[str, Any]) -> str:
    """Return the costs against photos and beams, of the tutorial's search, and against words."""
    head = ["search", "beams", "caption words", "us a photo", "us a photo's step"]
    rows = [
        [
            "1 photo" if row["photos"] == 1 else f"{row['photos']} photos",
            str(row["beams"]),
            f"{row['caption_words']:.1f}",
            f"{row['microseconds_a_photo']:.0f}",
            f"{row['microseconds_a_step']:.1f}",
        ]
        for row in figures["sweep"]
    ]
    tutorial = figures["tutorial"]
    rows.append(
        [
            f"tutorial's, {figures['batch']} photos",
            str(figures["beam"]),
            f"{tutorial['caption_words']:.1f}",
            f"{tutorial['microseconds_a_photo']:.0f}",
            "",
        ]
    )
    rows += [
        [
            f"{row['photos']} photos, {row['vocabulary']} words known",
            str(row["beams"]),
            "random",
            "",
            f"{row['microseconds_a_step']:.1f}",
        ]
        for row in figures["vocabulary"]
    ]
    return columns([head, *rows])


def encoded(captioner: Captioner, count: int, folder: Path | None) -> torch.Tensor:
    """Return the grids of so many photos, shape = (count, P, D)."""
    size = captioner.network.config.image_size
    photos = [image.decode(data, size) for data in inputs.photos(count, folder)]
    return captioner.encode(torch.stack(photos))


def random_captioner(config: ModelConfig, words: int) -> Captioner:
    """Return a captioner of these sizes but for the words, with random weights.

    It is prepared for inference like any other, by way of a checkpoint.
    """
    torch.manual_seed(0)
    network = ShowAttendTell(dataclasses.replace(config, vocabulary_size=words))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "random"
        checkpoint.save(folder, network, inputs.word_map(words), "")
        return Captioner.load(folder)
