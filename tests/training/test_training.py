"""Batches, losses in parts, and one epoch on four rendered photos."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from model import Captioner, DecodingOptions
from model.config import ModelConfig
from model.encoder import Encoder
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.config import StageOptions
from training.data import features, grid_cache
from training.data.batches import Batch, BatchOrder, TrainingSet, load
from training.data.features import cached_grids
from training.data.prepare import prepare
from training.data.prepared import Prepared
from training.loop import encoder_weights, engine
from training.loop.averaging import AveragedWeights
from training.loop.encoder_weights import load_encoder_weights, normalisation
from training.loop.engine import EpochSoFar
from training.loop.losses import CaptionLoss
from training.loop.schedules import rate_factor
from training.loop.steps import CrossEntropyStep
from training.processes import Processes
from training.scoring.captions import caption_rows
from training.scoring.metrics import score

CPU = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def prepared(dataset: Path, tmp_path: Path) -> Prepared:
    return prepare(dataset, tmp_path / "prepared", 96)


def training_set(prepared: Prepared, word_map: WordMap, images=None, **options) -> TrainingSet:
    return TrainingSet(
        prepared.photos if images is None else images,
        prepared.names,
        prepared.captions,
        prepared.splits["train"],
        word_map,
        **options,
    )


def batches(dataset: TrainingSet, size: int, epoch: int = 0, **share: int) -> list[Batch]:
    order = BatchOrder(len(dataset), size, 1, epoch, **{"rank": 0, "world": 1, "start": 0} | share)
    return list(load(dataset, order, 0, CPU.device))


def test_a_photo_travels_once_with_all_of_its_captions(
    prepared: Prepared, word_map: WordMap
) -> None:
    drawn = batches(training_set(prepared, word_map), 3)
    assert [len(b.images) for b in drawn] == [3, 1]
    assert sorted(name for b in drawn for name in b.names) == sorted(prepared.names)
    for batch in drawn:
        for row, name in enumerate(batch.names):
            photo = prepared.names.index(name)
            assert np.array_equal(batch.images[row], prepared.photos[photo])
            mine = (batch.image_of == row).nonzero().flatten().tolist()
            texts = [word_map.decode(batch.captions[i].tolist()) for i in mine]
            wanted = [c.lower().removesuffix(" .") for c in prepared.captions[photo]]
            assert texts == wanted
            for i in mine:
                ids, length = batch.captions[i], batch.lengths[i]
                assert ids[0] == word_map.start
                assert ids[length - 1] == word_map.end
                assert (ids[length:] == word_map.pad).all()


def test_processes_share_the_batches_of_one() -> None:
    def order(**share: int) -> list[list[int]]:
        options = {"rank": 0, "world": 1, "start": 0} | share
        return [places for _, places in BatchOrder(10, 4, 1, 2, **options)]

    alone = order()
    assert [len(b) for b in alone] == [4, 4, 2]
    shares = [order(rank=rank, world=2) for rank in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(itertools.chain(*parts))
    assert order(start=2) == alone[2:]
    assert [len(b) for b in order(rank=2, world=3)] == [1, 1]  # the last has no photo for it
    assert BatchOrder(10, 4, 1, 2, 0, 3, 0).total == 2
    assert BatchOrder(10, 4, 1, 3, 0, 1, 0)._left != BatchOrder(10, 4, 1, 2, 0, 1, 0)._left


def test_loader_processes_give_the_same_batches(prepared: Prepared, word_map: WordMap) -> None:
    dataset = training_set(prepared, word_map, augment=True, seed=3)
    in_line = batches(dataset, 2)
    order = BatchOrder(len(dataset), 2, 1, 0, 0, 1, 0)
    before = torch.get_rng_state()
    for one, two in zip(in_line, load(dataset, order, 1, CPU.device), strict=True):
        assert one.names == two.names
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.captions, two.captions)
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_depends_on_seed_epoch_and_photo_alone(
    prepared: Prepared, word_map: WordMap
) -> None:
    dataset = training_set(prepared, word_map, augment=True, seed=3)
    first = dataset[(0, [0, 1])].images
    assert torch.equal(first, dataset[(0, [1, 0])].images.flip(0))
    assert first.shape == (2, 3, 96, 96)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, dataset[(1, [0, 1])].images)
    assert not torch.equal(first, training_set(prepared, word_map)[(0, [0, 1])].images)


def test_photos_with_sides_are_never_flipped(word_map: WordMap) -> None:
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8), (2, 3, 96, 96)).copy()
    captions = [("a dog on the Left",), ("a dog is leftover",)]
    dataset = TrainingSet(ramp, ["sided", "free"], captions, [0, 1], word_map, augment=True)
    rises = [
        [bool(photo[0, 50, 90] > photo[0, 50, 5]) for photo in dataset[(epoch, [0, 1])].images]
        for epoch in range(20)
    ]
    assert all(sided for sided, _ in rises)
    assert {free for _, free in rises} == {True, False}


def test_a_crop_keeps_the_share_it_is_told(word_map: WordMap) -> None:
    """Of a photo that grows brighter to the right, one of another width shows less of that."""
    ramp = np.broadcast_to(np.arange(0, 192, 2, dtype=np.uint8), (1, 3, 96, 96)).copy()
    captions = [("a dog on the left",)]  # not flipped

    def least_width(crop: float) -> float:
        dataset = TrainingSet(ramp, ["a"], captions, [0], word_map, augment=True, crop=crop)
        photos = [dataset[(epoch, [0])].images[0, 0, 50].int() for epoch in range(60)]
        return min((photo[90] - photo[5]).item() for photo in photos) / (2 * 85)

    assert least_width(1.0) > 0.9  # the aspect alone
    assert 0.75 < least_width(0.7) < 0.9
    assert 0.45 < least_width(0.3) < 0.65


def test_grids_are_computed_once(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = cached_grids(network.encoder, prepared, CPU)
    with torch.no_grad():
        direct = network.encoder(torch.from_numpy(np.array(prepared.photos)))
    assert grids.dtype == np.float16
    torch.testing.assert_close(
        torch.from_numpy(np.array(grids)).float(), direct, atol=2e-3, rtol=2e-3
    )

    monkeypatch.setattr(network.encoder, "forward", lambda photos: pytest.fail("encoded again"))
    assert np.array_equal(cached_grids(network.encoder, prepared, CPU), grids)
    monkeypatch.undo()
    with torch.no_grad():
        network.encoder.backbone.conv_stem.weight.mul_(1.5)
    assert not np.array_equal(cached_grids(network.encoder, prepared, CPU), grids)
    assert len(list(prepared.folder.glob("grids-*.npy"))) == 2
    assert not list(prepared.folder.glob("*.new"))


def test_trainings_that_begin_together_encode_once(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, computed = threading.Barrier(2, timeout=60), []
    compute = features._compute

    def watched(path: Path, *arguments: Any) -> None:
        time.sleep(0.2)  # the other one is before the lock by now
        computed.append(path)
        compute(path, *arguments)

    def begin() -> np.ndarray:
        began.wait()
        return np.array(cached_grids(network.encoder, prepared, CPU))

    monkeypatch.setattr(features, "_compute", watched)
    with ThreadPoolExecutor(2) as pool:
        one, two = (future.result() for future in [pool.submit(begin) for _ in range(2)])
    assert len(computed) == 1
    assert np.array_equal(one, two)


def test_grids_that_do_not_fit_the_disk_are_refused_before_they_are_computed(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped over a full disk, writing them would end the process by SIGBUS."""
    usage = shutil.disk_usage(prepared.folder)
    monkeypatch.setattr(grid_cache.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(ValueError, match=r"take [\d,]+ bytes, 10 are free.*captioner clear-grids"):
        cached_grids(network.encoder, prepared, CPU)
    monkeypatch.undo()

    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)  # another process was faster
    with pytest.raises(ValueError, match="captioner clear-grids"):
        cached_grids(network.encoder, prepared, CPU)
    assert not list(prepared.folder.glob("grids-*.n*"))


