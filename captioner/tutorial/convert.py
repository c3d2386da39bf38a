"""Converts a checkpoint of the PyTorch image-captioning tutorial into a checkpoint folder.

The tutorial is https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning. Its decoder's
parameters have the names of ours; its encoder's ``resnet`` is our ``backbone``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from captioner.tutorial.reader import TutorialCheckpoint, read_checkpoint
from captioner.tutorial.records import InvalidTutorialCheckpoint
from model import checkpoint
from model.config import ModelConfig
from model.network import ShowAttendTell
from model.word_map import WordMap

IMAGE_SIZE = 256  # to which the tutorial resizes every photo
# Defaults of the tutorial's modules, which its state dicts do not hold.
DEFAULT_ENCODED_SIZE, DEFAULT_DROPOUT = 14, 0.5
# Names by the last convolution of a block and the number of blocks in each of the four stages.
RESNETS: dict[tuple[str, tuple[int, ...]], str] = {
    ("conv2", (2, 2, 2, 2)): "resnet18",
    ("conv2", (3, 4, 6, 3)): "resnet34",
    ("conv3", (3, 4, 6, 3)): "resnet50",
    ("conv3", (3, 4, 23, 3)): "resnet101",
    ("conv3", (3, 8, 36, 3)): "resnet152",
}


def import_tutorial(weights: Path, word_map: Path, out: Path, overwrite: bool = False) -> None:
    """Convert a checkpoint of the tutorial, without running anything in it.

    Parameters
    ----------
    weights
        ``BEST_checkpoint_*.pth.tar``, in either format of ``torch.save``; its ``encoder`` and
        ``decoder`` are modules or their state dicts.
    word_map
        ``WORDMAP_*.json`` of the same training.
    out
        The checkpoint folder to write whole or not at all.
    overwrite
        Replace a checkpoint that is there.

    Raises
    ------
    ValueError
        A file holds something that is not the tutorial's, is damaged or does not fit the other
        (the message names it), or ``out`` may not be written.
    """
    checkpoint.check_new(out, overwrite)
    _check_order(weights, word_map)
    words = WordMap.load(word_map)
    try:
        with open(weights, "rb") as file:
            given = read_checkpoint(file)
        network = _network(given)
    except InvalidTutorialCheckpoint as error:
        raise ValueError(f"{weights} {error}") from error
    if len(words) != network.config.vocabulary_size:
        raise ValueError(
            f"{word_map} has {len(words)} words, but the decoder in {weights}"
            f" {network.config.vocabulary_size}; give the word map of the same training"
        )
    try:
        checkpoint.save(out, network, words, _card(weights, word_map, out, network, given))
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error


def _check_order(weights: Path, word_map: Path) -> None:
    """Raise `ValueError` if the word map is what torch.save writes: a zip file or a pickle."""
    with open(weights, "rb"), open(word_map, "rb") as file:
        if file.read(2) in (b"PK", b"\x80\x02"):
            raise ValueError(
                f"{word_map} is a file of torch.save, not a word map; give the weights"
                " (BEST_checkpoint_*.pth.tar) first, then WORDMAP_*.json"
            )


def resnet_name(names: Iterable[str]) -> str:
    """Return the ResNet that has parameters of these names, as ``resnet.4.0.conv1.weight``."""
    pattern = re.compile(r"resnet\.([4-7])\.(\d+)\.(conv\d)\.weight")
    found = [match.groups() for match in map(pattern.fullmatch, names) if match]
    blocks = tuple(len({b for s, b, _ in found if s == stage}) for stage in "4567")
    last = max((convolution for *_, convolution in found), default="")
    if (last, blocks) not in RESNETS:
        raise InvalidTutorialCheckpoint(
            f"has an encoder that is none of {', '.join(RESNETS.values())}"
        )
    return RESNETS[last, blocks]


def _network(given: TutorialCheckpoint) -> ShowAttendTell:
    """Make the network; refuse weights whose names, shapes or values do not fit it."""
    config = _config(given)
    weights = {f"decoder.{name}": tensor for name, tensor in given.decoder.items()}
    for name, tensor in given.encoder.items():
        weights["encoder." + re.sub(r"^resnet\.", "backbone.", name)] = tensor
    with torch.device("meta"):  # for the shapes; nothing is allocated or initialised
        network = ShowAttendTell(config)
    expected = network.state_dict()
    for name in expected:
        if name.endswith(".num_batches_tracked"):  # torch 0.4.0 had none, and inference needs none
            weights.setdefault(name, torch.tensor(0))
    if faults := checkpoint.weight_faults(weights, expected):
        raise InvalidTutorialCheckpoint(
            f"does not fit the tutorial's modules on a {config.encoder}: it {faults}"
        )
    network.load_state_dict(weights, assign=True)
    return network


def _config(given: TutorialCheckpoint) -> ModelConfig:
    """Return the configuration that the tensors' shapes imply."""

    def shape(name: str) -> torch.Size:
        if name not in given.decoder or given.decoder[name].ndim != 2:
            raise InvalidTutorialCheckpoint(f"lacks the matrix decoder.{name}")
        return given.decoder[name].shape

    encoder = resnet_name(given.encoder)
    vocabulary_size, embedding_size = shape("embedding.weight")
    attention_size, hidden_size = shape("attention.decoder_att.weight")
    encoded_size = DEFAULT_ENCODED_SIZE if given.encoded_size is None else given.encoded_size
    if type(encoded_size) is int and encoded_size > IMAGE_SIZE:
        raise InvalidTutorialCheckpoint(
            f"has an enc_image_size above the {IMAGE_SIZE} pixels of a photo"
        )
    try:
        return ModelConfig(
            vocabulary_size=vocabulary_size,
            encoder=encoder,
            image_size=IMAGE_SIZE,
            encoded_size=encoded_size,
            attention_size=attention_size,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            dropout=DEFAULT_DROPOUT if given.dropout is None else given.dropout,
        )
    except ValueError as error:
        raise InvalidTutorialCheckpoint(f"does not fit: {error}") from error


def _card(
    weights: Path, word_map: Path, out: Path, network: ShowAttendTell, given: TutorialCheckpoint
) -> str:
    """Write the model card, the checkpoint's README."""
    epoch, bleu4 = given.epoch, given.bleu4
    has_epoch = type(epoch) is int and 0 <= epoch < 1_000_000
    has_bleu4 = type(bleu4) in (int, float) and 0 <= bleu4 <= 1
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    return f"""# {out.name}

Show, Attend and Tell: writes a short caption for a photo. Converted from `{weights.name}` and
`{word_map.name}` of the PyTorch image-captioning tutorial
(https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning). Encoder
`{network.config.encoder}`, soft attention, LSTM decoder; {parameters:.1f} million parameters,
{network.config.vocabulary_size} words.

## Data

Unknown: the file does not say which photos and captions it was trained on, nor what their licence
allows. Ask the people who trained it before you use it for more than a trial.

## Figures

| epoch, from 0 | BLEU-4 as recorded |
|---|---|
| {epoch if has_epoch else "unknown"} | {f"{bleu4:.4f}" if has_bleu4 else "unknown"} |

The tutorial computes its BLEU-4 by teacher forcing: every word is guessed after the true words
before it. `captioner evaluate` scores the captions that the model writes by itself.

## Limits

It knows only what its training photos show and uses only the words of its word map. It guesses
counts, colours and who is a man or a woman, reads no text and knows no names. Do not use it to
describe the world to people who cannot see it.
"""
