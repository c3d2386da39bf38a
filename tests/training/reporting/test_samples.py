"""The picture of photos with their captions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from model import Captioner, DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.reporting.samples import chosen_photos, write_captioned_photos


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 20])
def test_samples(count: int, tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> None:
    generator = torch.Generator().manual_seed(0)
    photos = torch.randint(256, (count, 3, 96, 96), generator=generator, dtype=torch.uint8)
    write_captioned_photos(
        Captioner(network, word_map),
        photos,
        [("A red circle .", "a circle")] * count,
        tmp_path / "samples.png",
        "photos of a test",
        DecodingOptions(max_length=6),
    )
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1500
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]


def test_samples_are_drawn_from_the_seed() -> None:
    assert len(set(chosen_photos(1000, 1))) == 20
    assert max(chosen_photos(1000, 1)) < 1000
    assert chosen_photos(1000, 1) == chosen_photos(1000, 1) != chosen_photos(1000, 2)
    assert sorted(chosen_photos(3, 1)) == [0, 1, 2]


def test_samples_want_references(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap
) -> None:
    photos = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    for few, texts in ((photos, [("a",)]), (photos[:0], [])):
        with pytest.raises(ValueError, match="references to show"):
            write_captioned_photos(
                Captioner(network, word_map), few, texts, tmp_path / "samples.png", ""
            )
