from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import image
from training.data import prepare as preparing
from training.data.datasets import InvalidDataset
from training.data.prepare import prepare
from training.data.prepared import Prepared

SIZE = 16
COUNT = 40


@pytest.fixture
def source(tmp_path: Path, render: Callable[..., bytes]) -> Path:
    """A folder in Kaggle's form without splits: photos of different shades of red."""
    folder = tmp_path / "reds"
    (folder / "Images").mkdir(parents=True)
    lines = ["image,caption"]
    for i in range(COUNT):
        (folder / "Images" / f"{i}.jpg").write_bytes(render((255 - 6 * i, 0, 0)))
        lines += [f"{i}.jpg,shade number {i}", f"{i}.jpg,a red circle"]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def described(folder: Path) -> Any:
    return json.loads((folder / "dataset.json").read_text())


def test_prepared_photos_are_the_decoded_ones(source: Path, tmp_path: Path) -> None:
    prepared = prepare(source, tmp_path / "out", SIZE)
    assert sorted(files(tmp_path / "out")) == ["dataset.json", "photos.npy"]
    assert prepared.photos.shape == (COUNT, 3, SIZE, SIZE)
    assert prepared.photos.dtype == np.uint8
    assert not prepared.photos.flags.writeable
    assert prepared.names == sorted(f"{i}.jpg" for i in range(COUNT))
    for name, captions, photo in zip(
        prepared.names, prepared.captions, prepared.photos, strict=True
    ):
        wanted = image.decode((source / "Images" / name).read_bytes(), SIZE).numpy()
        np.testing.assert_array_equal(photo, wanted)
        assert captions == (f"shade number {name[:-4]}", "a red circle")
    assert (prepared.image_size, prepared.source) == (SIZE, "reds")
    found = described(tmp_path / "out")
    assert (found["format"], found["seed"], found["problems"]) == ("kaggle", 1, {})
    assert str(tmp_path) not in json.dumps(found)


def test_a_source_without_validation_gets_a_seeded_one(source: Path, tmp_path: Path) -> None:
    one = prepare(source, tmp_path / "one", SIZE, seed=1)
    assert {split: len(rows) for split, rows in one.splits.items()} == {"train": 36, "val": 4}
    assert sorted(one.splits["train"] + one.splits["val"]) == list(range(COUNT))

    header, *lines = (source / "captions.txt").read_text().splitlines()
    in_pairs = [lines[i : i + 2] for i in range(0, len(lines), 2)]
    turned = [line for pair in reversed(in_pairs) for line in pair]
    (source / "captions.txt").write_text("\n".join([header, *turned]))
    assert prepare(source, tmp_path / "turned", SIZE, seed=1).digest == one.digest

    two = prepare(source, tmp_path / "two", SIZE, seed=2, val_share=0.25)
    assert len(two.splits["val"]) == 10
    assert not set(one.splits["val"]) <= set(two.splits["val"])
    assert two.digest != one.digest
    assert "val" not in prepare(source, tmp_path / "none", SIZE, val_share=0).splits


def test_splits_of_the_source_are_kept(source: Path, tmp_path: Path) -> None:
    (source / "Flickr_8k.trainImages.txt").write_text("0.jpg\n1.jpg\n2.jpg\n3.jpg\n")
    (source / "Flickr_8k.testImages.txt").write_text("4.jpg\n")
    prepared = prepare(source, tmp_path / "out", SIZE)
    assert prepared.splits["test"] == [4]
    assert [len(prepared.splits[split]) for split in ("train", "val")] == [3, 1]
    assert described(tmp_path / "out")["problems"]["photo in no split"]["count"] == 35

    (source / "Flickr_8k.devImages.txt").write_text("5.jpg\n0.jpg\n")
    prepared = prepare(source, tmp_path / "again", SIZE)
    assert prepared.splits == {"train": [0, 1, 2, 3], "val": [0, 5], "test": [4]}
    assert prepared.names == [f"{i}.jpg" for i in range(6)]
    problems = described(tmp_path / "again")["problems"]
    assert problems["photo in several splits"] == {"count": 1, "names": ["0.jpg"]}


