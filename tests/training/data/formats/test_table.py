"""Tables of photos and captions in the forms that people have them in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.training.data.sources import CAPTIONS, NAMES, assert_reads, problems_of, split_of
from training.data import datasets, problems
from training.data.formats.columns import ColumnChoice
from training.data.prepare import prepare
from training.data.problems import InvalidDataset

Row = dict[str, Any]


@pytest.fixture
def folder(dataset: Path) -> Path:
    """Return a folder with the four photos of the tests, and nothing else."""
    return dataset / "Images"


def write(path: Path, rows: list[Row]) -> Path:
    """Write a table in the form of its ending; CSV is written as Excel does in many countries."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        delimiter = {".csv": ";", ".tsv": "\t"}[path.suffix]
        lines = [list(rows[0]), *(list(map(_field, row.values())) for row in rows)]
        path.write_text("".join(delimiter.join(x) + "\n" for x in lines), encoding="utf-8-sig")
    return path


def _field(value: Any) -> str:
    if isinstance(value, list):
        value = json.dumps(value).replace('"', '""')
    return "" if value is None else f'"{value}"'


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("form", ["rows", "list", "columns"])
def test_tables(folder: Path, kind: str, form: str, render: Callable[..., bytes]) -> None:
    rows: list[Row] = {
        "rows": [{"photo": name, "Caption": text} for name in NAMES for text in CAPTIONS],
        "list": [{"filename": name, "raw": list(CAPTIONS)} for name in NAMES],
        "columns": [
            {"Image Path": name, "caption_0": CAPTIONS[0], "caption_1": None, "caption_2": text}
            for name in NAMES
            for text in CAPTIONS[1:]
        ],
    }[form]
    table = write(folder / f"my photos.{kind}", rows)
    for source in (table, folder):
        read = datasets.read(source)
        assert_reads(read, "table", render)
        assert split_of(read) == dict.fromkeys(NAMES)

    splits = ("train", "Train", "VALIDATION", "test")
    of_photo = dict(zip(NAMES, splits, strict=True))
    name_column = next(iter(rows[0]))
    write(table, [row | {"split": of_photo[row[name_column]]} for row in rows])
    assert list(split_of(datasets.read(table)).values()) == ["train", "train", "val", "test"]


def test_names_that_differ_from_the_files_are_rows_of_one_photo(folder: Path) -> None:
    names = ["red_circle.jpg", r".\RED_circle.jpg", "./red_circle.jpg", "red_circle"]
    table = write(folder / "captions.csv", [{"image": name, "text": "red"} for name in names])
    read = datasets.read(table)
    assert [(photo.name, len(photo.captions)) for photo in read.photos] == [("red_circle.jpg", 3)]
    assert problems_of(read) == [
        (problems.DUPLICATE, "red_circle (its file is that of red_circle.jpg)")
    ]


def test_what_captioner_caption_writes(folder: Path) -> None:
    def row(photo: str, caption: str | None, error: str | None) -> Row:
        figures = {"confidence": 0.5 if caption else None, "log_prob": -3.5 if caption else None}
        return {"photo": photo, "caption": caption} | figures | {"error": error, "model": "1a2b"}

    rows = [row(f"Images/{name}", "a shape, maybe", None) for name in NAMES[:2]]
    rows += [row("Images/broken.jpg", None, "the image is damaged"), row(NAMES[2], None, "blurred")]
    for kind in ("csv", "jsonl", "parquet"):
        read = datasets.read(write(folder / f"captions.{kind}", rows))
        assert [photo.captions for photo in read.photos] == [("a shape, maybe",)] * 2
        assert problems_of(read) == [
            (problems.NOT_CAPTIONED, "Images/broken.jpg (the image is damaged)"),
            (problems.NOT_CAPTIONED, f"{NAMES[2]} (blurred)"),
        ]


def test_faults_of_rows_are_named(folder: Path) -> None:
    lines = ["image,caption", *(f"{name},a shape" for name in NAMES)]
    lines += ["red_circle.jpg,a red, round thing", "red_circle.jpg", "red_circle.jpg,", ",red"]
    table = folder / "captions.csv"
    table.write_text("\n".join(lines) + "\n")
    read = datasets.read(table)
    assert [photo.captions for photo in read.photos] == [("a shape",)] * 4
    assert [str(problem) for problem in read.problems] == [
        "captions.csv line 6 (its fields are 3, the columns 2; a caption that holds the separator"
        " needs quotes)",
        "captions.csv line 7 (its fields are 1, the columns 2)",
        "captions.csv line 9 (the photo's name is '')",
        "red_circle.jpg",
    ]
    table.unlink()
    rows = [{"image": 5, "caption": "x"}, {"image": NAMES[0], "caption": {"en": "x"}}]
    write(folder / "x.jsonl", rows)
    with open(folder / "x.jsonl", "a") as file:
        file.write('{"image": "red_circle.jpg"}\n[]\n{\n')
        file.write('{"image": "red_circle.jpg", "caption": "red"}')
    read = datasets.read(folder)
    assert list(split_of(read)) == ["red_circle.jpg"]
    assert [problem.name for problem in read.problems] == [f"x.jsonl line {n}" for n in range(1, 6)]


