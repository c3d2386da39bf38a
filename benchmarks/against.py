"""Captioning by two captioners: the time that another checkpoint or other decoding options take."""

from __future__ import annotations

import dataclasses
import statistics
from functools import partial

from benchmarks import inputs
from benchmarks.caption import QUICK, Sizes, mean_words
from benchmarks.measure import in_turn, ratio
from benchmarks.options import Options
from benchmarks.report import Line, Report, columns
from handler.options import RequestOptions
from model import Captioner, DecodingOptions

MIN_SPEED = 0.8  # of the other captioner's


def bench(options: Options) -> Report:
    """Caption a batch of photos with each captioner in turn, from bytes to captions.

    Raises
    ------
    ValueError
        A search names an option that decoding does not have.
    """
    searches = {"this": _decoding(options.search), "other": _decoding(options.other_search)}
    folders = {"this": options.checkpoint, "other": options.other or options.checkpoint}
    sizes = QUICK if options.quick else Sizes()
    photos = inputs.photos(sizes.batch, options.photos)
    runs = {
        name: partial(Captioner.load(folder).caption, photos, searches[name])
        for name, folder in folders.items()
    }
    timings = in_turn(runs, options.rounds)
    milliseconds = {
        name: 1e3 * statistics.median(seconds) / len(photos) for name, seconds in timings.items()
    }
    rows = [[f"batch {len(photos)}", "ms a photo", "words", "checkpoint and search"]]
    for name, folder in folders.items():
        search = ", ".join(f"{k} {v}" for k, v in vars(searches[name]).items())
        words = mean_words(runs[name]())
        rows.append([name, f"{milliseconds[name]:.2f}", f"{words:.1f}", f"{folder}: {search}"])
    print(columns(rows, left=(0, 3)))
    speed = ratio(timings, "other", "this")
    line = Line(f"caption, batch {len(photos)}", speed, "of the other's speed", at_least=MIN_SPEED)
    return Report({"milliseconds_a_photo": milliseconds}, [line])


def _decoding(given: str) -> DecodingOptions:
    """Read ``beam_size=5,consensus=false``; options that are not named have their defaults."""
    options = dict(part.partition("=")[::2] for part in given.split(",") if part)
    known = [field.name for field in dataclasses.fields(DecodingOptions)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"a search has no option {unknown[0]!r}; there are {', '.join(known)}")
    return RequestOptions().changed(options).decoding
