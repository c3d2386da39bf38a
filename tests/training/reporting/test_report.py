"""The curves of a training."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.reporting import report
from training.reporting.pictures import Page
from training.reporting.report import write_report


def rows(count: int) -> list[dict[str, float | str]]:
    """Return the rows of a training: a stage of the decoder, then fine-tuning."""
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


def kept_pages(monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    """The pages that are drawn from now on."""
    pages: list[Page] = []

    class Kept(Page):
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
    """The last epoch is kept with few validation photos, or if the user wants it; else the best."""
    pages = kept_pages(monkeypatch)
    epochs = rows(6)
    for kept in (epochs[5], epochs[3]):
        write_report([row | {"kept": row is kept} for row in epochs], tmp_path / "report.png")
    legends = [page.figure.axes[1].get_legend() for page in pages]
    titles = [legend.get_title().get_text() for legend in legends]
    assert titles == ["epoch 6, kept", "epoch 4, kept, best CIDEr"]
    assert f"CIDEr  {epochs[5]['CIDEr']:.4f}" in [
        text.get_text() for text in legends[0].get_texts()
    ]
    circles = [page.figure.axes[1].lines[-1].get_xdata()[0] for page in pages]
    assert circles == [6, 4]


def test_report_shows_the_cider_of_each_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = kept_pages(monkeypatch)
    epochs, long = rows(4), "a-long-name-of-photos"
    later = [
        row | {"datasets": {"a$b$": {"CIDEr": 0.1 * row["epoch"]}, long: {"CIDEr": 0.7}}}
        for row in epochs[1:]
    ]
    write_report([epochs[0], *later], tmp_path / "report.png")
    scores = pages[0].figure.axes[1]
    labels = [text.get_text() for text in scores.get_legend().get_texts()]
    assert labels[-2:] == ["CIDEr  0.4000\na\\$b\\$", "CIDEr  0.7000\na-long-name-of-…"]
    drawn = {line.get_label(): line.get_ydata() for line in scores.lines}
    assert np.isnan(drawn[labels[-2]]).tolist() == [True, False, False, False]


def test_report_of_trainings_that_went_on_from_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = kept_pages(monkeypatch)
    rewarded: list[dict[str, Any]] = [
        {"epoch": 1, "stage": "self-critical", "reward": 0.9, "CIDEr": 0.9}
    ]
    runs = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for run, of_run in zip(runs, (rows(3), rewarded), strict=True):
        run.write_text("".join(json.dumps(row) + "\n" for row in of_run))
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
def test_a_file_without_epochs_is_named(line: str, tmp_path: Path) -> None:
    run = tmp_path / "metrics.jsonl"
    run.write_text(f'{{"epoch": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: it is no JSON object"):
        report.read_rows([run])


def test_a_picture_in_place_of_figures_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"report\.png is no metrics\.jsonl"):
        report.read_rows([tmp_path / "report.png"])


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        write_report([], tmp_path / "report.png")
    assert not list(tmp_path.iterdir())
