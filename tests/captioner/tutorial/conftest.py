"""Checkpoints of the tutorial, tiny and random, and files that must be refused."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from captioner.tutorial.convert import import_tutorial
from tests.captioner.tutorial.saved import PARTS, SIZES, WORDS, DecoderWithAttention, Encoder


@pytest.fixture(scope="module")
def modules() -> tuple[Encoder, DecoderWithAttention]:
    """Random modules, with random statistics, whose scores are far enough apart to rank words."""
    torch.manual_seed(3)
    encoder, decoder = Encoder(), DecoderWithAttention(**SIZES)
    with torch.no_grad():
        for layer in encoder.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.5, 1.5)
        decoder.fc.weight.mul_(10)
        decoder.embedding.weight.mul_(3)
    return encoder.eval(), decoder.eval()


@pytest.fixture(scope="module")
def content(modules: tuple[Encoder, DecoderWithAttention]) -> dict[str, Any]:
    """The dict that the tutorial saves."""
    encoder, decoder = modules
    optimizer = torch.optim.Adam(decoder.parameters(), lr=4e-4)
    copied = copy.deepcopy(decoder)
    copied(torch.ones(1, 2, 2, 512), torch.ones(1, 2, dtype=torch.long)).sum().backward()
    for parameter, other in zip(decoder.parameters(), copied.parameters(), strict=True):
        optimizer.state[parameter] = {"step": 1, "exp_avg": other.grad}
    return {
        "epoch": 11,
        "epochs_since_improvement": 0,
        "bleu-4": 0.2413,
        "encoder": encoder,
        "decoder": decoder,
        "encoder_optimizer": None,
        "decoder_optimizer": optimizer,
    }


@pytest.fixture
def state_dicts(modules: tuple[Encoder, DecoderWithAttention]) -> dict[str, dict[str, Any]]:
    return {part: dict(m.state_dict()) for part, m in zip(PARTS, modules, strict=True)}


@pytest.fixture(autouse=True)
def emptied(tmp_path: Path) -> Iterator[None]:
    """Delete what a test saved: a ResNet is 45 MB."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture
def wordmap(tmp_path: Path) -> Path:
    path = tmp_path / "WORDMAP_tiny.json"
    path.write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    return path


@pytest.fixture
def refused(tmp_path: Path, wordmap: Path) -> Callable[[Path], str]:
    """Return a function that imports an invalid file, and returns the error; nothing is written."""

    def attempt(weights: Path) -> str:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the callers look at the message
            import_tutorial(weights, wordmap, tmp_path / "out")
        assert sorted(tmp_path.iterdir()) == before
        assert str(error.value).startswith(str(weights))
        return str(error.value)

    return attempt
