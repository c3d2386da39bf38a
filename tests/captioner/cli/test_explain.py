from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from captioner.explanation import explanation, save_explanation
from captioner.paths import ROOT
from model import Caption, Captioner, InvalidImage
from model.attention_picture import attention_picture
from model.network import ShowAttendTell
from model.word_map import WordMap


@pytest.fixture
def caption(network: ShowAttendTell, word_map: WordMap, render) -> Caption:
    return Captioner(network, word_map).caption([render()])[0][0]


@pytest.mark.parametrize("name", ["out.png", "OUT.PNG", "new/out.png"])
def test_a_png_is_the_picture_that_the_server_draws(
    caption: Caption, tmp_path: Path, render, name: str
) -> None:
    save_explanation(tmp_path / name, render(), caption)
    assert (tmp_path / name).read_bytes() == attention_picture(render(), caption)


def test_smooth_and_blocky_differ(caption: Caption, tmp_path: Path, render) -> None:
    save_explanation(tmp_path / "smooth.png", render(), caption)
    save_explanation(tmp_path / "blocky.png", render(), caption, smooth=False)
    smooth, blocky = (Image.open(tmp_path / f"{name}.png") for name in ("smooth", "blocky"))
    assert smooth.size == blocky.size
    assert smooth.tobytes() != blocky.tobytes()


def test_json_holds_the_numbers(caption: Caption, tmp_path: Path, render) -> None:
    save_explanation(tmp_path / "out.json", render(), caption)
    written = json.loads((tmp_path / "out.json").read_text())
    assert written == explanation(caption)
    assert written["caption"] == caption.text
    assert [each["word"] for each in written["words"]] == caption.words
    log_probs = torch.tensor([each["log_prob"] for each in written["words"]])
    torch.testing.assert_close(log_probs, torch.tensor(caption.word_log_probs), atol=1e-5, rtol=0)
    maps = torch.tensor([each["attention"] for each in written["words"]])
    torch.testing.assert_close(maps, caption.attention, atol=1e-5, rtol=0)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(len(maps)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["out.jpg", "out", ".png", "png"])
def test_another_ending_is_refused(caption: Caption, tmp_path: Path, render, name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.png or \.json"):
        save_explanation(tmp_path / name, render(), caption)
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_the_earlier_file(
    caption: Caption, tmp_path: Path, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"before")
    with pytest.raises(InvalidImage):
        save_explanation(out, b"no photo", caption)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_explanation(out, render(), caption)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert out.read_bytes() == b"before"


@pytest.mark.slow
def test_explaining_needs_neither_training_nor_matplotlib() -> None:
    unwanted = ["pycocoevalcap", "nltk", "matplotlib", "training"]
    code = f"import sys, captioner.explanation; sys.exit(any(n in sys.modules for n in {unwanted}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
