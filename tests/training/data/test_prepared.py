from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.training.data.reds import COUNT, SIZE
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset


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
    assert len(Prepared.open(out).photos) == COUNT
    with pytest.raises(InvalidDataset, match="nowhere is no prepared dataset"):
        Prepared.open(tmp_path / "nowhere")


@pytest.mark.slow
def test_processes_share_the_file_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared = prepare(source, out, SIZE)
    held = np.array(prepared.pixels)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        first, second = pool.map(Prepared.open, [out, out])
    assert first == second == prepared
    assert "pixels" not in vars(first)  # not sent along; mapped anew where it is asked for
    np.testing.assert_array_equal(first.pixels, held)
