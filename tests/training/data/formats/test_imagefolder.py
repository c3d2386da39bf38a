from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.data.sources import (
    CAPTIONS,
    NAMES,
    assert_reads,
    problems_of,
    split_of,
    write,
    write_metadata,
)
from training.data import datasets, problems
from training.data.problems import InvalidDataset


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_image_folder(dataset: Path, kind: str, render: Callable[..., bytes]) -> None:
    folder = dataset / "Images"
    rows = [{"file_name": name, "text": text} for name in NAMES for text in CAPTIONS]
    write_metadata(folder / f"metadata.{kind}", rows)
    read = datasets.read(folder)
    assert_reads(read, "imagefolder", render)
    assert split_of(read) == dict.fromkeys(NAMES)

    for row in rows:
        row["split"] = "validation" if row["file_name"] == NAMES[3] else "train"
    write_metadata(folder / f"metadata.{kind}", rows)
    read = datasets.read(folder)
    assert_reads(read, "imagefolder", render)
    assert split_of(read) == dict(zip(NAMES, ("train", "train", "train", "val"), strict=True))


def test_image_folder_of_splits(dataset: Path, render: Callable[..., bytes]) -> None:
    for folder, name in (("train", NAMES[0]), ("validation", NAMES[1]), ("test", NAMES[2])):
        (dataset / folder).mkdir()
        (dataset / "Images" / name).rename(dataset / folder / name)
        rows = [{"file_name": name, "text": CAPTIONS}]
        write_metadata(dataset / folder / "metadata.jsonl", rows)
    (dataset / "captions.txt").unlink()
    read = datasets.read(dataset)
    assert_reads(read, "imagefolder", render)
    assert split_of(read) == {
        "train/blue_circle.jpg": "train",
        "test/red_circle.jpg": "test",
        "validation/blue_square.jpg": "val",
    }


def test_faults_of_metadata_are_named(dataset: Path) -> None:
    folder = dataset / "Images"
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "red_circle.jpg", "text": "red"}\n\n{"file_name": \n'
        '{"file_name": "red_circle.jpg"}\n{"file_name": "red_square.jpg", "text": 5}\n7\n'
    )
    read = datasets.read(folder)
    assert [photo.captions for photo in read.photos] == [("red",)]
    assert [(p.kind, p.name) for p in read.problems] == [
        (problems.BAD_ROW, f"metadata.jsonl line {line}") for line in (3, 4, 5, 6)
    ]
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text('file_name,text\na.jpg,A\nb.jpg,"never closed\nc.jpg,C\n')
    with pytest.raises(
        InvalidDataset, match=r"metadata\.csv after line 2 is not CSV: .* mend its quotes"
    ):
        datasets.read(folder)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            "x.jpg,A red chair, a table, and a lamp,val",
            "its fields are 5, the columns 3",
        ),
        ("x.jpg,A red chair", "its fields are 2, the columns 3"),
        ("x.jpg,A red chair,extra", "split 'extra' is none of"),
    ],
)
def test_a_row_of_csv_that_does_not_fit_its_columns_is_named(
    dataset: Path, row: str, reason: str
) -> None:
    folder = dataset / "Images"
    (folder / "red_circle.jpg").rename(folder / "x.jpg")
    good = 'blue_circle.jpg,"A chair, red",train\n'
    (folder / "metadata.csv").write_text(f"file_name,text,split\n{good}{row}\n")
    read = datasets.read(folder)
    assert [photo.captions for photo in read.photos] == [("A chair, red",)]
    [(kind, problem)] = problems_of(read)
    assert kind == problems.BAD_ROW
    assert problem.startswith(f"metadata.csv line 3 ({reason}")


@pytest.mark.parametrize("header", ["file_name;text", "file_name, text", "file_name,text,text", ""])
def test_columns_of_csv_are_named_once(dataset: Path, header: str) -> None:
    (dataset / "Images" / "metadata.csv").write_text(f"{header}\nred_circle.jpg,red,A shape\n")
    with pytest.raises(
        InvalidDataset, match=r"metadata\.csv: its first line must name the columns"
    ):
        datasets.read(dataset / "Images")


def test_a_key_given_twice_is_named(dataset: Path, karpathy: dict[str, Any]) -> None:
    folder = dataset / "Images"
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "red_circle.jpg", "text": "red", "text": "round"}\n'
        '{"file_name": "red_square.jpg", "text": "red"}\n'
    )
    read = datasets.read(folder)
    assert list(split_of(read)) == ["red_square.jpg"]
    assert problems_of(read) == [(problems.BAD_ROW, "metadata.jsonl line 1 (it has 'text' twice)")]
    source = write(dataset / "dataset.json", karpathy)
    source.write_text(source.read_text().replace('"split"', '"filename"'))
    with pytest.raises(InvalidDataset, match=r"dataset\.json .*: it has 'filename' twice"):
        datasets.read(source)


def test_folders_and_fields_agree_on_the_split(dataset: Path) -> None:
    folder = dataset / "Images"
    (folder / "validation").mkdir()
    rows = [
        {"file_name": f"../{name}", "text": "A shape", "split": split}
        for name, split in zip(NAMES, ("val", "validation", "", "train"), strict=True)
    ]
    write_metadata(folder / "validation" / "metadata.jsonl", rows)
    read = datasets.read(folder)
    assert set(split_of(read).values()) == {"val"}
    assert problems_of(read) == [
        (
            problems.BAD_ROW,
            "validation/metadata.jsonl line 4 (its split is 'train', but its folder 'validation')",
        )
    ]
    (folder / "validation").rename(folder / "eval")
    write_metadata(folder / "metadata.jsonl", rows[:1])
    with pytest.raises(
        InvalidDataset, match=r"eval/metadata\.jsonl: its folder is not named after"
    ):
        datasets.read(folder)