def test_the_room_for_grids_is_taken_first(
    prepared: Prepared, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved: list[bool] = []
    encoded = features._encoded

    def watched(*arguments: Any) -> np.ndarray:
        for path in prepared.folder.glob("grids-*.new"):
            status = path.stat()
            reserved.append(status.st_blocks * 512 >= status.st_size)
        return encoded(*arguments)

    monkeypatch.setattr(features, "_encoded", watched)
    cached_grids(network.encoder, prepared, CPU)
    assert reserved
    assert all(reserved)


def test_grids_that_no_checkpoint_uses_are_cleared(
    prepared: Prepared, network: ShowAttendTell, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    gone, run = tmp_path / "gone", tmp_path / "gone.run"
    run.mkdir()
    (run / "state-0-0001-000001.pt").touch()
    for users in ([gone, run], [tiny_checkpoint], []):
        cached_grids(network.encoder, prepared, CPU, users)
        with torch.no_grad():
            network.encoder.backbone.conv_stem.weight.mul_(1.5)
    cached_grids(network.encoder, prepared, CPU, [gone])  # of another encoder

    def left() -> list[tuple[Path, ...]]:
        caches = [grid_cache.GridCache.read(path) for path in prepared.folder.glob("grids-*.npy")]
        return sorted(cache.users for cache in caches)

    assert len(left()) == 4
    lines = list(grid_cache.clear(prepared.folder))
    assert [line.split()[0] for line in lines].count("deleted") == 1  # resuming needs the first
    (run / "state-0-0001-000001.pt").unlink()
    (prepared.folder / "grids-0123456789abcdef.new").touch()  # of a training that was killed
    lines = list(grid_cache.clear(prepared.folder))
    assert [line.split()[0] for line in lines].count("deleted") == 2
    assert any(str(tiny_checkpoint) in line and "test_efficientnet" in line for line in lines)
    assert left() == sorted([(tiny_checkpoint,), ()])
    list(grid_cache.clear(prepared.folder, everything=True))
    assert not list(prepared.folder.glob("grids-*.[!l]*"))


def test_grids_that_are_being_computed_stay(prepared: Prepared) -> None:
    path = prepared.folder / "grids-0123456789abcdef.new"
    path.touch()
    with grid_cache.lock(path, wait=True):
        first, _ = grid_cache.clear(prepared.folder, everything=True)
    assert "is being computed" in first
    assert path.exists()


def fit(
    network: ShowAttendTell,
    dataset: TrainingSet,
    epochs: int,
    device: torch.device,
    averaged: AveragedWeights | None = None,
    rate: float = 0.02,
) -> list[float]:
    step = CrossEntropyStep(network, CaptionLoss(alpha_c=0.0))
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, rate)
    losses = []
    for epoch in range(epochs):
        so_far = EpochSoFar()
        engine.train_one_epoch(
            step=step,
            batches=batches(dataset, 4, epoch),
            total=1,
            so_far=so_far,
            optimizer=optimizer,
            set_rates=lambda batch: None,
            averaged=averaged or AveragedWeights(network, 0.0),
            clip_norm=5.0,
            bf16=False,
            processes=Processes(0, 1, device),
            after_batch=lambda: None,
            what="test",
        )
        losses.append(so_far.figure / so_far.batches)
    return losses


@pytest.fixture
def spread_grids(prepared: Prepared, network: ShowAttendTell) -> np.ndarray:
    """A random encoder's features hardly differ between photos; here they do."""
    grids = np.array(cached_grids(network.encoder, prepared, CPU), dtype=np.float32)
    difference = grids - grids.mean(axis=0)
    spread: np.ndarray = (difference / difference.std()).astype(np.float16)
    return spread


def test_overfits_four_photos(
    config: ModelConfig,
    prepared: Prepared,
    spread_grids: np.ndarray,
    word_map: WordMap,
    device: torch.device,
) -> None:
    torch.manual_seed(0)
    network = ShowAttendTell(config).to(device)
    one_each = [texts[:1] for texts in prepared.captions]
    rows = prepared.splits["train"]
    dataset = TrainingSet(spread_grids, prepared.names, one_each, rows, word_map)
    frozen = {n: p.clone() for n, p in network.encoder.named_parameters()}
    losses = fit(network, dataset, 100, device)
    assert losses[0] > 2
    assert losses[-1] < 0.05
    assert all(torch.equal(p, frozen[n]) for n, p in network.encoder.named_parameters())
    captioner = Captioner(network, word_map)
    processes = Processes(0, 1, device)
    captions = caption_rows(captioner, spread_grids, rows, DecodingOptions(), processes)
    texts = [caption.text for caption in captions]
    assert score(texts, [one_each[row] for row in rows])["BLEU-3"] == pytest.approx(1.0, abs=1e-3)


def test_fine_tuning_moves_the_upper_stages_only(
    network: ShowAttendTell, prepared: Prepared, word_map: WordMap
) -> None:
    network.encoder.fine_tune()
    before = {n: t.clone() for n, t in network.encoder.state_dict().items()}
    fit(network, training_set(prepared, word_map), 1, CPU.device, rate=0.01)
    moved = {n for n, t in network.encoder.state_dict().items() if not torch.equal(t, before[n])}
    learning = {n for n, p in network.encoder.named_parameters() if p.requires_grad}
    assert moved
    assert moved <= learning  # no statistics of BatchNorm among them


def test_a_loss_that_is_not_finite_stops_before_the_step(
    network: ShowAttendTell, prepared: Prepared, spread_grids: np.ndarray, word_map: WordMap
) -> None:
    spread_grids[2] = np.inf
    before = {n: p.clone() for n, p in network.named_parameters()}
    with pytest.raises(ValueError, match=r"loss of batch 0 is nan.*blue_circle\.jpg"):
        fit(network, training_set(prepared, word_map, spread_grids), 1, CPU.device)
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())


