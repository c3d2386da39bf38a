"""Two captioners from bytes to captions: what a new checkpoint, or a new search, costs."""

from __future__ import annotations

import dataclasses
import statistics
from functools import partial

from benchmarks import material
from benchmarks.caption import QUICK, Sizes, mean_words
from benchmarks.measure import in_turn, ratio
from benchmarks.report import Line, Options, Report, columns
from handler.options import RequestOptions
from model import Captioner, DecodingOptions

AT_LEAST = 0.8  # of the other's speed


def bench(options: Options) -> Report:
    """A batch of photos by each, in turn.

    Raises
    ------
    ValueError
        A search is none.
    """
    searches = {"this": _decoding(options.search), "other": _decoding(options.other_search)}
    folders = {"this": options.checkpoint, "other": options.other or options.checkpoint}
    sizes = QUICK if options.quick else Sizes()
    photos = material.photos(sizes.batch, options.photos)
    runs = {
        name: partial(Captioner.load(folder).caption, photos, searches[name])
        for name, folder in folders.items()
    }
    times = in_turn(runs, options.rounds)
    milliseconds = {
        name: 1e3 * statistics.median(taken) / len(photos) for name, taken in times.items()
    }
    rows = [[f"batch {len(photos)}", "ms a photo", "words", "checkpoint and search"]]
    for name, folder in folders.items():
        search = ", ".join(f"{k} {v}" for k, v in vars(searches[name]).items())
        words = mean_words(runs[name]())
        rows.append([name, f"{milliseconds[name]:.2f}", f"{words:.1f}", f"{folder}: {search}"])
    print(columns(rows, left=(0, 3)))
    speed = ratio(times, "other", "this")
    line = Line(f"caption, batch {len(photos)}", speed, "of the other's speed", at_least=AT_LEAST)
    return Report({"milliseconds_a_photo": milliseconds}, [line])


def _decoding(given: str) -> DecodingOptions:
    """From ``beam_size=5,consensus=false``; what is not named is the default search's."""
    options = dict(part.partition("=")[::2] for part in given.split(",") if part)
    known = [field.name for field in dataclasses.fields(DecodingOptions)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"a search has no option {unknown[0]!r}; there are {', '.join(known)}")
    return RequestOptions().changed(options).decoding
