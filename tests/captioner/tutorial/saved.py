"""The tutorial's modules, and files as the tutorial, or an attacker, would save them."""

from __future__ import annotations

import contextlib
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

PARTS = ("encoder", "decoder")
WORDS = ["<pad>", "a", "red", "blue", "circle", "square", "<unk>", "<start>", "<end>"]
SIZES = {"attention_dim": 6, "embed_dim": 5, "decoder_dim": 7, "vocab_size": len(WORDS)}

# The tutorial's modules: the same attributes, everything else as short as possible.


class Encoder(nn.Module):
    def __init__(self, encoded_image_size: int = 14) -> None:
        super().__init__()
        self.enc_image_size = encoded_image_size
        layers = list(torchvision.models.resnet18(weights=None).children())[:-2]
        self.resnet = nn.Sequential(*layers)
        self.adaptive_pool = nn.AdaptiveAvgPool2d((encoded_image_size, encoded_image_size))

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.adaptive_pool(self.resnet(photos)).permute(0, 2, 3, 1)


class Attention(nn.Module):
    def __init__(self, encoder_dim: int, decoder_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.encoder_att = nn.Linear(encoder_dim, attention_dim)
        self.decoder_att = nn.Linear(decoder_dim, attention_dim)
        self.full_att = nn.Linear(attention_dim, 1)
        self.relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, grid: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        joint = self.encoder_att(grid) + self.decoder_att(h).unsqueeze(1)
        alpha = self.softmax(self.full_att(self.relu(joint)).squeeze(2))
        return (grid * alpha.unsqueeze(2)).sum(dim=1)


class DecoderWithAttention(nn.Module):
    def __init__(
        self,
        attention_dim: int,
        embed_dim: int,
        decoder_dim: int,
        vocab_size: int,
        encoder_dim: int = 512,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.encoder_dim, self.attention_dim, self.embed_dim = encoder_dim, attention_dim, embed_dim
        self.decoder_dim, self.vocab_size, self.decoder_layers = decoder_dim, vocab_size, 1
        self.attention = Attention(encoder_dim, decoder_dim, attention_dim)
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.dropout = nn.Dropout(p=dropout)
        self.decode_step = nn.LSTMCell(embed_dim + encoder_dim, decoder_dim, bias=True)
        self.init_h = nn.Linear(encoder_dim, decoder_dim)
        self.init_c = nn.Linear(encoder_dim, decoder_dim)
        self.f_beta = nn.Linear(decoder_dim, encoder_dim)
        self.sigmoid = nn.Sigmoid()
        self.fc = nn.Linear(decoder_dim, vocab_size)

    def forward(self, grid: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return the scores after each of the words (B, T), shape = (B, T, V)."""
        grid = grid.flatten(1, 2)
        h, c = self.init_h(grid.mean(dim=1)), self.init_c(grid.mean(dim=1))
        scores = []
        for word in words.unbind(dim=1):
            attended = self.sigmoid(self.f_beta(h)) * self.attention(grid, h)
            h, c = self.decode_step(torch.cat([self.embedding(word), attended], dim=1), (h, c))
            scores.append(self.fc(self.dropout(h)))
        return torch.stack(scores, dim=1)


def _get_thnn_function_backend() -> None:
    """Stands for the object that modules of torch 0.4 have at ``_backend``."""


MODULES: dict[str, list[Any]] = {
    "models": [Encoder, Attention, DecoderWithAttention],
    "torch.nn.backends.thnn": [_get_thnn_function_backend],
}
for _module, _members in MODULES.items():
    for _member in _members:
        _member.__module__ = _module


@contextlib.contextmanager
def tutorial_importable() -> Iterator[None]:
    """Let pickle find the tutorial's modules by the names that they have there."""
    for name, members in MODULES.items():
        module = types.ModuleType(name)
        module.__file__ = __file__  # the old format saves the source as well
        vars(module).update({member.__name__: member for member in members})
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in MODULES:
            del sys.modules[name]


def save(content: Any, path: Path, legacy: bool = False) -> Path:
    """Save as the tutorial does, in the zip format or in the format from before it."""
    with tutorial_importable():
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


class Call:
    """Pickles as a call of a function, which unpickling would make."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def zipped(path: Path, program: bytes, *others: str, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a checkpoint in the zip format whose pickle is the given bytes."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in [("data.pkl", program), *((other, b"") for other in others)]:
            archive.writestr(f"archive/{name}", data)
    return path