def test_average_of_weights(
    network: ShowAttendTell, prepared: Prepared, spread_grids: np.ndarray, word_map: WordMap
) -> None:
    averaged = AveragedWeights(network, 0.5)
    dataset = training_set(prepared, word_map, spread_grids)
    history = []
    for _ in range(6):
        fit(network, dataset, 1, CPU.device, averaged, rate=0.001)
        history.append(network.decoder.fc.weight.detach().clone())
    wanted = history[0]
    for step, value in enumerate(history[1:], 1):
        d = min(0.5, (1 + step) / (10 + step))
        wanted = d * wanted + (1 - d) * value
    torch.testing.assert_close(averaged.network.decoder.fc.weight, wanted)
    assert AveragedWeights(network, 0.0).network is network


def test_learning_rate_over_a_stage() -> None:
    cosine = StageOptions(epochs=10, warm_up=1.0)
    assert rate_factor(cosine, 0.0, 0.1, 1.0) == pytest.approx(0.1)
    assert rate_factor(cosine, 0.9, 0.1, 1.0) == pytest.approx(1.0)
    assert rate_factor(cosine, 5.5, 0.1, 1.0) == pytest.approx(0.5)
    assert rate_factor(cosine, 10.0, 0.1, 1.0) == pytest.approx(0.0)
    decay = StageOptions(schedule="decay", warm_up=0.0)
    assert rate_factor(decay, 3.0, 0.1, 0.64) == 0.64
    assert rate_factor(StageOptions(schedule="constant", warm_up=0.0), 3.0, 0.1, 0.64) == 1.0


