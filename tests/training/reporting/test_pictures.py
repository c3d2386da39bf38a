"""Attention laid over photos, and the pictures of a training."""

from __future__ import annotations

import json
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import Caption, Captioner, DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.reporting import pictures, report
from training.reporting.pictures import attention_page, overlay, stretch, text_width, wrap
from training.reporting.report import chosen, write_report, write_samples

SIZES = [(160, 120), (120, 160), (1500, 100), (100, 1500), (3000, 1)]


def one_hot(row: int, column: int, side: int = 4) -> np.ndarray:
    attention = np.zeros((side, side), np.float32)
    attention[row, column] = 1
    return attention


def made_up(words: list[str], side: int = 4) -> Caption:
    maps = torch.rand(len(words), side, side, generator=torch.Generator().manual_seed(0))
    return Caption(
        text=" ".join(words),
        log_prob=-1.5 * len(words),
        words=words,
        word_log_probs=[-1.5] * len(words),
        attention=maps / maps.sum(dim=(1, 2), keepdim=True),
    )


@pytest.mark.parametrize("smooth", [True, False])
def test_a_map_is_stretched_to_the_photos_shape(smooth: bool) -> None:
    map_ = stretch(one_hot(0, 3), (40, 120), smooth)
    assert map_.shape == (40, 120)
    where = np.unravel_index(map_.argmax(), map_.shape)
    assert where[0] < 10
    assert where[1] >= 90
    even = stretch(np.full((4, 4), 1 / 16, np.float32), (40, 120), smooth)
    np.testing.assert_allclose(even, 1 / 16, rtol=1e-5)


def test_blocky_is_the_grid_as_it_is() -> None:
    attention = np.random.default_rng(0).random((7, 7), np.float32)
    expected = attention.repeat(5, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(stretch(attention, (35, 21), smooth=False), expected)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("light", [0, 128, 255])
def test_attention_lights_its_place(light: int, smooth: bool) -> None:
    """In brightness and in hue, on dark photos and on light ones."""
    photo = Image.new("RGB", (160, 80), (light, light, light))
    shown = overlay(photo, one_hot(1, 2), smooth).astype(float)
    inside, outside = shown[30, 100], shown[70, 10]
    assert inside.mean() > outside.mean() + 40
    assert np.ptp(inside) > 80
    assert np.ptp(outside) < 1


def test_even_attention_lights_nothing() -> None:
    photo = Image.new("RGB", (60, 60), (120, 120, 120))
    assert np.ptp(overlay(photo, np.full((7, 7), 1 / 49, np.float32)), axis=2).max() <= 1


def test_the_scale_is_the_same_for_every_word() -> None:
    photo = Image.new("RGB", (64, 64), (120, 120, 120))
    wide = np.zeros((8, 8), np.float32)
    wide[:, :4] = 1 / 32  # twice an even share, over half of the photo
    faint, strong = (overlay(photo, m, smooth=False) for m in (wide, one_hot(0, 0, 8)))
    assert np.ptp(faint[4, 4].astype(int)) < 0.6 * np.ptp(strong[4, 4].astype(int))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 8, 30])
def test_pages_of_any_photo_and_length(size: tuple[int, int], count: int) -> None:
    caption = made_up([f"word{i}" for i in range(count)])
    page = attention_page(Image.new("RGB", size, "teal"), caption)
    boxes = [axes.get_window_extent() for axes in page.figure.axes]
    assert len(boxes) == count + 2  # the legend's ramp, the photo, the words
    for i, box in enumerate(boxes):
        assert box.x0 > 0
        assert box.y0 > 0
        assert box.x1 < page.figure.bbox.x1
        assert box.y1 < page.figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    assert page.width / page.height < 5
    assert page.height / page.width < 3


