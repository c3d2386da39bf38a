"""The picture of how far confidences can be relied on, docs/reliability.png for example."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from model.files import write_whole
from training.reporting.pictures import ACCENT, GREY, INK, Page
from training.scoring.reliability import Reliability, accuracy_coverage

BLUE, PALE = "#2f6690", "#c4c4c4"
PERCENT = PercentFormatter(1, symbol=" %")
BARS = [i / 40 for i in range(41)]  # edges of the histogram's bars
MIN_COVERAGE = 0.02  # a mean over fewer of the captions is noise and is not drawn
LEFT, RIGHT = 0.85, 5.75  # inches from the page's left edge to the axes of each half


def write_reliability_picture(
    reliability: Reliability, out: Path, person: float | None = None
) -> None:
    """Draw reliability and accuracy-coverage side by side, to a PNG.

    Parameters
    ----------
    reliability
        Must have a threshold.
    person
        A person's CIDEr-D, for comparison.
    """
    page = Page(10.6, 4.75)
    observed, counts = page.axes(LEFT, 0.8, 3.7, 2.6), page.axes(LEFT, 3.55, 3.7, 0.6)
    coverage = page.axes(RIGHT, 0.8, 3.7, 3.35)
    _draw_bins(observed, reliability)
    _draw_counts(counts, reliability)
    kept = _draw_coverage(coverage, reliability, person)
    for axes in (observed, counts, coverage):
        _style(axes)

    off, chance = 100 * reliability.calibration_error(), 100 * reliability.chance_error()
    count, mean = len(reliability.cider), reliability.cider.mean()
    _heading(
        page,
        LEFT,
        f"Confidence is off by {off:.1f} points, by chance {chance:.1f}",
        f"{count} captions in {len(reliability.bins())} groups;"
        f" good is a CIDEr from {reliability.threshold:.2f}",
    )
    _heading(
        page,
        RIGHT,
        f"The most confident half has CIDEr {kept:.2f}",
        f"mean over the captions kept; of all {mean:.2f}",
    )
    write_whole(out, page.png())


def _heading(page: Page, left: float, finding: str, measured: str) -> None:
    """Write the finding in bold, and below it what was measured."""
    page.text(finding, left, 0.4, 11.5, weight="bold")
    page.text(measured, left, 0.63, color=GREY)


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=9, color=GREY, labelcolor=INK)
    axes.set_axisbelow(True)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.xaxis.label.set(size=9, color=INK)
    axes.yaxis.label.set(size=9, color=INK)


def _draw_bins(axes: Axes, reliability: Reliability) -> None:
    """Draw the share of good captions against the confidence, with 95 % intervals."""
    bins = reliability.bins()
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2)
    for count, confidence, share in bins:
        axes.plot([confidence] * 2, _interval(share, count), color=ACCENT, linewidth=4, alpha=0.25)
    axes.plot([b.confidence for b in bins], [b.share for b in bins], "o", color=ACCENT)
    axes.text(0.97, 0.88, "exact", ha="right", va="top", fontsize=9, color=GREY)
    axes.text(0.03, 0.97, "bars: 95 % intervals", va="top", fontsize=9, color=ACCENT)
    axes.set_ylim(0, 1)
    axes.xaxis.set_tick_params(labelbottom=False)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel("captions that are good")


def _draw_counts(axes: Axes, reliability: Reliability) -> None:
    """Draw how many captions have which confidence."""
    axes.hist(reliability.confidence, bins=BARS, color=PALE)
    axes.set_xlabel("confidence")
    axes.set_ylabel("captions")
    axes.locator_params(axis="y", nbins=2, integer=True)


def _draw_coverage(axes: Axes, reliability: Reliability, person: float | None) -> float:
    """Draw the mean CIDEr-D of the captions kept, against their share; return that of one half."""
    cider = reliability.cider
    confident = accuracy_coverage(reliability.confidence, cider)
    first = max(1, math.ceil(MIN_COVERAGE * len(cider)))
    kept = np.arange(first, len(cider) + 1)
    best, mean = accuracy_coverage(cider, cider), float(cider.mean())
    for curve, name, color, width in (
        (best, "best first", GREY, 1.2),
        (confident, "most confident first", ACCENT, 2.2),
    ):
        axes.plot(kept / len(cider), curve[kept - 1], color=color, linewidth=width, label=name)
    levels = {"in any order": (mean, GREY)}
    if person:
        levels["a person,\nall photos"] = person, BLUE
    highest = max(level for level, _ in levels.values())
    for name, (level, color) in levels.items():
        axes.axhline(level, color=color, linewidth=1.2, zorder=1)
        side = "bottom" if level == highest else "top"  # two names never meet
        axes.text(1.02, level, name, va=side, color=color, fontsize=9)
    axes.legend(frameon=False, fontsize=9, labelcolor="linecolor", loc="upper right")
    axes.set_ylim(0, 1.02 * float(best[first - 1]) or 1)
    axes.set_xlabel("captions kept")
    axes.set_ylabel("their mean CIDEr")
    return float(confident[math.ceil(len(cider) / 2) - 1])


def _interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability observed as a share of trials (Wilson 1927)."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z**2 / count)
    return middle - half, middle + half