def lite(name: str) -> Encoder:
    return Encoder(ModelConfig(10, encoder=name, image_size=224, encoded_size=None))


def save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, path)
    else:
        torch.save(weights, path)


@pytest.mark.parametrize("name", ["timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite1"])
def test_weights_of_a_package_fill_the_encoder(name: str) -> None:
    encoder = lite(name)
    load_encoder_weights(encoder, "imagenet")
    stem = encoder.backbone.get_parameter("conv_stem.weight")
    assert stem.std() > 0.1  # trained, not initialised
    assert normalisation(name)["image_mean"] == (0.5, 0.5, 0.5)
    # The package's order is that of the network, which tells whether the names are right.
    given = list(encoder_weights._from_pip_package(name).values())
    wanted = encoder.backbone.state_dict()
    assert all(torch.equal(one, two) for one, two in zip(wanted.values(), given, strict=False))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_found_by_name_whatever_their_order(suffix: str, tmp_path: Path) -> None:
    """safetensors sorts them; a head, a prefix or a counter less changes nothing."""
    name = "timm/tf_efficientnet_lite0"
    encoder, path = lite(name), tmp_path / f"weights{suffix}"
    weights = encoder.backbone.state_dict()
    kept = {n: t for n, t in weights.items() if not n.endswith("num_batches_tracked")}
    prefixed = {f"encoder.backbone.{n}": t for n, t in reversed(kept.items())}
    of_package = encoder_weights._from_pip_package(name)
    load_encoder_weights(encoder, "imagenet")
    trained = encoder.backbone.state_dict()
    for given, wanted in (
        (dict(reversed(trained.items())) | {"classifier.bias": torch.zeros(3)}, trained),
        (prefixed, weights),
        (of_package, trained),
    ):
        save_weights(given, path)
        other = lite(name)
        load_encoder_weights(other, str(path))
        for key, value in other.backbone.state_dict().items():
            assert torch.equal(value, wanted[key])


