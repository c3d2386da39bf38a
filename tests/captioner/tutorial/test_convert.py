"""Converted checkpoints give the scores of the tutorial's own modules."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from captioner.tutorial.convert import import_tutorial, resnet_name
from model import Captioner, DecodingOptions, image
from tests.captioner.tutorial.saved import (
    WORDS,
    Call,
    DecoderWithAttention,
    Encoder,
    _get_thnn_function_backend,
    save,
)


def assert_same_captioner(
    out: Path, modules: tuple[Encoder, DecoderWithAttention], photo: bytes
) -> None:
    """The tutorial's own step on its matrices in half precision gives the imported one's scores."""
    encoder, decoder = copy.deepcopy(modules)
    for tensor in (*encoder.parameters(), *decoder.parameters()):
        if tensor.ndim > 1:
            tensor.data = tensor.half().float()
    captioner = Captioner.load(out, precision="float32")
    pixels = image.decode(photo, 256).unsqueeze(0)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    words = torch.tensor([[7, 1, 2, 4, 6, 8]])
    with torch.inference_mode():
        normalised = (pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        wanted = decoder(encoder(normalised), words)
        network = captioner.network
        grid = network.encoder(pixels)
        memory, state = network.decoder.memory(grid), network.decoder.init_state(grid)
        for t in range(words.shape[1]):
            state, _ = network.decoder.step(words[:, t : t + 1], state, memory)
            scores = network.decoder.scores(state.hidden)[:, 0]
            torch.testing.assert_close(scores, wanted[:, t], atol=1e-4, rtol=1e-4)
    (captions,) = captioner.caption([photo], DecodingOptions(beam_size=2, max_length=5))
    assert captions[0].attention.shape[1:] == (14, 14)


@pytest.mark.parametrize("legacy", [False, True])
def test_modules(content, modules, wordmap: Path, tmp_path: Path, legacy: bool, render) -> None:
    weights = save(content, tmp_path / "BEST_tiny.pth.tar", legacy)
    import_tutorial(weights, wordmap, tmp_path / "out")
    assert_same_captioner(tmp_path / "out", modules, render())
    captioner = Captioner.load(tmp_path / "out")
    assert captioner.word_map.words == WORDS
    config = captioner.network.config
    assert (config.encoder, config.image_size, config.encoded_size) == ("resnet18", 256, 14)
    assert (config.attention_size, config.embedding_size, config.hidden_size) == (6, 5, 7)
    assert config.dropout == 0.3
    card = (tmp_path / "out" / "README.md").read_text()
    for said in ("BEST_tiny.pth.tar", "WORDMAP_tiny.json", "| 11 | 0.2413 |", "teacher forcing"):
        assert said in card


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts(
    state_dicts, modules, wordmap: Path, tmp_path: Path, legacy: bool, prefix: str, render
) -> None:
    saved = {
        part: {prefix + name: tensor for name, tensor in state_dict.items()}
        for part, state_dict in state_dicts.items()
    }
    weights = save(saved, tmp_path / "weights.pth", legacy)
    import_tutorial(weights, wordmap, tmp_path / "out")
    assert_same_captioner(tmp_path / "out", modules, render())
    assert Captioner.load(tmp_path / "out").network.config.dropout == 0.5
    assert "| unknown | unknown |" in (tmp_path / "out" / "README.md").read_text()


def test_older_and_data_parallel_checkpoints(
    content, modules, wordmap: Path, tmp_path: Path, render
) -> None:
    encoder, decoder = copy.deepcopy(modules)
    for layer in encoder.modules():
        layer._backend = Call(_get_thnn_function_backend)
        layer._buffers.pop("num_batches_tracked", None)
    encoder.enc_image_size = 14
    wrapped = {"encoder": nn.DataParallel(encoder), "decoder": decoder, "bleu-4": np.float64(0.2)}
    weights = save(content | wrapped, tmp_path / "BEST.pth.tar", legacy=True)
    # As if saved on a graphics card: there each storage's class was another.
    weights.write_bytes(
        weights.read_bytes().replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    )
    import_tutorial(weights, wordmap, tmp_path / "out")
    assert_same_captioner(tmp_path / "out", modules, render())
    assert "| 11 | unknown |" in (tmp_path / "out" / "README.md").read_text()


def test_size_of_the_grid(content, wordmap: Path, tmp_path: Path) -> None:
    encoder = copy.deepcopy(content["encoder"])
    encoder.enc_image_size = 9
    weights = save(content | {"encoder": encoder}, tmp_path / "BEST.pth.tar")
    import_tutorial(weights, wordmap, tmp_path / "out")
    assert Captioner.load(tmp_path / "out").network.config.encoded_size == 9


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_encoder_is_recognised(name: str) -> None:
    with torch.device("meta"):
        resnet = torchvision.models.get_model(name, weights=None)
    state_dict = nn.Sequential(*list(resnet.children())[:-2]).state_dict()
    assert resnet_name(f"resnet.{key}" for key in state_dict) == name


def test_other_folders_are_not_replaced(state_dicts, wordmap: Path, tmp_path: Path) -> None:
    weights, out = save(state_dicts, tmp_path / "w.pth"), tmp_path / "out"
    import_tutorial(weights, wordmap, out)
    (out / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="out holds a checkpoint already; add --overwrite"):
        import_tutorial(weights, wordmap, out)
    assert (out / "README.md").read_text() == "mine"
    import_tutorial(weights, wordmap, out, overwrite=True)
    assert (out / "README.md").read_text() != "mine"
    (out / "config.json").unlink()
    with pytest.raises(ValueError, match="out holds something other than a checkpoint; choose"):
        import_tutorial(weights, wordmap, out, overwrite=True)
    assert (out / "model.safetensors").is_file()
