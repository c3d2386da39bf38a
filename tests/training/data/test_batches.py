"""Batches: a photo with all of its captions, shared by processes, augmented."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from model.word_map import WordMap
from tests.training.batching import CPU, batches, training_set
from training.data.augmentation import Augmentation
from training.data.batches import BatchOrder, TrainingSet, batch_loader
from training.data.photo import Photo
from training.data.prepared import Prepared

CHANGES = Augmentation(0.7, colour=0.3, erase=0.5)


def test_a_photo_travels_once_with_all_of_its_captions(
    prepared: Prepared, word_map: WordMap
) -> None:
    drawn = batches(training_set(prepared, word_map), 3)
    assert [len(b.images) for b in drawn] == [3, 1]
    assert {photo for batch in drawn for photo in batch.photos} == set(prepared.photos)
    for batch in drawn:
        for row, photo in enumerate(batch.photos):
            pixels = prepared.pixels[prepared.photos.index(photo)]
            assert np.array_equal(batch.images[row], pixels)
            mine = (batch.image_of == row).nonzero().flatten().tolist()
            texts = [word_map.decode(batch.captions[i].tolist()) for i in mine]
            wanted = [c.lower().removesuffix(" .") for c in photo.captions]
            assert texts == wanted
            for i in mine:
                ids, length = batch.captions[i], batch.lengths[i]
                assert ids[0] == word_map.start
                assert ids[length - 1] == word_map.end
                assert (ids[length:] == word_map.pad).all()


def test_processes_share_the_batches_of_one() -> None:
    def order(**share: int) -> list[list[int]]:
        return [places for _, places in BatchOrder(10, 4, 1, 2, **share)]

    alone = order()
    assert [len(b) for b in alone] == [4, 4, 2]
    shares = [order(rank=rank, world=2) for rank in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(itertools.chain(*parts))
    assert order(start=2) == alone[2:]
    assert [len(b) for b in order(rank=2, world=3)] == [1, 1]  # the last has no photo for it
    assert BatchOrder(10, 4, 1, 2, world=3).total == 2
    assert list(BatchOrder(10, 4, 1, 3)) != list(BatchOrder(10, 4, 1, 2))


def shared_set(word_map: WordMap, *shares: tuple[int, float], **options: Any) -> TrainingSet:
    """Return a set of made-up photos whose folders have so many photos and repeats."""
    count = sum(photos for photos, _ in shares)
    photos = [Photo(f"{row}.jpg", ("a dog",)) for row in range(count)]
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return TrainingSet(photos, pixels, range(count), word_map, shares=shares, **options)


def test_an_only_folder_has_the_batches_of_its_photos(word_map: WordMap) -> None:
    dataset = shared_set(word_map, (10, 1.0))
    for epoch in range(3):
        assert dataset.places(epoch).tolist() == list(range(10))
        orders = (BatchOrder(places, 4, 1, epoch) for places in (dataset.places(epoch), 10))
        assert list(next(orders)) == list(next(orders))


def test_an_epoch_goes_through_a_folder_as_often_as_it_is_repeated(word_map: WordMap) -> None:
    dataset = shared_set(word_map, (6, 1.0), (4, 2.5), (8, 0.25), (3, 0.001))

    def used(epoch: int) -> list[int]:
        places = BatchOrder(dataset.places(epoch), 5, 1, epoch)
        batches = batch_loader(dataset, places, 0, CPU.device)
        return sorted(int(p.name.removesuffix(".jpg")) for batch in batches for p in batch.photos)

    epochs = [used(epoch) for epoch in range(4)]
    for rows in epochs:
        counts = [rows.count(row) for row in range(21)]
        assert counts[:6] == [1] * 6
        assert sorted(counts[6:10]) == [2, 2, 3, 3]
        assert sorted(counts[10:18]) == [0] * 6 + [1] * 2
        assert sum(counts[18:]) == 1  # of a folder that is named, at least one
    # A fraction takes other photos each time until all have been used.
    assert sorted(row for rows in epochs for row in rows if 10 <= row < 18) == list(range(10, 18))
    assert used(2) == epochs[2]


def test_copies_of_a_photo_are_augmented_differently(word_map: WordMap) -> None:
    once, twice = (
        shared_set(word_map, (2, repeats), augmentation=CHANGES, seed=3) for repeats in (1.0, 2.0)
    )
    plain, again = once[(0, [1])].images[0], twice[(0, [3, 1])]
    assert [photo.name for photo in again.photos] == ["1.jpg", "1.jpg"]
    assert torch.equal(again.images[1], plain)
    assert not torch.equal(again.images[0], plain)


@pytest.mark.slow
def test_loader_processes_give_the_same_batches(prepared: Prepared, word_map: WordMap) -> None:
    dataset = training_set(prepared, word_map, augmentation=CHANGES, seed=3)
    in_line = batches(dataset, 2)
    order = BatchOrder(len(dataset), 2, 1, 0)
    before = torch.get_rng_state()
    for one, two in zip(in_line, batch_loader(dataset, order, 1, CPU.device), strict=True):
        assert one.photos == two.photos
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.captions, two.captions)
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_depends_on_seed_epoch_and_photo_alone(
    prepared: Prepared, word_map: WordMap
) -> None:
    dataset = training_set(prepared, word_map, augmentation=CHANGES, seed=3)
    first = dataset[(0, [0, 1])].images
    assert torch.equal(first, dataset[(0, [1, 0])].images.flip(0))
    assert first.shape == (2, 3, 96, 96)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, dataset[(1, [0, 1])].images)
    assert not torch.equal(first, training_set(prepared, word_map)[(0, [0, 1])].images)


def test_photos_with_sides_are_never_flipped(word_map: WordMap) -> None:
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8), (2, 3, 96, 96)).copy()
    photos = [Photo("sided", ("a dog on the Left",)), Photo("free", ("a dog is leftover",))]
    dataset = TrainingSet(photos, ramp, [0, 1], word_map, Augmentation())
    rises = [
        [bool(photo[0, 50, 90] > photo[0, 50, 5]) for photo in dataset[(epoch, [0, 1])].images]
        for epoch in range(20)
    ]
    assert all(sided for sided, _ in rises)
    assert {free for _, free in rises} == {True, False}
