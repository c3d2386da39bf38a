"""Batches, engine and the whole of `train` on four rendered photos."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torchvision

from model import Captioner, DecodingOptions
from model.config import ModelConfig
from model.encoder import Encoder
from model.network import ShowAttendTell
from model.word_map import WordMap
from training import datasets, engine
from training.averaging import AveragedWeights
from training.batches import EncodedSplit, TrainingBatches, decoded_batches, encode_split
from training.config import TrainingConfig
from training.datasets import InvalidDataset
from training.encoder_weights import load_encoder_weights, normalisation
from training.losses import CaptionLoss
from training.train import train, warm_up_and_cosine


@pytest.fixture
def encoded(dataset: Path, network: ShowAttendTell) -> EncodedSplit:
    examples = datasets.of_split(datasets.read(dataset), "train")
    return encode_split(network.encoder, examples, 96, torch.device("cpu"))


def test_every_photo_is_encoded_once_in_order(
    dataset: Path, network: ShowAttendTell, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = network.encoder.forward
    monkeypatch.setattr(
        network.encoder, "forward", lambda photos: seen.append(len(photos)) or forward(photos)
    )
    monkeypatch.setattr("training.batches.ENCODING_BATCH", 3)
    examples = datasets.of_split(datasets.read(dataset), "train")
    split = encode_split(network.encoder, examples, 96, torch.device("cpu"))
    assert sum(seen) == len(examples) == len(split)
    paths = [e.path for e in examples]
    one_by_one = torch.cat([forward(p) for p in decoded_batches(paths, 96, batch_size=1)])
    torch.testing.assert_close(split.grids.float(), one_by_one, atol=2e-3, rtol=2e-3)


def test_a_damaged_photo_is_named(dataset: Path) -> None:
    path = dataset / "Images" / "red_circle.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InvalidDataset, match=r"red_circle\.jpg: .*damaged|not an image"):
        list(decoded_batches([path], 32))


def test_a_photo_travels_once_with_all_of_its_captions(
    encoded: EncodedSplit, word_map: WordMap
) -> None:
    batches = TrainingBatches(encoded, word_map, batch_size=3)
    assert len(batches) == 2
    drawn = list(batches.epoch(torch.Generator().manual_seed(0)))
    assert [len(b.grid) for b in drawn] == [3, 1]
    texts = []
    for batch in drawn:
        assert batch.image_of.tolist() == [i for i in range(len(batch.grid)) for _ in range(2)]
        for ids, length, row in zip(batch.captions, batch.lengths, batch.image_of, strict=True):
            assert ids[0] == word_map.start
            assert ids[length - 1] == word_map.end
            assert (ids[length:] == word_map.pad).all()
            grids = encoded.grids.float()
            (photo,) = (i for i in range(4) if torch.equal(grids[i], batch.grid[row]))
            text = word_map.decode(ids.tolist())
            assert text in [c.lower().removesuffix(" .") for c in encoded.captions[photo]]
            texts.append(text)
    assert len(set(texts)) == 8


def test_order_is_the_generators(encoded: EncodedSplit, word_map: WordMap) -> None:
    batches = TrainingBatches(encoded, word_map, batch_size=4)

    def order(seed: int) -> list[int]:
        (batch,) = batches.epoch(torch.Generator().manual_seed(seed))
        return batch.captions.flatten().tolist()

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_long_captions_are_left_out(encoded: EncodedSplit, word_map: WordMap) -> None:
    batches = TrainingBatches(encoded, word_map, batch_size=4, max_words=2)
    (batch,) = batches.epoch(torch.Generator())
    assert batch.lengths.tolist() == [4, 4, 4, 4]
    assert sorted(batch.image_of.tolist()) == [0, 1, 2, 3]


def fit(
    network: ShowAttendTell,
    split: EncodedSplit,
    word_map: WordMap,
    epochs: int,
    device: torch.device,
    averaged: AveragedWeights | None = None,
    rate: float = 0.02,
) -> list[float]:
    batches = TrainingBatches(split, word_map, batch_size=4)
    optimizer = torch.optim.AdamW(network.decoder.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    generator = torch.Generator().manual_seed(0)
    return [
        engine.train_one_epoch(
            network=network,
            batches=batches.epoch(generator),
            total=len(batches),
            criterion=CaptionLoss(alpha_c=0.0),
            optimizer=optimizer,
            schedule=schedule,
            averaged=averaged or AveragedWeights(network, 0.0),
            clip_norm=5.0,
            device=device,
            bf16=False,
            what="test",
        )
        for _ in range(epochs)
    ]


def test_overfits_four_photos(
    config, dataset: Path, word_map: WordMap, device: torch.device
) -> None:
    torch.manual_seed(0)
    network = ShowAttendTell(config).to(device)
    examples = [
        dataclasses.replace(e, captions=e.captions[:1])
        for e in datasets.of_split(datasets.read(dataset), "train")
    ]
    split = encode_split(network.encoder, examples, config.image_size, device)
    # A random encoder's features hardly differ between photos; training is not to amplify them.
    grids = split.grids.float()
    spread = grids - grids.mean(dim=0)
    split = dataclasses.replace(split, grids=(spread / spread.std()).half())
    frozen = {n: p.clone() for n, p in network.encoder.named_parameters()}
    losses = fit(network, split, word_map, 100, device)
    assert losses[0] > 2
    assert losses[-1] < 0.05
    assert all(torch.equal(p, frozen[n]) for n, p in network.encoder.named_parameters())
    captioner = Captioner(network, word_map)
    scores = engine.evaluate(captioner, split, DecodingOptions(), device)
    assert scores["BLEU-3"] == pytest.approx(1.0, abs=1e-3)


def test_a_loss_that_is_not_finite_stops_before_the_step(
    network: ShowAttendTell, encoded: EncodedSplit, word_map: WordMap
) -> None:
    encoded.grids[2] = torch.inf
    before = {n: p.clone() for n, p in network.named_parameters()}
    with pytest.raises(ValueError, match="test: the loss of batch 0 is nan"):
        fit(network, encoded, word_map, 1, torch.device("cpu"))
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())


def test_average_of_weights(
    network: ShowAttendTell, encoded: EncodedSplit, word_map: WordMap
) -> None:
    averaged = AveragedWeights(network, 0.5)
    weight = network.decoder.fc.weight
    history = []
    for _ in range(6):
        fit(network, encoded, word_map, 1, torch.device("cpu"), averaged, rate=0.001)
        history.append(weight.detach().clone())
    wanted = history[0]
    for step, value in enumerate(history[1:], 1):
        d = min(0.5, (1 + step) / (10 + step))
        wanted = d * wanted + (1 - d) * value
    torch.testing.assert_close(averaged.network.decoder.fc.weight, wanted)
    assert AveragedWeights(network, 0.0).network is network


def test_warm_up_and_cosine() -> None:
    factor = warm_up_and_cosine(steps=100, warm_up=10)
    assert [factor(i) for i in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert factor(10) == 1.0
    assert factor(55) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0.0)


def test_weights_fill_the_encoder_in_order(tmp_path: Path) -> None:
    name = "timm/tf_efficientnet_lite0"
    encoder = Encoder(ModelConfig(10, encoder=name, image_size=224, encoded_size=None))
    load_encoder_weights(encoder, "imagenet")
    stem = encoder.backbone.conv_stem.weight
    assert stem.std() > 0.1  # trained, not initialised
    assert normalisation(name)["image_mean"] == (0.5, 0.5, 0.5)

    path = tmp_path / "weights.pth"
    torch.save(encoder.backbone.state_dict(), path)
    other = Encoder(ModelConfig(10, encoder=name, image_size=224, encoded_size=None))
    load_encoder_weights(other, str(path))
    for key, value in other.backbone.state_dict().items():
        assert torch.equal(value, encoder.backbone.state_dict()[key])

    resnet = Encoder(ModelConfig(10, encoder="resnet18"))
    with pytest.raises(ValueError, match="do not fit the encoder resnet18"):
        load_encoder_weights(resnet, str(path))
    with pytest.raises(ValueError, match=r"nowhere\.pth cannot be read"):
        load_encoder_weights(resnet, str(tmp_path / "nowhere.pth"))


def test_torchvision_weights_fit_without_their_head(tmp_path: Path) -> None:
    source = torchvision.models.resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    encoder = Encoder(ModelConfig(10, encoder="resnet18"))
    load_encoder_weights(encoder, str(tmp_path / "resnet18.pth"))
    assert torch.equal(encoder.backbone.get_parameter("0.weight"), source.conv1.weight)
    assert torch.equal(
        encoder.backbone.get_parameter("7.1.conv2.weight"), source.layer4[1].conv2.weight
    )


@pytest.fixture
def training(dataset: Path, tmp_path: Path) -> TrainingConfig:
    return TrainingConfig(
        data=dataset,
        out=tmp_path / "out" / "shapes",
        encoder="timm/test_efficientnet",
        encoder_weights="none",
        image_size=64,
        encoded_size=0,
        attention_size=8,
        embedding_size=8,
        hidden_size=8,
        minimum_count=1,
        epochs=2,
        device="cpu",
        precision="fp32",
        ema_decay=0.9,
        notice="Rendered shapes.",
    )


def test_train_writes_a_checkpoint_that_scores_what_it_says(
    training: TrainingConfig, dataset: Path
) -> None:
    scores = train(training)
    captioner = Captioner.load(training.out)
    examples = datasets.of_split(datasets.read(dataset), "val")
    assert engine.evaluate_photos(captioner, examples, DecodingOptions()) == pytest.approx(
        scores, abs=1e-3
    )
    card = (training.out / "README.md").read_text()
    assert f"{scores['CIDEr']:.4f}" in card
    assert "Rendered shapes." in card
    assert training.command() in card
    assert list(training.out.parent.iterdir()) == [training.out]


def test_two_trainings_are_the_same(training: TrainingConfig, tmp_path: Path) -> None:
    train(training)
    other = dataclasses.replace(training, out=tmp_path / "out" / "again")
    train(other)
    for name in ("model.safetensors", "word_map.json", "config.json"):
        assert (training.out / name).read_bytes() == (other.out / name).read_bytes()


def test_refuses_to_write_over_something_else(training: TrainingConfig) -> None:
    training.out.mkdir(parents=True)
    (training.out / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ValueError, match="something other than a checkpoint"):
        train(training)
    assert (training.out / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5"),
        ({"precision": "fp8"}, "precision is 'fp8'; allowed: auto, bf16, fp32"),
    ],
)
def test_configuration_says_what_is_allowed(
    training: TrainingConfig, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(training, **change)


def test_a_device_that_is_not_there(training: TrainingConfig) -> None:
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used here"):
        train(dataclasses.replace(training, device="cuda:99"))
