"""The search alone, on grids made once: what photos, beams and words cost.

A step is one word of one photo: its beams look at the grid, read a word and score all words. The
cost against words is measured on random decoders of the checkpoint's other sizes, and a step only:
random weights do not end a caption, so what a photo costs there would mean nothing.
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

from benchmarks import material
from benchmarks.measure import Times, in_turn, ratio
from benchmarks.report import Line, Options, Report, columns
from benchmarks.tutorial import MOST_STEPS, TutorialCaptioner, pooled
from model import Captioner, DecodingOptions, checkpoint, image
from model.beam_search import beam_search
from model.config import ModelConfig
from model.hypotheses import Hypothesis
from model.network import ShowAttendTell

RANDOM_STEPS = 20  # of a search that would not end
# Cost may grow in proportion to photos, beams and words, and this much faster: larger batches leave
# the caches, and no machine is quite idle.
PROPORTION = 1.2
THRESHOLD = 30.0  # times the tutorial's speed


@dataclass(frozen=True)
class Sizes:
    """What is swept; batch and beam are what all else is measured at."""

    batches: tuple[int, ...] = (1, 8, 32, 128)
    beams: tuple[int, ...] = (1, 3, 5, 10)
    words: tuple[int, ...] = (2540, 5000, 10000)
    batch: int = 32
    beam: int = 5


QUICK = Sizes(batches=(1, 2, 4), beams=(1, 3, 5), words=(50, 100), batch=2, beam=3)


@dataclass(frozen=True)
class Search:
    """A search to be timed, and what one run of it showed."""

    run: Callable[[], list[list[Hypothesis]]]
    photos: int
    beams: int
    steps: int  # of all photos together
    length: float  # words of a caption, on average

    @classmethod
    def of(cls, captioner: Captioner, grid: torch.Tensor, beams: int, most: int) -> Search:
        """Of a grid (B, P, D), for captions of at most so many words."""
        decoder = captioner.network.decoder
        options = DecodingOptions(
            beam_size=beams, max_length=most, length_penalty=0.0, consensus=False
        )

        def run() -> list[list[Hypothesis]]:
            return beam_search(decoder, grid, captioner.word_map, options)

        with mock.patch.object(decoder, "step", wraps=decoder.step) as step:
            found = run()
        steps = sum(len(call.args[0]) for call in step.call_args_list)  # tokens, shape = (b, k)
        length = statistics.fmean(len(hypotheses[0].tokens) for hypotheses in found)
        return cls(run, len(grid), beams, steps, length)

    def figures(self, times: list[float]) -> dict[str, float]:
        """Medians over the rounds."""
        microseconds = 1e6 * statistics.median(times)
        return {
            "photos": self.photos,
            "beams": self.beams,
            "caption_words": self.length,
            "steps_a_photo": self.steps / self.photos,
            "microseconds_a_photo": microseconds / self.photos,
            "microseconds_a_step": microseconds / self.steps,
        }


def bench(options: Options) -> Report:
    """All searches in turn, the tutorial's among them."""
    sizes = QUICK if options.quick else Sizes()
    captioner = Captioner.load(options.checkpoint)
    grids = encoded(captioner, max(sizes.batches), options.photos)
    grid = grids[: sizes.batch]
    swept = {
        f"{b} photos, {k} beams": Search.of(captioner, grids[:b], k, MOST_STEPS)
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
    theirs = pooled(grid)

    def search_as_the_tutorial() -> list[list[int]]:
        return [tutorial.search(one, sizes.beam) for one in theirs]

    runs: dict[str, Callable[[], object]] = {
        name: search.run for name, search in (swept | by_words).items()
    }
    times = in_turn(runs | {"tutorial": search_as_the_tutorial}, options.rounds)
    figures = {
        "batch": sizes.batch,
        "beam": sizes.beam,
        "sweep": [search.figures(times[name]) for name, search in swept.items()],
        "vocabulary": [
            {"vocabulary": v} | search.figures(times[name])
            for v, (name, search) in zip(sizes.words, by_words.items(), strict=True)
        ],
        "tutorial": {
            "microseconds_a_photo": 1e6 * statistics.median(times["tutorial"]) / sizes.batch,
            "caption_words": statistics.fmean(map(len, search_as_the_tutorial())),
        },
    }
    print(described(figures))
    return Report(figures, lines(times, swept | by_words, sizes))


def lines(times: Times, searches: Mapping[str, Search], sizes: Sizes) -> list[Line]:
    """Against the tutorial, and how cost grows from the usual sizes to the largest."""
    batch, beam, words = sizes.batch, sizes.beam, sizes.words
    here = f"{batch} photos, {beam} beams"

    def growth(what: str, small: str, large: str, proportion: float) -> Line:
        steps = searches[large].steps / searches[small].steps
        measured = ratio(times, large, small) / steps / proportion
        return Line(f"search, {what}", measured, "of proportional cost", at_most=PROPORTION)

    most, widest = max(sizes.batches), max(sizes.beams)
    return [
        Line(
            f"search, {here}",
            ratio(times, "tutorial", here),
            "times the tutorial's speed",
            at_least=THRESHOLD,
        ),
        growth(f"{batch} to {most} photos", here, f"{most} photos, {beam} beams", 1),
        growth(f"{beam} to {widest} beams", here, f"{batch} photos, {widest} beams", widest / beam),
        growth(
            f"{words[0]} to {words[-1]} words",
            f"{words[0]} words",
            f"{words[-1]} words",
            words[-1] / words[0],
        ),
    ]


def described(figures: Mapping[str, Any]) -> str:
    """The sweep, the tutorial's search and the cost against words, as a table."""
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
    theirs = figures["tutorial"]
    rows.append(
        [
            f"tutorial's, {figures['batch']} photos",
            str(figures["beam"]),
            f"{theirs['caption_words']:.1f}",
            f"{theirs['microseconds_a_photo']:.0f}",
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
    """Grids of photos, shape = (count, P, D)."""
    size = captioner.network.config.image_size
    photos = [image.decode(data, size) for data in material.photos(count, folder)]
    return captioner.encode(torch.stack(photos))


def random_captioner(config: ModelConfig, words: int) -> Captioner:
    """Of these sizes but for the words; prepared like any other, by way of a checkpoint."""
    torch.manual_seed(0)
    network = ShowAttendTell(dataclasses.replace(config, vocabulary_size=words))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "random"
        checkpoint.save(folder, network, material.word_map(words), "")
        return Captioner.load(folder)
