"""Photos with their captions in text files beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.data.sources import CAPTIONS, NAMES, assert_reads, problems_of, split_of
from training.data import datasets, problems


@pytest.fixture
def folder(dataset: Path) -> Path:
    """Return a folder of photos, each with a text of its captions."""
    folder = dataset / "Images"
    for name, ending in zip(NAMES, (".txt", ".TXT", ".caption", ".jpg.txt"), strict=True):
        lines = "\n\n".join(CAPTIONS)
        (folder / name.replace(".jpg", ending)).write_text(lines, encoding="utf-8-sig")
    return folder


def test_sidecars(folder: Path, render: Callable[..., bytes]) -> None:
    read = datasets.read(folder)
    assert_reads(read, "sidecar", render)
    assert split_of(read) == dict.fromkeys(NAMES)


def test_sidecars_in_folders_of_splits(folder: Path, render: Callable[..., bytes]) -> None:
    for split, stem in (("train", "red_circle"), ("validation", "blue_circle")):
        (folder / split / "10_shapes").mkdir(parents=True)
        for path in list(folder.glob(f"{stem}*")):
            path.rename(folder / split / "10_shapes" / path.name)
    for path in folder.glob("*square*"):
        path.unlink()
    read = datasets.read(folder)
    assert_reads(read, "sidecar", render)
    assert split_of(read) == {
        "train/10_shapes/red_circle.jpg": "train",
        "validation/10_shapes/blue_circle.jpg": "val",
    }


def test_faults_of_sidecars_are_named(folder: Path) -> None:
    (folder / "blue_circle.jpg.txt").write_text("Which?")
    (folder / "blue_square.TXT").write_bytes("à".encode("latin-1"))
    (folder / "red_circle.caption").unlink()
    (folder / "readme.txt").write_text("Ours")
    read = datasets.read(folder)
    assert list(split_of(read)) == ["red_square.jpg"]
    [several, encoding, missing, readme] = problems_of(read)
    assert several == (
        problems.BAD_ROW,
        "blue_circle.jpg (it has several texts, blue_circle.txt, blue_circle.jpg.txt)",
    )
    assert encoding[0] == problems.BAD_ROW
    assert encoding[1].startswith("blue_square.jpg (")
    assert missing == (problems.NO_CAPTION, "red_circle.jpg")
    assert readme == (problems.NO_PHOTO, "readme.txt")
