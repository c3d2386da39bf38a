from __future__ import annotations

import builtins
import contextlib
import copy
import functools
import importlib
import io
import json
import operator
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from captioner.tutorial.checkpoint import MAGIC, PROTOCOL
from captioner.tutorial.convert import encoder_of, import_tutorial
from model import Captioner, DecodingOptions, image

PARTS = ("encoder", "decoder")
WORDS = ["<pad>", "a", "red", "blue", "circle", "square", "<unk>", "<start>", "<end>"]
SIZES = {"attention_dim": 6, "embed_dim": 5, "decoder_dim": 7, "vocab_size": len(WORDS)}

# The tutorial's modules: attributes as there, the rest as short as it can be.


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
        """Scores after each of the words (B, T), shape = (B, T, V)."""
        grid = grid.flatten(1, 2)
        h, c = self.init_h(grid.mean(dim=1)), self.init_c(grid.mean(dim=1))
        scores = []
        for word in words.unbind(dim=1):
            attended = self.sigmoid(self.f_beta(h)) * self.attention(grid, h)
            h, c = self.decode_step(torch.cat([self.embedding(word), attended], dim=1), (h, c))
            scores.append(self.fc(self.dropout(h)))
        return torch.stack(scores, dim=1)


def _get_thnn_function_backend() -> None:
    """Stands for what modules of torch 0.4 have at ``_backend``."""


MODULES: dict[str, list[Any]] = {
    "models": [Encoder, Attention, DecoderWithAttention],
    "torch.nn.backends.thnn": [_get_thnn_function_backend],
}
for _module, _members in MODULES.items():
    for _member in _members:
        _member.__module__ = _module


@contextlib.contextmanager
def tutorial_on_path() -> Iterator[None]:
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
    with tutorial_on_path():
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


