from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.data.sources import (
    CAPTIONS,
    assert_reads,
    problems_of,
    split_of,
    write_tar,
)
from training.data import datasets, problems
from training.data.photo import TarMember
from training.data.problems import InvalidDataset


@pytest.fixture
def samples(render: Callable[..., bytes]) -> list[tuple[str, bytes]]:
    """Return one sample for every way to write it."""
    both = json.dumps({"captions": CAPTIONS, "url": "elsewhere"}).encode()
    return [
        ("a/red_circle.jpg", render("red", "circle")),
        ("a/red_circle.txt", "A shape.\n\none shape\n".encode("utf-8-sig")),
        ("blue_circle.json", both),
        ("blue_circle.JPEG", render("blue", "circle")),
        ("blue_circle.cls", b"7"),
        ("a/._blue_circle.jpg", b"what a Mac adds"),
    ]


def test_webdataset(
    tmp_path: Path, samples: list[tuple[str, bytes]], render: Callable[..., bytes]
) -> None:
    read = datasets.read(write_tar(tmp_path / "photos.tar", samples))
    assert_reads(read, "webdataset", render)
    names = ["photos.tar/a/red_circle.jpg", "photos.tar/blue_circle.jpeg"]
    assert split_of(read) == dict.fromkeys(names)
    assert isinstance(read.photos[0].file, TarMember)

    # Keys of different shards may be the same; a shard's name or folder tells its split.
    for name in ("shapes-train-0.tar", "validation/0.tar", "test.tar"):
        write_tar(tmp_path / "shards" / name, samples)
    read = datasets.read(tmp_path / "shards")
    assert_reads(read, "webdataset", render)
    assert [(p.name.split("_")[0], p.splits) for p in read.photos[::2]] == [
        ("shapes-train-0.tar/a/red", ("train",)),
        ("test.tar/a/red", ("test",)),
        ("validation/0.tar/a/red", ("val",)),
    ]


def test_faults_of_tars_are_named(tmp_path: Path, samples: list[tuple[str, bytes]]) -> None:
    files = [
        *samples,
        samples[0],
        ("alone.txt", b"No photo"),
        ("mute.png", b""),
        ("bad.jpg", b""),
        ("bad.json", b'{"text": 1}'),
        ("letters.jpg", b""),
        ("letters.json", b'{"captions": "one"}'),
        ("latin.jpg", b""),
        ("latin.txt", "à".encode("latin-1")),
        ("twice.jpg", b""),
        ("twice.png", b""),
        ("twice.txt", b"Which?"),
    ]
    path = write_tar(tmp_path / "x.tar", files)
    read = datasets.read(path)
    assert [(p.kind, p.name) for p in read.problems] == [
        (problems.DUPLICATE, "x.tar/a/red_circle.jpg"),
        (problems.MISSING, "x.tar/alone"),
        (problems.NO_CAPTION, "x.tar/mute.png"),
        (problems.BAD_ROW, "x.tar/bad.jpg"),
        (problems.BAD_ROW, "x.tar/letters.jpg"),
        (problems.BAD_ROW, "x.tar/latin.jpg"),
        (problems.BAD_ROW, "x.tar/twice.jpg"),
    ]
    assert len(read.photos) == 2


def test_tars_of_links_and_compressed_tars_are_named(
    tmp_path: Path, samples: list[tuple[str, bytes]]
) -> None:
    path = write_tar(tmp_path / "shards" / "x.tar", samples)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "elsewhere.jpg"
        tar.addfile(link)
    [(kind, problem)] = problems_of(datasets.read(path))
    assert kind == problems.BAD_ROW
    assert problem.startswith("x.tar/link.jpg (it is a link")
    path.with_name("y.tar.gz").write_bytes(b"")
    with pytest.raises(InvalidDataset, match=r"y\.tar\.gz is compressed; decompress it"):
        datasets.read(path.parent)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "header"])
def test_a_damaged_tar_is_named(
    tmp_path: Path, samples: list[tuple[str, bytes]], damage: str
) -> None:
    path = write_tar(tmp_path / "x.tar", samples)
    whole = path.read_bytes()
    second = whole.index(b"a/red_circle.txt")
    path.write_bytes(
        {
            "empty": b"",
            "text": b"no tar" * 200,
            "cut": whole[: second - 100],
            "header": whole[:second] + b"!" * 200 + whole[second + 200 :],
        }[damage]
    )
    with pytest.raises(InvalidDataset, match=r"x\.tar: .*a whole tar that is not compressed"):
        datasets.read(path)
