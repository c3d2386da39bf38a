"""The curves of a training, report.png: loss, reward, validation scores and learning rates."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from model.files import write_whole
from training.reporting.pictures import ACCENT, GREY, INK, Page
from training.scoring.metrics import EVERY_EPOCH

Row = Mapping[str, Any]  # one epoch, as in metrics.jsonl

# Colour and width of a score's line. CIDEr stands out, because it chooses the best epoch.
SCORE_STYLES = {
    "CIDEr": (ACCENT, 2.2),
    "BLEU-1": ("#c4c4c4", 1.2),
    "BLEU-2": ("#a4a4a4", 1.2),
    "BLEU-3": ("#848484", 1.2),
    "BLEU-4": (INK, 1.8),
    "ROUGE-L": ("#2f6690", 1.8),
}
OTHER_STYLE = ("#5a8f5a", 1.8)  # of a score that has none
DATASET_COLORS = ("#e39b8b", "#d8b04c", "#a583b5", "#7fae9e")  # of each data set's CIDEr, in turn
MAX_NAME = 16  # characters of a data set's name that fit beside the axes
SCORES = sorted(EVERY_EPOCH, key=lambda name: name != "CIDEr")
RATES = {"learning_rate": ("decoder", INK), "encoder_learning_rate": ("encoder", "#2f6690")}


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    label: str
    height: float  # inches
    keys: tuple[str, ...]  # what it draws of a row; it is left out where no row has any of them


PANELS = {
    "loss": Panel("training loss", 1.9, ("loss",)),
    "reward": Panel("training reward", 1.9, ("reward",)),
    "scores": Panel("validation scores", 2.9, tuple(SCORES)),  # is never left out
    "rates": Panel("learning rate", 1.6, tuple(RATES)),
}
SPACE = 0.3  # inches between two panels
BANDS = ("#f3f3f3", "#e3eaf0", "#f3ebe3")  # behind one stage and the next


def read_rows(runs: Sequence[Path]) -> list[Row]:
    """Read the epochs of trainings that went on from one another, and number them through.

    Parameters
    ----------
    runs
        The ``metrics.jsonl`` of each training, in the order of the trainings.

    Raises
    ------
    ValueError
        A file is no ``metrics.jsonl``; names it and the line.
    """
    rows: list[Row] = []
    for path in runs:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no metrics.jsonl of a training: it is no text") from error
        for number, line in enumerate(lines, 1):
            try:
                row = dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: it is no JSON object with the figures of an epoch"
                ) from error
            rows.append(row | {"epoch": len(rows) + 1})
    if not rows:
        raise ValueError(f"{', '.join(map(str, runs))}: no epoch has ended yet, nothing to report")
    return rows


def write_report(rows: Sequence[Row], out: Path) -> None:
    """Draw loss, reward, validation scores and learning rates over the epochs to a PNG.

    Parameters
    ----------
    rows
        One an epoch, as in ``metrics.jsonl``: ``epoch``, ``stage``, ``loss``, ``reward``, the
        scores, ``learning_rate``, ``encoder_learning_rate``, ``datasets`` (the scores of each data
        set, whose CIDEr is drawn beside the mean); any of them may be missing. The epoch
        that is marked is the last one that has ``kept``, which became the checkpoint; where no row
        has it, the epoch with the best CIDEr.

    Raises
    ------
    ValueError
        There are no rows.
    """
    if not rows:
        raise ValueError(f"{out}: there is no epoch to report")
    epochs = [float(row.get("epoch", i)) for i, row in enumerate(rows, 1)]
    known = {key for row in rows for key in row}
    shown = [name for name, panel in PANELS.items() if name == "scores" or known & {*panel.keys}]
    page = Page(9, 0.75 + sum(PANELS[name].height + SPACE for name in shown))
    axes = _placed(page, shown)
    for name in {"loss", "reward"} & axes.keys():
        _plot(axes[name], rows, epochs, name, (INK, 1.8), name)
    _draw_scores(axes["scores"], rows, epochs)
    if "rates" in axes:
        _draw_rates(axes["rates"], rows, epochs)
    for name, each in axes.items():
        _style(each, epochs)
        _shade(each, rows, epochs, named=name == shown[0])
    axes[shown[-1]].set_xlabel("epoch")
    write_whole(out, page.png())


def _placed(page: Page, shown: Sequence[str]) -> dict[str, Axes]:
    """Return the axes of the panels, one below the other."""
    axes, top = {}, 0.45
    for name in shown:
        axes[name] = page.axes(0.9, top, 6.3, PANELS[name].height)
        axes[name].set_ylabel(PANELS[name].label)
        top += PANELS[name].height + SPACE
    return axes


def _draw_scores(axes: Axes, rows: Sequence[Row], epochs: list[float]) -> None:
    """Draw the scores; mark the epoch that was kept and give its figures in the legend."""
    best = max(range(len(rows)), key=lambda i: _value(rows[i], "CIDEr", -math.inf))
    kept = max((i for i, row in enumerate(rows) if row.get("kept")), default=None)
    marked = best if kept is None else kept
    for name in SCORES:
        figure = _value(rows[marked], name, math.nan)
        style = SCORE_STYLES.get(name, OTHER_STYLE)
        _plot(axes, rows, epochs, name, style, f"{name}  {figure:.4f}")
    _draw_datasets(axes, rows, epochs, marked)
    title = f"epoch {epochs[marked]:.0f}" + (", kept" if kept is not None else "")
    if math.isfinite(cider := _value(rows[marked], "CIDEr", math.nan)):
        if marked == best:
            title += ", best CIDEr"
        axes.axvline(epochs[marked], color=ACCENT, linewidth=0.8, linestyle=":")
        axes.plot(epochs[marked], cider, "o", color=ACCENT, markersize=8, fillstyle="none")
    _legend(axes, title)


def _draw_datasets(axes: Axes, rows: Sequence[Row], epochs: list[float], marked: int) -> None:
    """Draw the CIDEr of each data set of a training on several."""
    names = dict.fromkeys(name for row in rows for name in row.get("datasets", ()))
    for name, color in zip(names, cycle(DATASET_COLORS), strict=False):
        own = [row.get("datasets", {}).get(name, {}) for row in rows]
        figure = _value(own[marked], "CIDEr", math.nan)
        shown = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
        shown = shown.replace("$", r"\$")  # no mathematics
        _plot(axes, own, epochs, "CIDEr", (color, 1.2), f"CIDEr  {figure:.4f}\n{shown}")


def _draw_rates(axes: Axes, rows: Sequence[Row], epochs: list[float]) -> None:
    # A schedule may end at zero, which has no logarithm.
    above = [{k: rate for k in RATES if (rate := _value(row, k, 0)) > 0} for row in rows]
    for key, (name, color) in RATES.items():
        _plot(axes, above, epochs, key, (color, 1.8), name)
    if axes.lines:
        axes.set_yscale("log")
    _legend(axes, None)


def _value(row: Row, key: str, otherwise: float) -> float:
    """Return the figure of that key if the row has one that can be drawn."""
    value = row.get(key)
    return float(value) if value is not None and math.isfinite(value) else otherwise


def _plot(
    axes: Axes,
    rows: Sequence[Row],
    epochs: list[float],
    key: str,
    style: tuple[str, float],
    label: str,
) -> None:
    """Draw one figure of the rows, in this colour and width; nothing if no row has it."""
    values = [_value(row, key, math.nan) for row in rows]
    if not all(map(math.isnan, values)):
        color, width = style
        # Markers show an only epoch, and one between two epochs that have no figure.
        axes.plot(epochs, values, ".-", color=color, linewidth=width, markersize=5, label=label)


def _style(axes: Axes, epochs: list[float]) -> None:
    if not axes.lines:
        axes.set_yticks([])  # a scale of nothing would only mislead
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, color=GREY)
    axes.grid(axis="y", color="white", linewidth=1)
    axes.set_axisbelow(True)


def _shade(axes: Axes, rows: Sequence[Row], epochs: list[float], named: bool) -> None:
    """Draw a band behind every stage, from its first epoch to its last; its name above."""
    stages = groupby(range(len(rows)), key=lambda i: str(rows[i].get("stage", "")))
    for n, (name, positions) in enumerate(stages):
        of_stage = [epochs[i] for i in positions]
        left, right = min(of_stage) - 0.5, max(of_stage) + 0.5
        axes.axvspan(left, right, color=BANDS[n % len(BANDS)], linewidth=0, zorder=0)
        if named:
            above = ((left + right) / 2, 1.03)
            transform = axes.get_xaxis_transform()
            axes.text(*above, name, transform=transform, ha="center", color=GREY, parse_math=False)


def _legend(axes: Axes, title: str | None) -> None:
    """Name the lines to the right of the axes."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            title=title,
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            fontsize=9,
            title_fontsize=9,
            alignment="left",
        )