def test_what_cannot_be_used_is_left_out_and_told(source: Path, tmp_path: Path) -> None:
    (source / "Images" / "3.jpg").write_bytes(b"no photo")
    (source / "Images" / "5.jpg").unlink()
    prepared = prepare(source, tmp_path / "out", SIZE)
    assert len(prepared.names) == len(prepared.photos) == COUNT - 2
    assert not {"3.jpg", "5.jpg"} & set(prepared.names)
    row = prepared.names.index("4.jpg")
    wanted = image.decode((source / "Images" / "4.jpg").read_bytes(), SIZE).numpy()
    np.testing.assert_array_equal(prepared.photos[row], wanted)
    problems = described(tmp_path / "out")["problems"]
    assert problems["missing photo"] == {"count": 1, "names": ["5.jpg"]}
    assert problems["photo that cannot be decoded"]["names"][0].startswith("3.jpg (not an image")


def test_rows_with_surplus_fields_stop_it_or_are_listed(source: Path, tmp_path: Path) -> None:
    bad = [f"{i}.jpg,A red chair, a table, and a lamp" for i in range(3)]
    good = [f"{i}.jpg,a red circle" for i in range(3, COUNT)]
    metadata = source / "Images" / "metadata.csv"
    metadata.write_text("\n".join(["file_name,text", *bad, *good]))
    with pytest.raises(InvalidDataset, match=r"3 of 40 photos have problems.*metadata\.csv line 2"):
        prepare(source / "Images", tmp_path / "out", SIZE)
    metadata.write_text("\n".join(["file_name,text", *bad[:1], *good]))
    prepared = prepare(source / "Images", tmp_path / "out", SIZE)
    assert len(prepared.names) == COUNT - 3
    [name] = described(tmp_path / "out")["problems"]["row that cannot be read"]["names"]
    assert name.startswith("metadata.csv line 2 (it has 2 fields more")


