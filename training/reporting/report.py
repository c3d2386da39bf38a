"""What a training came to, as pictures: its curves, and captions of photos it has not seen."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from model.captioner import DEFAULT_OPTIONS, Caption, Captioner
from model.decoding_options import DecodingOptions
from model.files import write_whole
from training.reporting.pictures import (
    ACCENT,
    DPI,
    GAP,
    GREY,
    INK,
    MARGIN,
    Page,
    attention_page,
    panel_size,
    wrap,
)

Row = Mapping[str, Any]

# Name, color and width of a line; CIDEr is what the best epoch is chosen by.
SCORES = {
    "CIDEr": (ACCENT, 2.2),
    "BLEU-1": ("#c4c4c4", 1.2),
    "BLEU-2": ("#a4a4a4", 1.2),
    "BLEU-3": ("#848484", 1.2),
    "BLEU-4": (INK, 1.8),
    "ROUGE-L": ("#2f6690", 1.8),
}
RATES = {"learning_rate": ("decoder", INK), "encoder_learning_rate": ("encoder", "#2f6690")}
PANELS = {  # label, height in inches, what is drawn; the scores are there whatever there is
    "loss": ("training loss", 1.9, ("loss",)),
    "reward": ("training reward", 1.9, ("reward",)),
    "scores": ("validation scores", 2.9, tuple(SCORES)),
    "rates": ("learning rate", 1.6, tuple(RATES)),
}
SPACE = 0.3  # inches between two
BANDS = ("#f3f3f3", "#e3eaf0", "#f3ebe3")  # behind one stage and the next
PHOTOS, COLUMNS = 20, 5  # of the samples: at most, side by side
PHOTO = panel_size(1)[0]  # inches; the attention's panels stand below in the same columns
LINE = 0.19  # inches of a line under a photo


def write_report(rows: Sequence[Row], out: Path) -> None:
    """Draw loss, reward, validation scores and learning rates over the epochs to a PNG.

    Parameters
    ----------
    rows
        One an epoch, as in ``metrics.jsonl``: ``epoch``, ``stage``, ``loss``, ``reward``, the
        scores, ``learning_rate``, ``encoder_learning_rate``; any of them may be missing. Marked is
        the last epoch that has ``kept``, which became the checkpoint; where none has, that of the
        best CIDEr.

    Raises
    ------
    ValueError
        There are no rows.
    """
    if not rows:
        raise ValueError(f"{out}: there is no epoch to report")
    epochs = [float(row.get("epoch", i)) for i, row in enumerate(rows, 1)]
    best = max(range(len(rows)), key=lambda i: _value(rows[i], "CIDEr", -math.inf))
    kept = max((i for i, row in enumerate(rows) if row.get("kept")), default=None)
    marked = best if kept is None else kept
    known = {key for row in rows for key in row}
    shown = [name for name, (*_, keys) in PANELS.items() if name == "scores" or known & {*keys}]
    page = Page(9, 0.75 + sum(PANELS[name][1] + SPACE for name in shown))
    panels: dict[str, Axes] = {}
    top = 0.45
    for name in shown:
        label, height, _ = PANELS[name]
        panels[name] = page.axes(0.9, top, 6.3, height)
        panels[name].set_ylabel(label)
        top += height + SPACE
    for name in {"loss", "reward"} & panels.keys():
        _plot(panels[name], rows, epochs, name, INK, 1.8, name)

    scores = panels["scores"]
    for name, (color, width) in SCORES.items():
        figure = _value(rows[marked], name, math.nan)
        _plot(scores, rows, epochs, name, color, width, f"{name}  {figure:.4f}")
    title = f"epoch {epochs[marked]:.0f}" + (", kept" if kept is not None else "")
    if math.isfinite(cider := _value(rows[marked], "CIDEr", math.nan)):
        if marked == best:
            title += ", best CIDEr"
        scores.axvline(epochs[marked], color=ACCENT, linewidth=0.8, linestyle=":")
        scores.plot(epochs[marked], cider, "o", color=ACCENT, markersize=8, fillstyle="none")
    _legend(scores, title)

    if "rates" in panels:
        rates = panels["rates"]
        # A schedule may end at zero, which no logarithm shows.
        above = [{k: rate for k in RATES if (rate := _value(row, k, 0)) > 0} for row in rows]
        for key, (name, color) in RATES.items():
            _plot(rates, above, epochs, key, color, 1.8, name)
        if rates.lines:
            rates.set_yscale("log")
        _legend(rates, None)

    for axes in panels.values():
        _style(axes, epochs)
        _shade(axes, rows, epochs, named=axes is panels[shown[0]])
    panels[shown[-1]].set_xlabel("epoch")
    write_whole(out, page.png())


def read_rows(runs: Sequence[Path]) -> list[Row]:
    """The epochs of trainings that went on from one another, numbered through.

    Parameters
    ----------
    runs
        ``metrics.jsonl`` of each, in their order.

    Raises
    ------
    ValueError
        One of them is no such file; names it and the line.
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
                raise ValueError(f"{path}, line {number}: not what an epoch came to") from error
            rows.append(row | {"epoch": len(rows) + 1})
    if not rows:
        raise ValueError(f"{', '.join(map(str, runs))}: no epoch has ended yet, nothing to report")
    return rows


