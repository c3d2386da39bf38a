"""The photos of the benchmarks under load: each with the caption that it has alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks import known_photos
from model import Captioner, DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap


def test_random_batches_hold_every_row_once() -> None:
    batches = list(known_photos.random_batches(100, random.Random(0), 8))
    assert sorted(itertools.chain(*batches)) == list(range(100))
    assert {len(batch) for batch in batches} <= set(range(1, 9))
    assert len({len(batch) for batch in batches}) > 3


def test_different_captions_come_first() -> None:
    captions = ["a", "b", "a", "b", "b", "c", "a"]
    assert known_photos.different_first([1, 3, 4, 5, 6], captions) == [1, 5, 6, 3, 4]


def test_photos_with_the_captions_they_have_alone(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap, render: Callable[..., bytes]
) -> None:
    kinds = itertools.product(("red", "green", "blue"), ("circle", "square"))
    for name, kind in enumerate([*kinds, ("blue", "square")]):  # the last of them twice
        (tmp_path / f"{name}.jpg").write_bytes(render(*kind))
    captioner, decoding = Captioner(network, word_map), DecodingOptions(beam_size=2)
    selection = known_photos.Selection(photos=4, candidates=20, batches=2)
    chosen = known_photos.select_photos(captioner, decoding, tmp_path, selection)
    assert len(set(chosen.photos)) == len(chosen.captions) == 4
    alone = [known_photos.texts(captioner, [photo], decoding)[0] for photo in chosen.photos]
    assert chosen.captions == alone
    assert chosen.left_out == 0
    assert chosen.rate > 0


def test_photos_whose_caption_depends_on_the_batch_are_left_out(
    tmp_path: Path,
    network: ShowAttendTell,
    word_map: WordMap,
    render: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, color in enumerate(("red", "green", "blue")):
        (tmp_path / f"{name}.jpg").write_bytes(render(color))
    unsteady = (tmp_path / "1.jpg").read_bytes()
    calls = itertools.count()

    def texts(_: Captioner, photos: Sequence[bytes], __: DecodingOptions) -> list[str]:
        call = next(calls)
        return [f"{call if photo == unsteady else 0} of {len(photo)}" for photo in photos]

    monkeypatch.setattr(known_photos, "texts", texts)
    captioner = Captioner(network, word_map)
    chosen = known_photos.select_photos(
        captioner, DecodingOptions(), tmp_path, known_photos.Selection()
    )
    assert chosen.left_out == 1
    assert chosen.photos == [(tmp_path / f"{name}.jpg").read_bytes() for name in (0, 2)]