def test_too_many_problems(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        (source / "Images" / f"{i}.jpg").write_bytes(b"no photo")
    message = r"reds: 3 of 40 photos have problems, allowed are 5\.0%: 3 x photo that cannot be"
    with pytest.raises(InvalidDataset, match=message):
        prepare(source, tmp_path / "out", SIZE)
    assert not (tmp_path / "out" / "dataset.json").exists()
    for i in range(3):
        (source / "Images" / f"{i}.jpg").unlink()
    monkeypatch.setattr(image, "decode", None)  # nothing is decoded in vain
    with pytest.raises(InvalidDataset, match=r"3 x missing photo: 0\.jpg, 1\.jpg, 2\.jpg\. Mend"):
        prepare(source, tmp_path / "new", SIZE)
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    assert len(prepare(source, tmp_path / "new", SIZE, max_problems=0.1).names) == COUNT - 3


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("after", [3, 11, COUNT - 1])
def test_an_interrupted_preparation_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    (source / "Images" / "12.jpg").write_bytes(b"no photo")  # the fourth in order
    whole = tmp_path / "whole"
    prepare(source, whole, SIZE)
    decode, calls = image.decode, 0

    def failing(data: bytes, size: int) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Interrupted
        return decode(data, size)

    monkeypatch.setattr(preparing, "SAVE_EVERY", 5)
    monkeypatch.setattr(image, "decode", failing)
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        prepare(source, out, SIZE, threads=1)
    assert not {"dataset.json", "photos.npy"} & set(files(out))
    with pytest.raises(InvalidDataset, match="or finish it, with `captioner prepare SOURCE --out"):
        Prepared.open(out)
    if after >= 5:
        with pytest.raises(InvalidDataset, match="image_size 16, not 8; choose another --out"):
            prepare(source, out, 8)
    calls, after = 0, COUNT
    prepare(source, out, SIZE)
    assert calls <= COUNT
    assert files(out) == files(whole)


def test_photos_of_two_ways_of_decoding_are_not_mixed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(source, out, SIZE)
    with monkeypatch.context() as patch:
        patch.setattr(image, "DECODING_VERSION", image.DECODING_VERSION + 1)
        with pytest.raises(InvalidDataset, match="another version of the captioner decodes them"):
            prepare(source, out, SIZE)
    told = described(out)
    assert told.pop("decoding") == image.DECODING_VERSION
    (out / "dataset.json").write_text(json.dumps(told))  # as it was before that was noted
    with pytest.raises(InvalidDataset, match="another version of the captioner decodes them"):
        prepare(source, out, SIZE)
    assert Prepared.open(out).names  # what is there goes on to be of use


@pytest.mark.parametrize("name", ["photos.npy", "dataset.json"])
def test_interrupted_at_a_renaming(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare(source, whole, SIZE)
    rename = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if target.name == name:
            raise Interrupted
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(Interrupted):
            prepare(source, out, SIZE)
    assert not (out / "dataset.json").exists()
    monkeypatch.setattr(image, "decode", None)  # not needed again
    prepare(source, out, SIZE)
    assert files(out) == files(whole)


KILLED = """
import sys, time
from model import image
from training.data import prepare as preparing
decode = image.decode
def slow(data, size):
    time.sleep(0.2)
    return decode(data, size)
image.decode, preparing.SAVE_EVERY = slow, 4
preparing.prepare(sys.argv[1], sys.argv[2], int(sys.argv[3]), threads=1)
"""


def test_a_killed_preparation_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare(source, whole, SIZE)
    command = [sys.executable, "-c", KILLED, str(source), str(out), str(SIZE)]
    with subprocess.Popen(command, cwd=Path(preparing.__file__).parents[2]) as process:
        while not (out / "progress.json").exists() and process.poll() is None:
            time.sleep(0.01)
        with pytest.raises(InvalidDataset, match="being prepared by another process"):
            prepare(source, out, SIZE)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "dataset.json").exists()

    decode, calls = image.decode, []

    def counted(data: bytes, size: int) -> Any:
        calls.append(data)
        return decode(data, size)

    monkeypatch.setattr(image, "decode", counted)
    prepare(source, out, SIZE)
    assert 0 < len(calls) < COUNT
    assert files(out) == files(whole)


def test_a_part_that_was_lost_is_made_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare(source, whole, SIZE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, missing_ok: None)
        prepare(source, out, SIZE)
    assert json.loads((out / "progress.json").read_text())["done"] == COUNT
    (out / "dataset.json").unlink()
    (out / "photos.npy").rename(out / "photos.npy.part")
    os.truncate(out / "photos.npy.part", 1000)
    prepare(source, out, SIZE)
    assert files(out) == files(whole)


def test_what_is_prepared_stays(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    first = prepare(source, out, SIZE)
    before = files(out)
    monkeypatch.setattr(image, "decode", None)  # nothing is decoded again
    with caplog.at_level(logging.INFO):
        assert prepare(source, out, SIZE) == first
    assert "out is prepared from" in caplog.text
    for change, message in (
        ({"image_size": 8}, "image_size 16, not 8"),
        ({"seed": 2}, "seed 1, not 2"),
        ({"val_share": 0.2}, r"val_share 0\.1, not 0\.2"),
    ):
        with pytest.raises(InvalidDataset, match=f"{message}; choose another --out, or add"):
            prepare(source, out, **{"image_size": SIZE} | change)
    with open(source / "captions.txt", "a") as file:
        file.write("0.jpg,one more\n")
    with pytest.raises(InvalidDataset, match="prepared with other photos or captions; choose"):
        prepare(source, out, SIZE)
    assert files(out) == before


def test_what_is_prepared_is_replaced_if_asked_for(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source, out, SIZE)
    (out / "notes.txt").write_text("mine")
    assert prepare(source, out, 8, overwrite=True).image_size == 8
    assert set(files(out)) == {"dataset.json", "photos.npy", "notes.txt"}


def test_a_place_that_cannot_be_written_is_found_before_reading(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(preparing.datasets, "read", lambda *a: pytest.fail("read first"))
    with pytest.raises(ValueError, match=r"cannot be written, because of .*file: Not a directory"):
        prepare(source, tmp_path / "file" / "out", SIZE)


@pytest.mark.parametrize(
    ("name", "content"),
    [("dataset.json", "{}"), ("dataset.json", "[]"), ("progress.json", "5"), ("photos.npy", "")],
)
def test_files_of_something_else_stay(
    source: Path, tmp_path: Path, name: str, content: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text(content)
    with pytest.raises(InvalidDataset, match="choose another"):
        prepare(source, out, SIZE)
    assert files(out) == {name: content.encode()}


def test_a_disk_that_is_too_small_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 1000}))
    with pytest.raises(InvalidDataset, match=r"photos take 0\.0 GB, 0\.0 GB are free there"):
        prepare(source, tmp_path / "out", SIZE)
    assert not files(tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "value"), [("image_size", 0), ("val_share", 1.0), ("max_problems", -0.1)]
)
def test_options_out_of_range(source: Path, tmp_path: Path, option: str, value: float) -> None:
    options: dict[str, Any] = {"image_size": SIZE, option: value}
    with pytest.raises(ValueError, match=f"{option} is {value}; it must be in"):
        prepare(source, tmp_path / "out", **options)


