from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from model import Captioner, DecodingOptions, checkpoint
from model.captioner import Caption
from model.inference import products
from model.inference.prepared import prepare, prepare_encoder
from model.network import ShowAttendTell
from model.word_map import WordMap

SHIPPED = Path(__file__).resolve().parents[3] / "checkpoints" / "flickr8k"


def make_photos(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return torch.nn.functional.interpolate(coarse, (size, size))


def check_same(found: list[list[Caption]], wanted: list[list[Caption]], error: float) -> None:
    for after, before in zip(found, wanted, strict=True):
        assert [c.words for c in after] == [c.words for c in before]
        for one, other in zip(after, before, strict=True):
            assert one.log_prob == pytest.approx(other.log_prob, abs=error)
            assert one.word_log_probs == pytest.approx(other.word_log_probs, abs=error)
            torch.testing.assert_close(one.attention, other.attention)


@pytest.mark.slow
@pytest.mark.parametrize("shipped", [False, True])
def test_a_prepared_network_writes_what_the_trained_one_writes(
    network: ShowAttendTell, word_map: WordMap, shipped: bool
) -> None:
    if shipped:
        network, word_map = checkpoint.load(SHIPPED)
    options, photos = DecodingOptions(5, 5), make_photos(network.config.image_size)
    trained = Captioner(network.double(), word_map)
    prepared = Captioner(prepare(network, torch.float64, torch.float64), word_map)
    check_same(
        prepared.caption_photos(photos, options), trained.caption_photos(photos, options), 1e-9
    )


def test_private_operators_and_torchs_own_write_the_same(
    network: ShowAttendTell, word_map: WordMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, options = make_photos(network.config.image_size), DecodingOptions(5, 5)
    for decoder in (torch.float32, torch.bfloat16):
        fast = Captioner(prepare(network, torch.float32, decoder), word_map)
        with monkeypatch.context() as patch:
            patch.setattr(products, "has_onednn", lambda weight: False)
            patch.setattr(products, "has_fbgemm", lambda weight: False)
            plain = Captioner(prepare(network, torch.float32, decoder), word_map)
        found, wanted = (c.caption_photos(photos, options) for c in (fast, plain))
        if decoder == torch.float32:
            check_same(found, wanted, 1e-4)
        assert [c[0].text for c in found] == [c[0].text for c in wanted]


def test_preparing_changes_nothing_of_the_trained_network(network: ShowAttendTell) -> None:
    network.encoder.fine_tune()
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    learning = [p.requires_grad for p in network.parameters()]
    for dtype in (torch.float32, torch.bfloat16):
        prepared = prepare(network, dtype, dtype)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert [module.training for module in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == learning
    assert not any(p.requires_grad for p in prepared.encoder.parameters())
    with torch.no_grad():  # training goes on in the trained network alone
        for parameter in network.parameters():
            parameter.zero_()
    assert all(p.any() for n, p in prepared.encoder.named_parameters() if n.endswith("weight"))


def test_a_loaded_captioner_does_not_keep_the_trained_network(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    load = checkpoint.load

    def remember(*arguments: object) -> tuple[ShowAttendTell, WordMap]:
        network, word_map = load(*arguments)
        kept.extend(weakref.ref(parameter) for parameter in network.parameters())
        return network, word_map

    monkeypatch.setattr(checkpoint, "load", remember)
    loaded = Captioner.load(tiny_checkpoint)
    gc.collect()
    assert loaded.network.config
    assert kept
    assert not [parameter for parameter in kept if parameter() is not None]


def test_a_size_that_is_no_multiple_of_32_is_not_folded(network: ShowAttendTell) -> None:
    network.encoder.image_size = 100
    photos = make_photos(100)
    with torch.inference_mode():
        prepared = prepare_encoder(network.encoder, torch.float32)
        torch.testing.assert_close(prepared(photos), network.encoder(photos))
    assert prepared.state_dict().keys() == network.encoder.state_dict().keys()
