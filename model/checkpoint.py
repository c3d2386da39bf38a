"""A checkpoint: a folder with everything inference needs and nothing that runs code.

It holds ``model.safetensors`` (matrices in half precision), ``config.json``, ``word_map.json`` and,
for people, ``README.md``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from torch.overrides import TorchFunctionMode

from model.config import ModelConfig
from model.files import check_place, replace_folder, write_whole
from model.network import ShowAttendTell
from model.word_map import WordMap

WEIGHTS, CONFIG, WORD_MAP, CARD = "model.safetensors", "config.json", "word_map.json", "README.md"

PREPARED = "dataset.json"  # the mark of a folder of prepared photos, often given by mistake


class InvalidCheckpoint(ValueError):
    """The folder is no checkpoint, or its parts are damaged or do not fit together."""


def save(folder: str | Path, network: ShowAttendTell, word_map: WordMap, card: str) -> None:
    """Write a checkpoint folder whole or not at all; an existing checkpoint is replaced.

    Parameters
    ----------
    card
        The model card, in Markdown: training data, licence, figures.

    Raises
    ------
    ValueError
        The folder holds something else, the word map does not fit the network, or a weight does
        not fit half precision.
    """
    folder = Path(folder)
    check_writable(folder)
    if len(word_map) != network.config.vocabulary_size:
        raise ValueError(
            f"the word map has {len(word_map)} words, the network {network.config.vocabulary_size}"
        )
    weights = {name: _halved(name, tensor) for name, tensor in network.state_dict().items()}
    contents = {
        WEIGHTS: save_tensors(weights),
        CONFIG: (json.dumps(network.config.to_dict(), indent=2) + "\n").encode(),
        WORD_MAP: word_map.to_json().encode(),
        CARD: card.encode(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new.chmod(0o755)
        for name, content in contents.items():
            write_whole(new / name, content)
        replace_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def load(folder: str | Path, device: str | torch.device = "cpu") -> tuple[ShowAttendTell, WordMap]:
    """Load a network, in evaluation mode and float32, and its word map, without any download.

    Raises
    ------
    InvalidCheckpoint
        Names the file at fault and what is wrong with it.
    """
    folder = Path(folder)
    config = load_config(folder)
    try:
        word_map = WordMap.load(folder / WORD_MAP)
    except ValueError as error:
        raise InvalidCheckpoint(str(error)) from error
    if len(word_map) != config.vocabulary_size:
        raise InvalidCheckpoint(
            f"{folder / WORD_MAP} has {len(word_map)} words, but {CONFIG} and the weights"
            f" {config.vocabulary_size}; they come from different trainings"
        )
    try:
        with torch.device("meta"), _WithoutInitialisation():
            network = ShowAttendTell(config)
    except ValueError as error:
        raise InvalidCheckpoint(f"{folder / CONFIG}: {error}") from error
    weights = _read_weights(folder / WEIGHTS, network.state_dict())
    for name, tensor in weights.items():  # copied, because they are pages of the file
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        weights[name] = tensor.to(dtype, copy=True)
    network.load_state_dict(weights, assign=True)
    network.encoder.put_channels_last()
    return network.to(device).eval(), word_map


def load_config(folder: str | Path) -> ModelConfig:
    """Load the configuration of a checkpoint's network; raises `InvalidCheckpoint` as `load`."""
    folder = Path(folder)
    _check_complete(folder)
    try:
        return ModelConfig.from_dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InvalidCheckpoint(f"{folder / CONFIG}: {error}") from error


def digest(folder: str | Path | zipfile.Path) -> str:
    """Return the sha256 of weights, configuration and words, which identifies a captioner.

    Raises
    ------
    InvalidCheckpoint
        The folder, which may be the root of an archive, lacks one of those files.
    """
    folder = Path(folder) if isinstance(folder, str) else folder
    _check_complete(folder)
    sha256 = hashlib.sha256()
    for name in (WEIGHTS, CONFIG, WORD_MAP):
        content = (folder / name).read_bytes()
        sha256.update(f"{name} {len(content)}\n".encode() + content)
    return sha256.hexdigest()