def test_weights_that_do_not_fit_name_the_first_tensor(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    weights = torchvision.models.resnet18(weights=None).state_dict()
    resnet = Encoder(ModelConfig(10, encoder="resnet18"))
    for change, message in (
        ({"layer1.0.conv1.weight": torch.zeros(2, 3)}, r"layer1\.0\.conv1\.weight is of shape \(2"),
        ({"bn1.bias": 3}, r"bn1\.bias is no tensor"),
    ):
        torch.save(weights | change, path)
        with pytest.raises(ValueError, match=f"not fit the encoder resnet18: {message}"):
            load_encoder_weights(resnet, str(path))
    del weights["layer2.1.bn2.weight"]
    torch.save(weights, path)
    with pytest.raises(ValueError, match=r"resnet18: they lack layer2\.1\.bn2\.weight"):
        load_encoder_weights(resnet, str(path))
    # Of two tensors of one shape each is where its name says, not where it stands.
    torch.save(lite("timm/tf_efficientnet_lite0").backbone.state_dict(), path)
    with pytest.raises(ValueError, match="do not fit the encoder resnet18: they lack"):
        load_encoder_weights(resnet, str(path))
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="cannot be read: it holds no state dict"):
        load_encoder_weights(resnet, str(path))
    with pytest.raises(ValueError, match=r"nowhere\.pth cannot be read"):
        load_encoder_weights(resnet, str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize("encoder", ["resnet101", "timm/resnet10t"])
def test_what_is_fetched_is_said_before_and_what_is_at_hand_offered(
    encoder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        assert f"{encoder}: fetching its ImageNet weights" in caplog.text
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    with caplog.at_level("INFO"), pytest.raises(ValueError, match="no route to host") as error:
        encoder_weights._downloaded(encoder)
    assert "--network.encoder_weights PATH" in str(error.value)
    assert "--network.encoder timm/tf_efficientnet_lite1" in str(error.value)
    if encoder == "resnet101":
        assert "MB, from https://download.pytorch.org/models/resnet101" in caplog.text


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_weights_fit_without_their_head(suffix: str, tmp_path: Path) -> None:
    source, path = torchvision.models.resnet18(weights=None), tmp_path / f"resnet18{suffix}"
    save_weights(source.state_dict(), path)
    encoder = Encoder(ModelConfig(10, encoder="resnet18"))
    load_encoder_weights(encoder, str(path))
    assert torch.equal(encoder.backbone.get_parameter("0.weight"), source.conv1.weight)
    assert torch.equal(
        encoder.backbone.get_parameter("7.1.conv2.weight"), source.layer4[1].conv2.weight
    )
