from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.data.sources import (
    CAPTIONS,
    NAMES,
    assert_reads,
    problems_of,
    split_of,
    without_lists,
)
from training.data import datasets, problems


@pytest.mark.parametrize("folder", ["Images", "images", "Flicker8k_Dataset", "."])
def test_flickr8k_token(dataset: Path, folder: str, render: Callable[..., bytes]) -> None:
    (dataset / "captions.txt").unlink()
    for name in NAMES:
        (dataset / folder).mkdir(exist_ok=True)
        (dataset / "Images" / name).rename(dataset / folder / name)
    lines = [f"{name}#{i}\t{text}\n" for name in NAMES for i, text in enumerate(CAPTIONS)]
    (dataset / "Flickr8k.token.txt").write_text("".join(lines) + "no tab\n")
    (dataset / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[:2]))
    (dataset / "Flickr_8k.devImages.txt").write_text(NAMES[2])
    (dataset / "Flickr_8k.testImages.txt").write_text(NAMES[3])
    read = datasets.read(dataset)
    assert split_of(read) == dict(zip(NAMES, ("train", "train", "val", "test"), strict=True))
    assert problems_of(read) == [(problems.BAD_ROW, "Flickr8k.token.txt line 9 (it has no tab)")]
    (dataset / "Flickr8k.token.txt").write_text("".join(lines))
    assert_reads(datasets.read(dataset), "flickr8k-token", render)


def test_a_line_with_surplus_tabs_is_named(dataset: Path) -> None:
    without_lists(dataset)
    (dataset / "captions.txt").unlink()
    (dataset / "Images" / "red_circle.jpg").rename(dataset / "Images" / "red#1 circle.jpg")
    (dataset / "Flickr8k.token.txt").write_text(
        "red#1 circle.jpg#0\tA shape.\nblue_circle.jpg#0\tA shape\ten\n"
    )
    read = datasets.read(dataset)
    assert list(split_of(read)) == ["red#1 circle.jpg"]
    assert problems_of(read) == [
        (problems.BAD_ROW, "Flickr8k.token.txt line 2 (it has 2 tabs, not one)")
    ]
