"""Several prepared folders as the data of one training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from model.word_map import WordMap
from training.config import DataFolder, TrainingConfig
from training.data.batches import TrainingSet
from training.data.mixture import Mixture
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset
from training.data.stacked import StackedArrays, stacked


def mixture(*folders: str | Path) -> Mixture:
    return Mixture.open([DataFolder.parse(str(folder)) for folder in folders])


def test_one_folder_is_as_it_is(training: TrainingConfig) -> None:
    mixed, prepared = Mixture.open(training.folders), Prepared.open(training.folders[0].path)
    assert mixed.photos == list(prepared.photos)
    assert mixed.rows("train") == prepared.rows("train")
    assert mixed.digest == prepared.digest
    assert not mixed.several


def test_photos_of_the_same_name_stay_apart(
    training: TrainingConfig, greens: Path, word_map: WordMap
) -> None:
    mixed = mixture(training.folders[0].path, f"{greens}=2")
    assert [part.name for part in mixed.parts] == ["shapes", "greens"]
    assert mixed.rows("train") == [0, 1, 2, 3, *range(4, 7)]
    assert mixed.shares == [(4, 1.0), (3, 2.0)]
    assert len({photo.name for photo in mixed.photos}) == len(mixed.photos) == 9
    pixels = stacked([part.prepared.pixels for part in mixed.parts])
    dataset = TrainingSet(mixed.photos, pixels, mixed.rows("train"), word_map, shares=mixed.shares)
    batch = dataset[(0, [5, 1, 4])]
    for photo, image in zip(batch.photos, batch.images, strict=True):
        dataset_name, name = photo.name.split("/")
        (part,) = [part for part in mixed.parts if part.name == dataset_name]
        (row,) = [i for i, each in enumerate(part.prepared.photos) if each.name == name]
        assert photo.captions == part.prepared.photos[row].captions
        assert np.array_equal(image, part.prepared.pixels[row])


def test_datasets_of_one_name_are_numbered(dataset: Path, greens: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        shutil.copytree(dataset, tmp_path / folder / "shapes")
        captions = tmp_path / folder / "shapes" / "captions.txt"
        captions.write_text(captions.read_text() + f"red_circle.jpg,caption {number}\n")
        prepare(tmp_path / folder / "shapes", tmp_path / folder / "data", 64)
    mixed = mixture(tmp_path / "a" / "data", greens, tmp_path / "b" / "data")
    assert [part.name for part in mixed.parts] == ["shapes", "greens", "shapes-2"]


def test_folders_that_do_not_fit_are_refused(
    training: TrainingConfig, dataset: Path, greens: Path, tmp_path: Path
) -> None:
    first = training.folders[0].path
    prepare(tmp_path / "greens", tmp_path / "large", 96)
    with pytest.raises(InvalidDataset, match=r"values of image_size \(.*data: 64, .*large: 96\)"):
        mixture(first, tmp_path / "large")
    with pytest.raises(InvalidDataset, match=r"hold the same photos; .* --data .*data=2"):
        mixture(first, greens, first)
    with pytest.raises(InvalidDataset, match="is no prepared dataset"):
        mixture(first, tmp_path)


def test_changed_folders_are_named(training: TrainingConfig, greens: Path, tmp_path: Path) -> None:
    first = training.folders[0].path
    before = mixture(first, f"{greens}=2")
    before.require_same([list(entry) for entry in before.description()], "run")  # type: ignore
    changed = {
        "shapes, greens=2; now --data names shapes, greens=3": mixture(first, f"{greens}=3"),
        "shapes, greens=2; now --data names greens=2, shapes": mixture(f"{greens}=2", first),
        r"greens=2 \(not the same photos as now\); now --data names shapes\.": mixture(first),
    }
    for message, now in changed.items():
        assert now.digest != before.digest
        with pytest.raises(ValueError, match=f"run was begun with other data: .*{message}"):
            now.require_same(before.description(), "run")


def test_stacked_arrays_are_read_like_one() -> None:
    arrays = [np.arange(12).reshape(4, 3), np.zeros((0, 3), int), np.arange(12, 18).reshape(2, 3)]
    one = np.concatenate(arrays)
    for rows in ([5, 0, 4, 0], [3], [], [4, 5]):
        assert np.array_equal(StackedArrays(arrays)[rows], one[np.array(rows, int)])
    assert stacked(arrays[:1]) is arrays[0]