def test_letters_that_the_font_lacks_are_boxes_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures._say_what_the_font_lacks.cache_clear()
    words = ["grün", "कुत्ता", "红"]
    page = attention_page(Image.new("RGB", (50, 50)), made_up(words))
    assert page.png()  # a letter without an outline would be a warning, which is an error here
    shown = {text.get_text() for text in page.figure.texts}
    assert "grün" in shown
    assert not shown & {"कुत्ता", "红"}
    assert len(caplog.records) == 1
    assert "pictures show boxes for letters that their font" in caplog.text


def test_no_text_leaves_the_page_or_touches_other_text() -> None:
    words = ["$x$", "a_b", "$", "antidisestablishmentarianism", "of", "motorcycles"]
    page = attention_page(Image.new("RGB", (50, 400)), made_up(words))
    page.png()
    assert {text.get_text() for text in page.figure.texts} > set(words)
    boxes = [text.get_window_extent() for text in page.figure.texts]
    for i, box in enumerate(boxes):
        assert box.x1 <= page.figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_wrap() -> None:
    text = "a man in a red shirt is sitting on a skateboard"
    lines = wrap(text, 1.5, 10, "bold")
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(text_width(line, 10, "bold") <= 1.5 for line in lines)
    assert wrap("", 1, 10) == []
    assert wrap("w" * 50, 1, 10) == ["w" * 50]


def test_pages_are_drawn_in_threads() -> None:
    caption, photo = made_up(["a", "red", "circle"]), Image.new("RGB", (60, 40), "red")
    with ThreadPoolExecutor(3) as pool:
        pngs = list(pool.map(lambda _: attention_page(photo, caption).png(), range(6)))
    assert len(set(pngs)) == 1


def rows(count: int) -> list[dict[str, float | str]]:
    """As a training writes them: a decoder's stage, then fine-tuning."""
    found: list[dict[str, float | str]] = []
    for epoch in range(1, count + 1):
        scores = {f"BLEU-{n}": 0.1 * (5 - n) + 0.01 * epoch for n in range(1, 5)}
        scores |= {"ROUGE-L": 0.4, "CIDEr": 0.5 - 0.01 * (epoch - 4) ** 2}
        rates = {"learning_rate": 4e-4 / epoch}
        if epoch > 3:
            rates["encoder_learning_rate"] = 1e-5
        stage = "fine-tune" if epoch > 3 else "decoder"
        found.append(
            {"epoch": epoch, "stage": stage, "loss": 4 / epoch, "seconds": 9.0, **scores, **rates}
        )
    return found