def chosen(photos: int, seed: int) -> list[int]:
    """Places of `PHOTOS` photos, or of all if there are no more, drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    places: list[int] = torch.randperm(photos, generator=generator)[:PHOTOS].tolist()
    return places


def write_samples(
    captioner: Captioner,
    photos: torch.Tensor,
    references: Sequence[Sequence[str]],
    out: Path,
    title: str,
    options: DecodingOptions = DEFAULT_OPTIONS,
) -> None:
    """Draw photos with the captioner's caption and a person's, and the attention in one, to a PNG.

    Parameters
    ----------
    photos
        As `model.image.decode` gives them, uint8, shape = (B, 3, H, W).
    references
        For each photo what people wrote; the first is shown.
    title
        Says above them which photos these are.

    Raises
    ------
    ValueError
        There is no photo, or not as many photos as references.
    """
    if not len(photos) or len(photos) != len(references):
        raise ValueError(f"{out}: {len(photos)} photos and {len(references)} references to show")
    captions = [found[0] for found in captioner.caption_photos(photos, options)]
    pixels = list(photos.permute(0, 2, 3, 1).cpu().numpy())
    grid = _grid(pixels, captions, [_sentence(texts) for texts in references], title)
    attention = attention_page(Image.fromarray(pixels[0]), captions[0], width=grid.width)
    write_whole(out, _stacked([grid, attention]))


def _grid(
    photos: list[NDArray[np.uint8]], captions: list[Caption], references: list[str], title: str
) -> Page:
    """Photos side by side, the captioner's caption in bold beneath, a person's in grey."""
    written = [wrap(caption.text, PHOTO, 10, "bold") for caption in captions]
    spoken = [wrap(text, PHOTO, 9) for text in references]
    lines = [len(w) + len(s) for w, s in zip(written, spoken, strict=True)]
    rows = [range(len(photos))[i : i + COLUMNS] for i in range(0, len(photos), COLUMNS)]
    heights = [PHOTO + LINE * max(lines[i] for i in row) + 2 * GAP for row in rows]
    top = MARGIN + LINE + GAP
    page = Page(2 * MARGIN + COLUMNS * (PHOTO + GAP) - GAP, top + sum(heights))
    page.text(title, MARGIN, MARGIN + LINE / 2, 10, color=GREY)
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left, base = MARGIN + column * (PHOTO + GAP), top + PHOTO + 0.03
            page.picture(photos[i], left, top, PHOTO, PHOTO)
            for line in written[i]:
                page.text(line, left, base := base + LINE, 10, weight="bold")
            for line in spoken[i]:
                page.text(line, left, base := base + LINE, 9, color=GREY)
        top += height
    return page


def _sentence(references: Sequence[str]) -> str:
    """The first of them, without the full stop that datasets set as a word of its own."""
    return next(iter(references), "").strip().removesuffix(" .")


def _stacked(pages: Sequence[Page]) -> bytes:
    """Pages of one width below each other, as one PNG."""
    images = [Image.open(io.BytesIO(page.png())).convert("RGB") for page in pages]
    size = max(image.width for image in images), sum(image.height for image in images)
    whole, top = Image.new("RGB", size, "white"), 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    whole.save(buffer, "PNG", dpi=(DPI, DPI))
    return buffer.getvalue()


def _value(row: Row, key: str, otherwise: float) -> float:
    """The figure, if the row has one that can be drawn."""
    value = row.get(key)
    return float(value) if value is not None and math.isfinite(value) else otherwise


def _plot(
    axes: Axes,
    rows: Sequence[Row],
    epochs: list[float],
    key: str,
    color: str,
    width: float,
    label: str,
) -> None:
    values = [_value(row, key, math.nan) for row in rows]
    if not all(map(math.isnan, values)):
        # Markers show the only epoch of one, and an epoch between two without a figure.
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
    """A band behind every stage, from its first epoch to its last; its name above."""
    stages = groupby(range(len(rows)), key=lambda i: str(rows[i].get("stage", "")))
    for n, (name, places) in enumerate(stages):
        at = [epochs[i] for i in places]
        left, right = min(at) - 0.5, max(at) + 0.5
        axes.axvspan(left, right, color=BANDS[n % len(BANDS)], linewidth=0, zorder=0)
        if named:
            place = ((left + right) / 2, 1.03)
            where = axes.get_xaxis_transform()
            axes.text(*place, name, transform=where, ha="center", color=GREY, parse_math=False)


def _legend(axes: Axes, title: str | None) -> None:
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