def test_tables_that_belong_together(folder: Path) -> None:
    for number, name in enumerate(NAMES[:2]):
        write(folder / f"part-{number:05}.csv", [{"image": name, "caption": "a shape"}])
    assert split_of(datasets.read(folder)) == dict.fromkeys(NAMES[:2])
    for path in folder.glob("*.csv"):
        path.unlink()
    for split, name in zip(("train", "val", "test"), NAMES, strict=False):
        write(folder / f"{split}-00000-of-00001.parquet", [{"image": name, "caption": "a shape"}])
    assert list(split_of(datasets.read(folder)).items()) == [
        *((NAMES[2], "test"), (NAMES[0], "train"), (NAMES[1], "val"))
    ]
    write(folder / "more.parquet", [{"image": NAMES[3], "caption": "a shape"}])
    with pytest.raises(InvalidDataset, match=r"holds 4 tables, more\.parquet, .* name the one"):
        datasets.read(folder)


def test_other_tables_in_a_folder_are_none(folder: Path) -> None:
    write(folder / "captions.csv", [{"image": name, "caption": "a shape"} for name in NAMES])
    write(folder / "prices.csv", [{"item": "chair", "price": 5}])
    write(folder / "00000.parquet", [{"url": "https://example.com/x.jpg", "caption": "a shape"}])
    (folder / "notes.tsv").write_text("")
    assert list(split_of(datasets.read(folder))) == NAMES


def test_columns_are_named_where_they_have_other_names(folder: Path) -> None:
    rows = [{"pic": name, "en": "a shape", "de": "eine Form", "split": "val"} for name in NAMES]
    write(folder / "mine.csv", rows)
    choice = ColumnChoice("pic", ["en", "de"])
    for source in (folder, folder / "mine.csv"):
        read = datasets.read(source, columns=choice)
        assert [photo.captions for photo in read.photos] == [("a shape", "eine Form")] * 4
        assert set(split_of(read).values()) == {"val"}
    with pytest.raises(InvalidDataset, match="is read as kaggle, not as a table"):
        datasets.read(folder.parent, "kaggle", columns=choice)
    with pytest.raises(InvalidDataset, match=r"mine\.csv: no column has a usual name of photos"):
        datasets.read(folder / "mine.csv")


def test_photos_within_parquet(folder: Path, tmp_path: Path, render: Callable[..., bytes]) -> None:
    contents = [(folder / name).read_bytes() for name in NAMES]
    structs = [{"bytes": c, "path": n} for n, c in zip(NAMES, contents, strict=True)]
    for values in (contents, structs):
        rows = [{"image": value, "text": list(CAPTIONS)} for value in values]
        read = datasets.read(write(tmp_path / "x.parquet", rows))
        assert list(split_of(read)) == [f"x.parquet#000000{i}" for i in range(4)]
        assert [photo.read_bytes() for photo in read.photos] == contents
        assert {photo.captions for photo in read.photos} == {CAPTIONS}
    rows[1]["image"] = {"bytes": None, "path": NAMES[1]}
    prepared = prepare(write(tmp_path / "y.parquet", rows), tmp_path / "out", 32, max_problems=0.5)
    assert len(prepared.photos) == len(prepared.pixels) == 3
    found = json.loads((tmp_path / "out" / "dataset.json").read_text())["problems"]
    [name] = found[problems.UNREADABLE]["names"]
    assert name == "y.parquet#0000001 (the column 'image' holds no bytes in this row)"


def test_a_damaged_parquet_is_named(folder: Path) -> None:
    path = write(folder / "x.parquet", [{"image": name, "caption": "a"} for name in NAMES])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidDataset, match=r"x\.parquet is no whole Parquet file"):
        datasets.read(folder)


def test_parquet_without_pyarrow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "x.parquet", [{"image": name, "caption": "a shape"} for name in NAMES])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ModuleNotFoundError, match="pyarrow"):
        datasets.read(folder)
