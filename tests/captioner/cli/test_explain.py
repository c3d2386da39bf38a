from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from captioner.explanation import explain, explanation, save_explanation
from captioner.paths import ROOT
from model import Caption, Captioner, InvalidImage
from model.network import ShowAttendTell
from model.word_map import WordMap


@pytest.fixture
def caption(network: ShowAttendTell, word_map: WordMap, render) -> Caption:
    return Captioner(network, word_map).caption([render()])[0][0]


def test_a_panel_for_the_photo_and_every_word(caption: Caption, render) -> None:
    panels = explain(render(), caption).axes
    assert len(panels) == 1 + len(caption.words) + 1  # and the legend's ramp


def test_the_photo_is_shown_upright_in_its_true_shape(caption: Caption) -> None:
    picture = Image.new("RGB", (200, 100), "white")
    picture.paste("black", (0, 0, 200, 50))  # upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the top is then on the right
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    for axes in explain(buffer.getvalue(), caption).axes[1:]:  # the first is the legend's
        shown = axes.images[0].get_array()
        height, width = shown.shape[:2]
        assert height / width == pytest.approx(2, rel=0.02)
        box = axes.get_window_extent()
        assert (box.height, box.width) == pytest.approx((height, width), abs=1)
        assert shown[:, : width // 3].mean() > shown[:, 2 * width // 3 :].mean() + 80


@pytest.mark.parametrize("name", ["out.png", "OUT.PNG", "new/out.png"])
def test_png(caption: Caption, tmp_path: Path, render, name: str) -> None:
    save_explanation(tmp_path / name, render(), caption)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_smooth_and_blocky_differ(caption: Caption, tmp_path: Path, render) -> None:
    save_explanation(tmp_path / "smooth.png", render(), caption)
    save_explanation(tmp_path / "blocky.png", render(), caption, smooth=False)
    smooth, blocky = (Image.open(tmp_path / f"{name}.png") for name in ("smooth", "blocky"))
    assert smooth.size == blocky.size
    assert smooth.tobytes() != blocky.tobytes()


def test_json(caption: Caption, tmp_path: Path, render) -> None:
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


def test_failure_leaves_what_was_there(
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


def test_explaining_needs_nothing_of_training_and_no_display() -> None:
    unwanted = ["pycocoevalcap", "nltk", "matplotlib.pyplot"]
    code = f"import sys, captioner.explanation; sys.exit(any(n in sys.modules for n in {unwanted}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
