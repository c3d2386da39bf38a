"""A preparation that is interrupted or killed, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from model import image
from tests.training.data.reds import COUNT, SIZE, files
from training.data import pixels
from training.data import prepare as preparing
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset


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

    monkeypatch.setattr(pixels, "SAVE_EVERY", 5)
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


STUCK = """
import sys, threading
from model import image
from training.data import pixels
from training.data.prepare import prepare
decode, decoded = image.decode, []
def stuck_at_the_sixth(data, size):
    decoded.append(data)
    if len(decoded) == 6:
        threading.Event().wait()
    return decode(data, size)
image.decode, pixels.SAVE_EVERY = stuck_at_the_sixth, 4
prepare(sys.argv[1], sys.argv[2], int(sys.argv[3]), threads=1)
"""


@pytest.mark.slow
def test_a_killed_preparation_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare(source, whole, SIZE)
    command = [sys.executable, "-c", STUCK, str(source), str(out), str(SIZE)]
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
    assert len(calls) == COUNT - 4
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


def test_a_disk_that_is_too_small_is_reported(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 1000}))
    with pytest.raises(InvalidDataset, match=r"photos take 0\.0 GB, 0\.0 GB are free there"):
        prepare(source, tmp_path / "out", SIZE)
    assert not files(tmp_path / "out")
