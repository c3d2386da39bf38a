"""Datasets that the tests write, and what they check of the reading of any format."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.data.datasets import Dataset

SENTENCES = [{"raw": "A shape.", "tokens": ["a", "shape"]}, {"tokens": ["one", "shape"]}]


CAPTIONS = ("A shape.", "one shape")


NAMES = ["blue_circle.jpg", "blue_square.jpg", "red_circle.jpg", "red_square.jpg"]


def split_of(dataset: Dataset) -> dict[str, str | None]:
    """Return the split of each photo; none of them is in several."""
    assert all(len(photo.splits) <= 1 for photo in dataset.photos)
    return {photo.name: next(iter(photo.splits), None) for photo in dataset.photos}


def problems_of(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, str(problem)) for problem in dataset.problems]


def assert_reads(dataset: Dataset, form: str, render: Callable[..., bytes]) -> None:
    """Check that it has both captions of each photo, the photos' own bytes, and no problem."""
    assert (dataset.format, dataset.problems) == (form, ())
    assert {photo.captions for photo in dataset.photos} == {CAPTIONS}
    for photo in dataset.photos:
        color, shape = Path(photo.name).stem.split("_")
        assert photo.read_bytes() == render(color, shape), photo.name


def without_lists(folder: Path) -> None:
    for path in folder.glob("Flickr_8k.*"):
        path.unlink()


def write(source: Path, document: Any) -> Path:
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(json.dumps(document))
    return source


def write_metadata(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(f'"{v}"' for v in r.values()) for r in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")  # as Excel does


def write_tar(path: Path, files: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
