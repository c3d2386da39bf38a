"""The picture of the figures of `benchmarks.search` and `benchmarks.caption`, benchmarks/speed.png.

Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from benchmarks.report import Report
from model.files import write_whole
from training.reporting.pictures import ACCENT, GREY, INK, Page

Figures = Mapping[str, Any]

COLORS = ("#8fb3c9", "#4f86a6", "#2f6690", "#12324a")  # from few beams to many
# Inches: width and height of a panel; the space left of it for its axis, above it for its title and
# below it; the margin of the page.
WIDTH, HEIGHT, LEFT, ABOVE, BELOW, EDGE = 4.1, 2.7, 1.0, 0.7, 0.65, 0.25


def write_picture(reports: Mapping[str, Report], out: Path) -> None:
    """Draw the figures of these benchmarks to a PNG; search or caption must be among them."""
    panels: list[tuple[Callable[[Axes, Figures], None], Figures]] = []
    if "search" in reports:
        panels += [(draw, reports["search"].figures) for draw in (by_batch, by_beams, by_words)]
    if "caption" in reports:
        panels.append((throughput, reports["caption"].figures))
    columns = 2 if len(panels) == 4 else len(panels)
    rows = -(-len(panels) // columns)
    page = Page(columns * (LEFT + WIDTH + EDGE) + EDGE, rows * (ABOVE + HEIGHT + BELOW) + EDGE)
    for i, (draw, figures) in enumerate(panels):
        left = EDGE + i % columns * (LEFT + WIDTH + EDGE) + LEFT
        top = EDGE + i // columns * (ABOVE + HEIGHT + BELOW) + ABOVE
        axes = page.axes(left, top, WIDTH, HEIGHT)
        _style(axes)
        draw(axes, figures)
    write_whole(out, page.png())


def by_batch(axes: Axes, figures: Figures) -> None:
    """Draw the cost of a photo against the photos searched together, a line for each beam size."""
    sweep = figures["sweep"]
    batches, beams = (sorted({row[key] for row in sweep}) for key in ("photos", "beams"))
    for k, color in zip(beams, COLORS, strict=False):
        rows = [row for row in sweep if row["beams"] == k]
        costs = [cost / 1e3 for cost in _column(rows, "microseconds_a_photo")]
        axes.plot(batches, costs, "o-", color=color, linewidth=1.8, markersize=4)
        name = f"{k} beam" if k == 1 else f"{k} beams"
        _note(axes, name, (batches[-1], costs[-1]), color)
        if k == figures["beam"]:
            saved = costs[0] / costs[batches.index(figures["batch"])]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(batches[0] / 1.2, batches[-1] * 2.2)  # room for the lines' names
    low, high = axes.get_ylim()
    round_numbers = (m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5))
    _ticks(axes.xaxis, batches)
    _ticks(axes.yaxis, [number for number in round_numbers if low <= number <= high])
    _title(
        axes,
        f"Among {figures['batch']} a photo costs {saved:.1f} times less",
        "milliseconds a photo, search alone",
    )
    axes.set_xlabel("photos searched together")


def by_beams(axes: Axes, figures: Figures) -> None:
    """Draw the cost of a photo's step against its beams."""
    rows = [row for row in figures["sweep"] if row["photos"] == figures["batch"]]
    beams, costs = _column(rows, "beams"), _column(rows, "microseconds_a_step")
    _straight(axes, beams, costs)
    usual = costs[beams.index(figures["beam"])]
    _title(
        axes,
        f"{figures['beam']} to {beams[-1]} beams: {costs[-1] / usual:.1f} times the cost",
        f"microseconds a photo's step, {figures['batch']} photos",
    )
    axes.set_xlabel("beams")


def by_words(axes: Axes, figures: Figures) -> None:
    """Draw the cost of a photo's step against the words of the vocabulary."""
    rows = figures["vocabulary"]
    words, costs = _column(rows, "vocabulary"), _column(rows, "microseconds_a_step")
    _straight(axes, words, costs)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    _title(
        axes,
        f"{words[0]:,} to {words[-1]:,} words: {costs[-1] / costs[0]:.1f} times the cost",
        f"microseconds a photo's step, {figures['batch']} photos, {figures['beam']} beams,"
        " random decoders",
    )
    axes.set_xlabel("words in the vocabulary")


def throughput(axes: Axes, figures: Figures) -> None:
    """Draw the photos a second from bytes to captions, ours and the tutorial's."""
    rates = figures["photos_a_second"]
    places = range(len(rates))[::-1]
    colors = [GREY if name == "tutorial" else ACCENT for name in rates]
    axes.barh(places, list(rates.values()), color=colors, height=0.6)
    for place, rate in zip(places, rates.values(), strict=True):
        _note(axes, f"{rate:.1f}", (rate, place), INK)
    axes.set_yticks(places, list(rates), fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.2 * max(rates.values()))
    axes.grid(visible=False, axis="y")
    _title(
        axes,
        f"Bytes to captions: {max(rates.values()) / rates['tutorial']:.0f} times the tutorial",
        f"photos a second, {figures['beam']} beams",
    )
    axes.set_xlabel("photos a second")


def _straight(axes: Axes, x: list[float], y: list[float]) -> None:
    """Draw costs over axes that begin at zero, and dotted what proportional costs would be."""
    axes.plot([0, x[-1]], [0, y[-1]], ":", color=GREY, linewidth=1.2)
    axes.plot(x, y, "o-", color=ACCENT, linewidth=1.8, markersize=5)
    axes.set_xlim(0, 1.05 * x[-1])
    axes.set_ylim(0, 1.15 * max(y))
    _ticks(axes.xaxis, [0, *x])
    place: dict[str, Any] = {"transform": axes.transAxes, "va": "top"}
    axes.text(0.02, 0.97, "dotted: in proportion", fontsize=8, color=GREY, **place)


def _ticks(axis: Axis, places: Sequence[float]) -> None:
    """Set these ticks and no others, written as plain numbers."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _note(axes: Axes, text: str, beside: tuple[float, float], color: str) -> None:
    style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8.5}
    axes.annotate(text, beside, xytext=(6, 0), color=color, **style)


def _title(axes: Axes, finding: str, measured: str) -> None:
    """Write the finding in bold, and below it what is drawn."""
    axes.text(0, 1.13, finding, transform=axes.transAxes, fontsize=12, weight="bold", color=INK)
    axes.text(0, 1.05, measured, transform=axes.transAxes, fontsize=8.5, color=GREY)


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=9, color=GREY, labelcolor=INK)
    axes.grid(color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(size=9, color=INK)


def _column(rows: Sequence[Figures], key: str) -> list[float]:
    return [row[key] for row in rows]
