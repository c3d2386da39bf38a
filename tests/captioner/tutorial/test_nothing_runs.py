"""Nothing in a checkpoint runs: calls in it are refused, wherever they stand."""

from __future__ import annotations

import builtins
import copy
import functools
import importlib
import operator
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from captioner.tutorial.convert import import_tutorial
from captioner.tutorial.reader import LEGACY_MAGIC, LEGACY_PROTOCOL
from tests.captioner.tutorial.saved import Attention, Call, save, zipped

TOUCH = [sys.executable, "-c", "open('ran', 'w')"]
CALLS = {  # by the names that pickle's second protocol gives them
    f"{os.name}.system": Call(os.system, "touch ran"),
    "__builtin__.eval": Call(builtins.eval, "open('ran', 'w')"),
    "__builtin__.exec": Call(builtins.exec, "open('ran', 'w')"),
    "__builtin__.getattr": Call(getattr, "", "join"),
    "functools.partial": Call(functools.partial, print, "ran"),
    "commands.check_call": Call(subprocess.check_call, TOUCH),
    "importlib.import_module": Call(importlib.import_module, "this"),
    "operator.attrgetter": Call(operator.attrgetter, "system"),
    "pickle.loads": Call(pickle.loads, pickle.dumps(0)),
    "torch.hub.load": Call(torch.hub.load, "owner/repository", "model"),
    "torch.serialization.load": Call(torch.load, "ran"),
    "torch.storage._load_from_bytes": Call(torch.storage._load_from_bytes, b""),
    "torch.utils.collect_env.run": Call(
        importlib.import_module("torch.utils.collect_env").run, "touch ran"
    ),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_refused(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = save(CALLS[name], tmp_path / "BEST.pth.tar", legacy)
    message = refused(weights)
    assert f"holds an object of class {name}, which is not one of the tutorial's" in message
    assert "it was not loaded" in message


def test_torch_load_would_make_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.load(save(Call(os.system, "touch ran"), tmp_path / "w.pth"), weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["key", "attribute", "parameter", "state dict", "optimizer"])
def test_calls_are_refused_wherever_they_are(
    content, refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    call = Call(os.system, "touch ran")
    attention, optimizer = Attention(3, 4, 5), copy.copy(content["decoder_optimizer"])
    if place == "attribute":
        attention.relu.note = call
    elif place == "parameter":
        attention.encoder_att._parameters["weight"] = call
    elif place == "optimizer":
        optimizer.param_groups = [{"lr": call}]
    saved = {
        "encoder": {"resnet.0.weight": call} if place == "state dict" else {},
        "decoder": attention,
        "decoder_optimizer": optimizer,
        "note": call if place == "key" else "",
    }
    weights = save(saved, tmp_path / "BEST.pth.tar", legacy)
    assert f"class {os.name}.system, which" in refused(weights)


@pytest.mark.parametrize("position", range(5))
def test_calls_are_refused_in_every_pickle_of_the_old_format(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    monkeypatch.chdir(tmp_path)
    pickles: list[Any] = [
        LEGACY_MAGIC,
        LEGACY_PROTOCOL,
        {"little_endian": sys.byteorder == "little"},
        {},
        [],
    ]
    pickles[position] = Call(os.system, "touch ran")
    weights = tmp_path / "BEST.pth.tar"
    weights.write_bytes(b"".join(pickle.dumps(each, protocol=2) for each in pickles))
    assert f"class {os.name}.system, which" in refused(weights)


@pytest.mark.parametrize(
    "program",
    [
        b"(S'touch ran'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch ran'\no.",  # OBJ
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.",
        b"\x80\x02\x82\x01.",  # EXT1
        b"cmodels\nEncoder\n(N}S'__setstate__'\ncos\nsystem\nstb.",  # BUILD on a class
        b"\x80\x04\x8c\x05torch\x8c\x14nn.modules.os.system\x93.",
        b"c\x1b[2J\nsystem\n.",
    ],
)
def test_hand_written_pickles_are_refused(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "\x1b" not in refused(zipped(tmp_path / "BEST.pth.tar", program))


@pytest.mark.parametrize(
    "program",
    [
        # Modules reach others through their imports: torch.nn.modules.module.os.system, say.
        b"ctorch.nn.modules.module\nfunctools\nS'touch ran'\n\x85R.",
        b"ctorch.optim.optimizer\nwarnings\n(NN}S'a'\nI1\nst\x81.",
        b"cmodels\nEncoder\n(N}S'name'\ncmodels\nAttention\nstb.",
        b"cmodels\nEncoder\n)\x81}S'_modules'\n}S'a'\nI1\nssb.",
        b"cposix\nEncoder\nS'touch ran'\n\x85R.",
    ],
)
def test_known_names_do_nothing(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text("open('ran', 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    refused(zipped(tmp_path / "BEST.pth.tar", program))
    assert "models" not in sys.modules


def test_modules_on_the_path_are_not_imported(
    content, wordmap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = save(content, tmp_path / "BEST.pth.tar")
    (tmp_path / "models.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_tutorial(weights, wordmap, tmp_path / "out")
    assert "models" not in sys.modules