def _check_complete(folder: Path | zipfile.Path) -> None:
    if missing := [n for n in (WEIGHTS, CONFIG, WORD_MAP) if not (folder / n).is_file()]:
        fault = f"it lacks {', '.join(missing)}"
        if folder.is_file():
            fault = "it is a file"
        elif (folder / PREPARED).is_file():
            fault = "it holds prepared photos, as --data takes them"
        raise InvalidCheckpoint(
            f"{folder} is no checkpoint folder: {fault}; 'captioner train' makes one"
        )


def check_writable(folder: Path) -> None:
    """Raise `ValueError` for a folder that `save` refuses, because it holds something else."""
    if not folder.exists() or (folder / CONFIG).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise ValueError(f"{folder} holds something other than a checkpoint; choose another folder")


def check_new(folder: Path, overwrite: bool = False) -> None:
    """Check, before any work, that a new checkpoint can be written; nothing is left behind.

    Raises
    ------
    ValueError
        The folder holds something other than a checkpoint, or a checkpoint and ``overwrite`` is not
        given, or no folder can be made there.
    """
    check_writable(folder)
    if (folder / CONFIG).is_file() and not overwrite:
        raise ValueError(
            f"{folder} holds a checkpoint already; add --overwrite to replace it, or choose"
            " another folder"
        )
    check_place(folder)


def is_same(folder: Path, other: Path) -> bool:
    """Whether both folders hold the same checkpoint; their model cards do not count."""
    try:
        return digest(folder) == digest(other)
    except InvalidCheckpoint:  # one of them holds none
        return False


def weight_faults(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> str:
    """Describe the first three faults of weights for a network; empty if they have none.

    Parameters
    ----------
    expected
        The network's ``state_dict``; only its names and shapes count.
    """
    faults = [f"lacks {name}" for name in expected.keys() - weights.keys()]
    faults += [f"has an unknown {name!r}" for name in weights.keys() - expected.keys()]
    for name in expected.keys() & weights.keys():
        shape, wanted = tuple(weights[name].shape), tuple(expected[name].shape)
        if shape != wanted:
            faults.append(f"has {name} of shape {shape}, not {wanted}")
        elif not weights[name].isfinite().all():
            faults.append(f"has values in {name} that are not finite")
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return "; ".join(sorted(faults)[:3]) + more


def with_more_words(
    network: ShowAttendTell, word_map: WordMap, more: WordMap
) -> tuple[ShowAttendTell, WordMap]:
    """Return the network with the words of ``more`` added, whose weights are random; on the CPU.

    Ids may change, see `WordMap.with_more`; the rows of old words move with them.
    """
    words = word_map.with_more(more)
    ids = {word: i for i, word in enumerate(words.words)}
    rows = torch.tensor([ids[word] for word in word_map.words])
    larger = ShowAttendTell(replace(network.config, vocabulary_size=len(words)))
    weights = larger.state_dict()
    for name, tensor in network.state_dict().items():
        if weights[name].shape == tensor.shape:
            weights[name] = tensor
        else:
            weights[name][rows] = tensor  # a row for every word
    larger.load_state_dict(weights)
    return larger, words


class _WithoutInitialisation(TorchFunctionMode):
    """A mode in which modules do not initialise their weights, which are replaced here anyway.

    On the device "meta" no numbers are drawn, but to find that out torch imports half its compiler.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__module__", None) == nn.init.__name__:
            return None  # modules do not read what it returns
        return function(*args, **(kwargs or {}))


def _halved(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return matrices in half precision; vectors, which are small and need range, as they are."""
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        raise ValueError(f"{name} holds values that are not finite in half precision")
    return half


def _read_weights(path: Path, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Read the tensors of a file and check that they are those of a network."""
    try:
        weights = load_tensors(path)
    except (SafetensorError, OSError) as error:
        raise InvalidCheckpoint(f"{path} is damaged: {error}") from error
    if faults := weight_faults(weights, expected):
        raise InvalidCheckpoint(f"{path} does not fit {CONFIG}: it {faults}")
    return weights