@pytest.mark.parametrize(
    "metrics",
    [
        rows(6),
        rows(1),
        [{}],
        [{"epoch": 1, "loss": 3.0}, {"CIDEr": 0.3}, {"epoch": 3, "stage": "decoder"}],
        [{"epoch": 1, "loss": None, "CIDEr": math.nan, "learning_rate": 0.0}],
    ],
    ids=["two stages", "one epoch", "nothing", "gaps", "not finite"],
)
def test_report(metrics: list[dict[str, float]], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(metrics, tmp_path / "report.png")
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["report.png"]


def kept_pages(monkeypatch: pytest.MonkeyPatch) -> list[report.Page]:
    """The pages that are drawn from now on."""
    pages: list[report.Page] = []

    class Kept(report.Page):
        def png(self) -> bytes:
            pages.append(self)
            return super().png()

    monkeypatch.setattr(report, "Page", Kept)
    return pages


def test_report_marks_the_best_epoch_and_the_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = kept_pages(monkeypatch)
    write_report([*rows(5), rows(6)[5] | {"learning_rate": 0.0}], tmp_path / "report.png")
    loss, scores, rates = pages[0].figure.axes
    legend = scores.get_legend()
    assert legend.get_title().get_text() == "epoch 4, best CIDEr"
    assert "CIDEr  0.5000" in [text.get_text() for text in legend.get_texts()]
    assert [text.get_text() for text in loss.texts] == ["decoder", "fine-tune"]
    assert loss.get_xlim() == scores.get_xlim() == rates.get_xlim() == (0.5, 6.5)
    assert rates.get_yscale() == "log"
    decoder = rates.lines[0].get_ydata()
    assert np.isnan(decoder).tolist() == [False] * 5 + [True]  # no logarithm shows zero


def test_report_marks_the_epoch_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few validation photos, or the user, let the last be kept, not the best."""
    pages = kept_pages(monkeypatch)
    told = rows(6)
    for kept in (told[5], told[3]):
        write_report([row | {"kept": row is kept} for row in told], tmp_path / "report.png")
    legends = [page.figure.axes[1].get_legend() for page in pages]
    titles = [legend.get_title().get_text() for legend in legends]
    assert titles == ["epoch 6, kept", "epoch 4, kept, best CIDEr"]
    assert f"CIDEr  {told[5]['CIDEr']:.4f}" in [text.get_text() for text in legends[0].get_texts()]
    circles = [page.figure.axes[1].lines[-1].get_xdata()[0] for page in pages]
    assert circles == [6, 4]


def test_report_of_trainings_that_went_on_from_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = kept_pages(monkeypatch)
    rewarded = [{"epoch": 1, "stage": "self-critical", "reward": 0.9, "CIDEr": 0.9}]
    runs = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for run, told in zip(runs, (rows(3), rewarded), strict=True):
        run.write_text("".join(json.dumps(row) + "\n" for row in told))
    found = report.read_rows(runs)
    assert [row["epoch"] for row in found] == [1, 2, 3, 4]
    write_report(found, tmp_path / "report.png")
    loss, reward, scores, _ = pages[0].figure.axes
    assert np.isnan(loss.lines[0].get_ydata()).tolist() == [False] * 3 + [True]
    assert np.isnan(reward.lines[0].get_ydata()).tolist() == [True] * 3 + [False]
    assert scores.get_legend().get_title().get_text() == "epoch 4, best CIDEr"

    write_report(rewarded, tmp_path / "report.png")  # nothing to draw of losses and rates
    assert [axes.get_ylabel() for axes in pages[1].figure.axes] == [
        "training reward",
        "validation scores",
    ]


@pytest.mark.parametrize("line", ["{", "3", '["epoch"]'])
def test_report_of_what_is_no_training(line: str, tmp_path: Path) -> None:
    run = tmp_path / "metrics.jsonl"
    run.write_text(f'{{"epoch": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not what an epoch came to"):
        report.read_rows([run])


def test_report_of_a_picture_says_what_it_wants(tmp_path: Path) -> None:
    (tmp_path / "report.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"report\.png is no metrics\.jsonl"):
        report.read_rows([tmp_path / "report.png"])


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        write_report([], tmp_path / "report.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 3, 20])
def test_samples(count: int, tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> None:
    generator = torch.Generator().manual_seed(0)
    photos = torch.randint(256, (count, 3, 96, 96), generator=generator, dtype=torch.uint8)
    write_samples(
        Captioner(network, word_map),
        photos,
        [("A red circle .", "a circle")] * count,
        tmp_path / "samples.png",
        "photos of a test",
        DecodingOptions(max_length=6),
    )
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1500
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]


def test_samples_are_drawn_from_the_seed() -> None:
    assert len(set(chosen(1000, 1))) == 20
    assert max(chosen(1000, 1)) < 1000
    assert chosen(1000, 1) == chosen(1000, 1) != chosen(1000, 2)
    assert sorted(chosen(3, 1)) == [0, 1, 2]


def test_samples_want_references(
    tmp_path: Path, network: ShowAttendTell, word_map: WordMap
) -> None:
    photos = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    for few, texts in ((photos, [("a",)]), (photos[:0], [])):
        with pytest.raises(ValueError, match="references to show"):
            write_samples(Captioner(network, word_map), few, texts, tmp_path / "samples.png", "")
