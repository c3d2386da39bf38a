from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from training.data import datasets

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "select-photos"
CAPTIONS = [  # the first twelve name a kitchen or a fire hydrant
    *([f"a plate on table {n}", f"a Kitchen, number {n}."] for n in range(8)),
    *([f"the fire hydrant of street {n}"] for n in range(4)),
    ["kitchens"],
    ["a hydrant on fire"],
    ["a fire near the hydrant"],
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("select_photos", str(SCRIPT))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An image folder whose photos need not be decoded here."""
    rows = [
        {"file_name": f"Images/{n}.jpg", "text": text, "split": "val" if n % 5 == 0 else "train"}
        for n, text in enumerate(CAPTIONS)
    ]
    rows[1]["split"] = "test"
    return image_folder(tmp_path / "source", rows)


def image_folder(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "Images").mkdir(parents=True)
    for row in rows:
        (folder / row["file_name"]).write_bytes(f"photo {row['file_name']}".encode())
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def arguments(source: Path, out: Path, **changes: object) -> list[str]:
    options = {"words": "kitchen,Fire Hydrant", "train": 7, "val": 3, "seed": 1} | changes
    return [
        str(source),
        "--out",
        str(out),
        *(f"--{name}={value}" for name, value in options.items()),
    ]


def drawn(folder: Path) -> dict[str, str]:
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    return {row["file_name"]: row["split"] for row in map(json.loads, lines)}


def test_draws_photos_that_name_a_word_and_no_test_photo(
    script: ModuleType, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert script.main(arguments(source, out)) == 0
    assert "7 train, 3 val, of 11 photos that name one of" in capsys.readouterr().out
    before = {photo.name: photo for photo in datasets.read(source).photos}
    found = datasets.read(out)
    assert not found.problems
    assert sorted(split for (split,) in (photo.splits for photo in found.photos)) == [
        *["train"] * 7,
        *["val"] * 3,
    ]
    naming = {f"Images/{n}.jpg" for n in range(12)} - {"Images/1.jpg"}
    assert {photo.name for photo in found.photos} <= naming
    for photo in found.photos:
        assert photo.captions == before[photo.name].captions
        assert photo.read_bytes() == before[photo.name].read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out"}


def test_the_draw_depends_on_the_seed_and_on_names_alone(
    script: ModuleType, source: Path, tmp_path: Path
) -> None:
    lines = (source / "metadata.jsonl").read_text().splitlines()
    for name, seed in (("one", 1), ("two", 2)):
        assert script.main(arguments(source, tmp_path / name, seed=seed)) == 0
    (source / "metadata.jsonl").write_text("\n".join(reversed(lines)))
    assert script.main(arguments(source, tmp_path / "again", seed=1)) == 0
    assert drawn(tmp_path / "again") == drawn(tmp_path / "one") != drawn(tmp_path / "two")


def test_photos_in_a_tar_are_copied_out_of_it(script: ModuleType, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for n in range(4):
            for kind, content in (("jpg", b"photo %d" % n), ("txt", b"a kitchen")):
                member = tarfile.TarInfo(f"{n}.{kind}")
                member.size = len(content)
                tar.addfile(member, BytesIO(content))
    out = tmp_path / "out"
    assert script.main(arguments(tmp_path / "photos.tar", out, train=2, val=2)) == 0
    contents = {photo.read_bytes() for photo in datasets.read(out).photos}
    assert contents == {b"photo %d" % n for n in range(4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 9}, "has 11 photos whose captions name one of kitchen, Fire Hydrant; 12 are"),
        ({"words": "kitchen,"}, "--words has '', which is no word"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing(
    script: ModuleType,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    assert script.main(arguments(source, tmp_path / "out", **changes)) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_is_there_stays(
    script: ModuleType, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(source.rglob("*"))
    assert script.main(arguments(source, source)) == 1
    assert "is there already; choose another --out" in capsys.readouterr().err
    assert sorted(source.rglob("*")) == before


def test_a_photo_outside_of_the_source_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"file_name": f"../{n}.jpg", "text": "a kitchen"} for n in range(3)]
    folder = image_folder(tmp_path / "source", rows)
    out = tmp_path / "deep" / "out"
    assert script.main(arguments(folder, out, train=1, val=1)) == 1
    assert "lies outside of its source" in capsys.readouterr().err
    assert not list((tmp_path / "deep").rglob("*"))


def test_it_runs_from_a_shell(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), *arguments(source, tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(drawn(tmp_path / "out")) == 10


def test_draws_from_the_splits_that_are_named(
    script: ModuleType, source: Path, tmp_path: Path
) -> None:
    before = {photo.name: photo for photo in datasets.read(source).photos}
    out = tmp_path / "out"
    given = [*arguments(source, out, train=1, val=1), "--splits", "val"]
    assert script.main(given) == 0
    assert {before[name].splits for name in drawn(out)} == {("val",)}


def ids(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "ids.csv"
    file.write_text("\n".join(["id,split", *rows]) + "\n")
    return file


def coco(tmp_path: Path) -> Path:
    """An image folder with names like COCO's."""
    names = ["COCO_val2014_000000000042.jpg", "000000000007.jpg", "000000000420.jpg", "cover.jpg"]
    rows = [{"file_name": f"Images/{name}", "text": [f"this is {name}"]} for name in names]
    return image_folder(tmp_path / "coco", rows)


def test_copies_listed_photos_with_the_splits_of_the_table(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "out", ids(tmp_path, "42,val", "7,train", "420,uncaptioned")
    assert script.main([str(coco(tmp_path)), f"--ids={table}", f"--out={out}"]) == 0
    assert "1 val, 1 train, 1 uncaptioned" in capsys.readouterr().out
    assert drawn(out) == {
        "Images/COCO_val2014_000000000042.jpg": "val",
        "Images/000000000007.jpg": "train",
    }
    others = tmp_path / "out-uncaptioned"
    files = [file for file in others.rglob("*") if file.is_file()]
    assert [file.name for file in files] == ["000000000420.jpg"]
    assert files[0].read_bytes() == b"photo Images/000000000420.jpg"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["42,val", "8,train"], "lacks 1 of the 2 photos"),
        (["42,val", "42,train"], "lists an id twice"),
        (["42,test"], "line 2: wanted are id,split"),
        (["x,val"], "line 2: wanted are id,split"),
        ([], "lists no photo"),
    ],
)
def test_refuses_a_table_that_the_source_does_not_fit(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[str],
    message: str,
) -> None:
    out, table = tmp_path / "out", ids(tmp_path, *rows)
    assert script.main([str(coco(tmp_path)), f"--ids={table}", f"--out={out}"]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_refuses_two_photos_of_one_id(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = coco(tmp_path), tmp_path / "out"
    row = {"file_name": "Images/COCO_train2014_000000000042.jpg", "text": ["another"]}
    (source / "Images/COCO_train2014_000000000042.jpg").write_bytes(b"another")
    with open(source / "metadata.jsonl", "a") as file:
        file.write("\n" + json.dumps(row))
    table = ids(tmp_path, "42,val")
    assert script.main([str(source), f"--ids={table}", f"--out={out}"]) == 1
    assert "with the same id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "words", "status"),
    [
        (["42,val", "7,train"], [], 0),
        (["42,val", "8,train"], [], 1),  # why it is missing may be among the problems
        ([], ["--words=this", "--train=1", "--val=1"], 0),
    ],
)
def test_the_rows_of_the_source_that_were_left_out_are_printed(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[str],
    words: list[str],
    status: int,
) -> None:
    source = coco(tmp_path)
    with open(source / "metadata.jsonl", "a") as file:
        file.write('\n{"file_name": "Images/8.jpg", "text": "this is lost"}\n{"text": ')
    which = words or [f"--ids={ids(tmp_path, *rows)}"]
    assert script.main([str(source), *which, f"--out={tmp_path / 'out'}"]) == status
    printed = "".join(capsys.readouterr())
    assert printed.count("; left out: ") == 1
    assert "1 x missing photo: Images/8.jpg" in printed
    assert "1 x row that cannot be read: metadata.jsonl" in printed


def test_the_shipped_list_is_readable(script: ModuleType) -> None:
    splits = script.read_ids(SCRIPT.parents[1] / "training" / "recipes" / "coco-photos.csv")
    assert sorted(set(splits.values())) == ["train", "uncaptioned", "val"]
