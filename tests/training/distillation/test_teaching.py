"""The file that teachers write about prepared photos."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import Captioner, DecodingOptions, checkpoint
from model.word_map import tokenize
from tests.training.batching import CPU
from training.data import taught as taught_file
from training.data.grids import cached_grids
from training.data.prepared import Prepared
from training.data.problems import InvalidDataset
from training.data.taught import Taught
from training.distillation import teaching
from training.distillation.teaching import teach


def test_one_teacher_teaches_the_captions_and_words_that_it_finds_alone(
    uncaptioned: Prepared, tiny_checkpoint: Path
) -> None:
    taught = teach(uncaptioned.folder, [tiny_checkpoint], captions=3, words=4)
    captioner = Captioner.load(tiny_checkpoint)
    options = DecodingOptions(teaching.MIN_BEAMS, 3, length_penalty=teaching.LENGTH_PENALTY)
    # Teachers read grids in half precision, as a training does.
    grid = captioner.encode(torch.from_numpy(np.array(uncaptioned.pixels))).half()
    wanted = captioner.caption_grid(grid, options)
    assert set(taught.found) == set(range(5))
    for row, captions in taught.found.items():
        assert captions == tuple(caption.text for caption in wanted[row])
        assert len(set(captions)) == 3
    places = iter(zip(taught.ids, taught.probabilities, strict=True))
    for caption in [caption for each in wanted for caption in each]:
        for word, log_prob in zip(caption.words, caption.word_log_probs, strict=True):
            ids, probabilities = next(places)
            likely = dict(zip([taught.vocabulary[i] for i in ids], probabilities, strict=True))
            assert word not in likely or np.log(likely[word]) == pytest.approx(log_prob, abs=1e-2)
        next(places)  # the end
    assert next(places, None) is None
    assert taught.lesson.photos == uncaptioned.digest


def test_captions_of_people_are_kept(prepared: Prepared, teachers: list[Path]) -> None:
    taught = teach(prepared.folder, teachers, words=1000)
    assert not taught.found
    rows = prepared.rows("train")
    wanted = [
        sum(len(tokenize(text)) + 1 for text in prepared.photos[row].captions) for row in rows
    ]
    assert taught.counts.tolist() == wanted
    # Both vocabularies together, with all of the probability.
    assert set(taught.vocabulary) == {w for t in teachers for w in checkpoint.load(t)[1].words}
    assert taught.ids.shape == (sum(wanted), len(taught.vocabulary))
    np.testing.assert_allclose(taught.probabilities.astype(float).sum(axis=1), 1, atol=2e-3)
    assert [teacher.name for teacher in taught.lesson.teachers] == ["tiny", "second"]


def test_batches_cached_grids_and_another_run_teach_the_same(
    uncaptioned: Prepared, teachers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = teach(uncaptioned.folder, teachers)
    monkeypatch.setattr(teaching, "BATCH", 2)
    for folder in teachers:
        cached_grids(checkpoint.load(folder)[0].encoder, uncaptioned, CPU)
    again = teach(uncaptioned.folder, teachers, overwrite=True)
    assert again.found == first.found
    np.testing.assert_array_equal(again.ids, first.ids)
    np.testing.assert_allclose(again.probabilities, first.probabilities, atol=1e-3)


def test_what_others_taught_is_replaced_only_on_demand(
    uncaptioned: Prepared, teachers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = uncaptioned.folder / "taught.npz"
    before = teach(uncaptioned.folder, teachers)
    written = path.stat().st_mtime_ns
    assert teach(uncaptioned.folder, teachers).digest == before.digest
    assert path.stat().st_mtime_ns == written  # nothing to do
    for others in ({"teachers": teachers[:1]}, {"captions": 2}, {"words": 3}):
        arguments = {"teachers": teachers} | others
        with pytest.raises(
            ValueError, match=r"by other teachers or with other options .*add --over"
        ):
            teach(uncaptioned.folder, **arguments)  # type: ignore[arg-type]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(taught_file, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            teach(uncaptioned.folder, teachers[:1], overwrite=True)
    assert path.stat().st_mtime_ns == written
    assert teach(uncaptioned.folder, teachers[:1], overwrite=True).digest != before.digest


def test_killed_work_goes_on_where_it_was(
    uncaptioned: Prepared, teachers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = teach(uncaptioned.folder, teachers)
    monkeypatch.setattr(teaching, "BATCH", 1)
    monkeypatch.setattr(teaching, "PART", 2)
    of_batch = teaching._of_batch
    taught: list[int] = []

    def killed_at_the_last(*arguments: Any) -> Taught:
        taught.extend(arguments[-1])
        if len(taught) == 5:
            raise KeyboardInterrupt
        return of_batch(*arguments)

    monkeypatch.setattr(teaching, "_of_batch", killed_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        teach(uncaptioned.folder, teachers, overwrite=True)
    taught.clear()
    with pytest.raises(KeyboardInterrupt):  # another lesson begins anew
        teach(uncaptioned.folder, teachers, captions=2, overwrite=True)
    assert taught == [0, 1, 2, 3, 4]
    (uncaptioned.folder / "taught-1.part").write_bytes(b"damaged")
    (uncaptioned.folder / ".taught-1.part.x").write_bytes(b"half")
    again = teach(uncaptioned.folder, teachers, captions=2, overwrite=True)
    assert taught == [0, 1, 2, 3, 4, 2, 3, 4]
    assert {row: captions[:2] for row, captions in whole.found.items()} == again.found
    left = {path.name for path in uncaptioned.folder.iterdir()}
    assert left == {"dataset.json", "photos.npy", "taught.npz"}


def test_a_file_that_does_not_fit_is_refused(
    uncaptioned: Prepared, prepared: Prepared, teachers: list[Path]
) -> None:
    with pytest.raises(InvalidDataset, match="not taught yet; run `captioner teach"):
        Taught.load(uncaptioned)
    taught = teach(uncaptioned.folder, teachers)
    path = uncaptioned.folder / "taught.npz"
    whole = path.read_bytes()
    for damaged in (b"", b"no arrays", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InvalidDataset, match=r"taught\.npz cannot be read.*--overwrite"):
            Taught.load(uncaptioned)
    fewer = dataclasses.replace(taught, counts=taught.counts[::-1] + 1)
    fewer.save(path)
    with pytest.raises(InvalidDataset, match="does not fit the words of the captions"):
        Taught.load(uncaptioned)
    path.write_bytes(whole)
    (prepared.folder / "taught.npz").write_bytes(whole)
    with pytest.raises(InvalidDataset, match="belongs to other photos"):
        Taught.load(prepared)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"captions": 21}, "captions is 21"),
        ({"words": 0}, "words is 0"),
        ({"teachers": []}, "teachers is empty"),
        ({"teachers": [Path("nowhere")]}, "nowhere is no checkpoint folder"),
    ],
)
def test_wrong_arguments_are_named(
    uncaptioned: Prepared, teachers: list[Path], arguments: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        teach(uncaptioned.folder, **({"teachers": teachers} | arguments))


def test_teachers_take_photos_of_the_prepared_size(teachers: list[Path], training) -> None:
    with pytest.raises(InvalidDataset, match="image_size 64, the network wants 96"):
        teach(training.folders[0].path, teachers)