def test_only_a_whole_folder_opens(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source, out, SIZE)
    description, photos = (out / "dataset.json").read_text(), (out / "photos.npy").read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(InvalidDataset, match=message):
            Prepared.open(out)
        (out / "dataset.json").write_text(description)
        (out / "photos.npy").write_bytes(photos)

    (out / "photos.npy").unlink()
    refused(r"photos\.npy: .*No such file.* run `captioner prepare` again, into a new folder")
    (out / "photos.npy").write_bytes(photos[:-1])
    refused(r"photos\.npy: .*; run `captioner prepare`")
    np.save(out / "photos.npy", np.zeros((2, 3, SIZE, SIZE), np.uint8))
    refused(r"photos\.npy: it holds uint8 \(2, 3, 16, 16\), not uint8 \(40, 3, 16, 16\)")
    np.save(out / "photos.npy", np.zeros((COUNT, 3, SIZE, SIZE), np.int8))
    refused(r"it holds int8")
    (out / "dataset.json").write_text(description[:-9])
    refused(r"dataset\.json cannot be read")
    (out / "dataset.json").write_text('{"images": []}')
    refused(r"dataset\.json was not written by this `captioner prepare`")
    (out / "dataset.json").write_text(description.replace('"digest"', '"gist"'))
    refused(r"dataset\.json: KeyError\('digest'\)")
    assert len(Prepared.open(out).names) == COUNT
    with pytest.raises(InvalidDataset, match="nowhere is no prepared dataset"):
        Prepared.open(tmp_path / "nowhere")


def test_processes_share_the_file_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared = prepare(source, out, SIZE)
    photos = np.array(prepared.photos)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        first, second = pool.map(Prepared.open, [out, out])
    assert first == second == prepared
    assert "photos" not in vars(first)  # not sent along; mapped anew where it is asked for
    np.testing.assert_array_equal(first.photos, photos)


def test_photos_of_a_tar(source: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "reds.tar", "w") as tar:
        for i in range(4):
            (tmp_path / f"{i}.txt").write_text(f"shade number {i}\na red circle\n")
            tar.add(tmp_path / f"{i}.txt", f"{i}.txt")
            tar.add(source / "Images" / f"{i}.jpg", f"{i}.jpg")
    prepared = prepare(tmp_path / "reds.tar", tmp_path / "out", SIZE)
    assert prepared.names == [f"reds.tar/{i}.jpg" for i in range(4)]
    for i, photo in enumerate(prepared.photos):
        wanted = image.decode((source / "Images" / f"{i}.jpg").read_bytes(), SIZE).numpy()
        np.testing.assert_array_equal(photo, wanted)