class Call:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.fixture(scope="module")
def modules() -> tuple[Encoder, DecoderWithAttention]:
    """Random, statistics too, with scores far enough apart to tell words."""
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
    """What the tutorial saves."""
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
    """A ResNet is 45 MB, too much to leave behind by every test."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture
def wordmap(tmp_path: Path) -> Path:
    path = tmp_path / "WORDMAP_tiny.json"
    path.write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    return path


@pytest.fixture
def refused(tmp_path: Path, wordmap: Path) -> Callable[[Path], str]:
    """Imports what must be refused and gives the error; nothing may be written."""

    def attempt(weights: Path) -> str:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the callers look at the message
            import_tutorial(weights, wordmap, tmp_path / "out")
        assert sorted(tmp_path.iterdir()) == before
        assert str(error.value).startswith(str(weights))
        return str(error.value)

    return attempt


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


def test_what_older_and_wrapped_ones_have(
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
    assert encoder_of(f"resnet.{key}" for key in state_dict) == name


# Nothing in the file runs.

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


def test_torch_would_have_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    pickles: list[Any] = [MAGIC, PROTOCOL, {"little_endian": sys.byteorder == "little"}, {}, []]
    pickles[position] = Call(os.system, "touch ran")
    weights = tmp_path / "BEST.pth.tar"
    weights.write_bytes(b"".join(pickle.dumps(each, protocol=2) for each in pickles))
    assert f"class {os.name}.system, which" in refused(weights)


def zipped(path: Path, program: bytes, *others: str, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in [("data.pkl", program), *((other, b"") for other in others)]:
            archive.writestr(f"archive/{name}", data)
    return path


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


def test_modules_that_are_there_are_not_imported(
    content, wordmap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = save(content, tmp_path / "BEST.pth.tar")
    (tmp_path / "models.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_tutorial(weights, wordmap, tmp_path / "out")
    assert "models" not in sys.modules


# What is damaged or does not fit.


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("damage", ["empty", "head", "half", "tail", "garbage"])
def test_damage_is_named(state_dicts, refused, tmp_path: Path, damage: str, legacy: bool) -> None:
    weights = save({"decoder": state_dicts["decoder"], "encoder": {}}, tmp_path / "w.pth", legacy)
    whole = weights.read_bytes()
    cut = {"empty": 0, "head": 4, "half": len(whole) // 2, "tail": len(whole) - 90}
    weights.write_bytes(b"\x8b" * 5000 if damage == "garbage" else whole[: cut[damage]])
    assert "damaged" in refused(weights)


def test_other_archives_are_refused(refused, tmp_path: Path) -> None:
    pickled = pickle.dumps({}, protocol=2)
    assert "TorchScript" in refused(zipped(tmp_path / "a.pth", pickled, "constants.pkl"))
    assert "bytes in  order" in refused(zipped(tmp_path / "b.pth", pickled, "byteorder"))
    squeezed = zipped(tmp_path / "c.pth", pickled, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(squeezed)
    (tmp_path / "pickle").write_bytes(pickle.dumps(Call(os.system, "touch ran")))
    with tarfile.open(tmp_path / "d.pth.tar", "w") as archive:
        archive.add(tmp_path / "pickle")
    assert "damaged" in refused(tmp_path / "d.pth.tar")
    (tmp_path / "e.pth").write_bytes(pickled)
    assert "not written by torch.save" in refused(tmp_path / "e.pth")


class Reaching(pickle.Pickler):
    """Writes a storage of 4 numbers wherever it meets the text ``STORAGE``."""

    def persistent_id(self, thing: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if thing == "STORAGE" else None


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (-1, (2,), (1,)), (0, (2, 2), (9, 1)), (0, (99,), (0,))],
)
def test_tensors_stay_within_their_storage(
    refused, tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    buffer = io.BytesIO()
    tensor = Call(torch._utils._rebuild_tensor_v2, "STORAGE", offset, size, stride, False, {})
    Reaching(buffer, protocol=2).dump({"encoder": {"resnet.0.weight": tensor}, "decoder": {}})
    weights = zipped(tmp_path / "w.pth", buffer.getvalue())
    with zipfile.ZipFile(weights, "a") as archive:
        archive.writestr("archive/data/0", bytes(16))
    assert "damaged" in refused(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": None}, "lacks the encoder; give a file that the tutorial's train.py saved"),
        ({"decoder": None}, "lacks the decoder"),
        ({"encoder": {}}, "has an encoder that is none of resnet18, resnet34"),
        ({"decoder": {}}, "lacks the matrix decoder.embedding.weight"),
        ({"decoder": {"fc.weight": 3}}, "has no tensor at 'fc.weight'"),
    ],
)
def test_missing_parts(
    state_dicts, refused, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    assert message in refused(save(state_dicts | change, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("part", "name", "tensor", "message"),
    [
        ("decoder", "fc.bias", None, "lacks decoder.fc.bias"),
        ("decoder", "fc.bias", torch.ones(3), r"has decoder.fc.bias of shape (3,), not (9,)"),
        ("decoder", "fc2.bias", torch.ones(3), "has an unknown 'decoder.fc2.bias'"),
        ("decoder", "fc.bias", torch.full((9,), torch.nan), "decoder.fc.bias that are not finite"),
        ("decoder", "fc.weight", torch.full((9, 7), 1e6), "not finite in half precision"),
        ("encoder", "resnet.7.1.bn2.bias", None, "lacks encoder.backbone.7.1.bn2.bias"),
        ("encoder", "resnet.0.weight", torch.ones(64, 1, 7, 7), "of shape (64, 1, 7, 7), not"),
    ],
)
def test_weights_that_do_not_fit(
    state_dicts, refused, tmp_path: Path, part: str, name: str, tensor: Any, message: str
) -> None:
    state_dicts[part].pop(name, None)
    if tensor is not None:
        state_dicts[part][name] = tensor
    assert message in refused(save(state_dicts, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS[:-1], "the word map lacks <end>"),
        ([*WORDS, "purple"], "has 10 words, but the decoder in .*w.pth 9; give the word map"),
        (None, "WORDMAP_tiny.json: .*Expecting"),
    ],
)
def test_word_map_that_does_not_fit(
    state_dicts, wordmap: Path, tmp_path: Path, words: list[str] | None, message: str
) -> None:
    wordmap.write_text("{" if words is None else json.dumps({w: i for i, w in enumerate(words)}))
    weights = save(state_dicts, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        import_tutorial(weights, wordmap, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


def test_swapped_arguments_are_named(state_dicts, wordmap: Path, tmp_path: Path) -> None:
    weights = save(state_dicts, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth is a file of torch\.save, not a word map; give"):
        import_tutorial(wordmap, weights, tmp_path / "out")
