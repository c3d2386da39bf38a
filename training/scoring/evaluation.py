"""All scores of a split's captions, with confidence intervals and the scores of a person."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from model.files import write_whole
from training.scoring.corpus import Corpus, Measurement, MetricUnavailable
from training.scoring.metrics import METRICS, SCORES
from training.scoring.wording import Wording

RESAMPLES = 1000
CONFIDENCE = 0.95  # of the intervals


class Score(NamedTuple):
    """A score of a corpus and the ends of its 95 % confidence interval over photos."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """The captions of N photos and their scores; `assess` makes one."""

    names: tuple[str, ...]  # of the N photos
    captions: tuple[str, ...]  # one a photo
    cider: tuple[float, ...]  # CIDEr-D of each caption
    scores: dict[str, Score]  # name -> score of all captions, those of `SCORES` that are available
    person: dict[str, float]  # name -> score of a person's captions; empty if there are none
    unavailable: dict[str, str]  # name -> why this score is missing

    @property
    def wording(self) -> Wording:
        return Wording.counted(self.captions)

    def table(self) -> str:
        """Return the scores as plain text, one a line; columns are two or more spaces apart."""
        rows = [["score", "value", "95 % interval", "a person"]]
        for name in SCORES:
            if name in self.scores:
                score = self.scores[name]
                interval = f"{score.low:.4f} to {score.high:.4f}"
                rows.append([name, f"{score.value:.4f}", interval])
                rows[-1] += [f"{self.person[name]:.4f}"] if self.person else []
            else:
                rows.append([name, "-", self.unavailable[name]])
        if not self.person:
            rows[0].pop()
        # A long reason must not widen the columns.
        return _in_columns(rows, [row for row in rows if row[1] != "-"])

    def results(self) -> list[dict[str, int | str]]:
        """Return the captions in COCO's results format: ``[{"image_id", "caption"}, ...]``.

        An ``image_id`` is the photo's name, or COCO's own number if all photos are named like
        COCO's (``COCO_val2014_000000391895.jpg``, ``000000391895.jpg``).
        """
        return [
            {"image_id": image_id, "caption": caption}
            for image_id, caption in zip(_image_ids(self.names), self.captions, strict=True)
        ]

    def write_json(self, path: str | Path, about: Mapping[str, Any] | None = None) -> Path:
        """Write the captions to PATH.json and everything else to PATH.scores.json beside it.

        PATH.json holds `results`, which `pycocotools.coco.COCO.loadRes` reads. PATH.scores.json is
        an object: ``scores`` (name to ``value``, ``low``, ``high``), ``person`` (name to value),
        ``unavailable`` (name to reason), ``wording`` (the counts of `Wording`), ``photos`` (a list
        of ``image_id``, ``cider``) and ``about``. Each file appears whole or not at all.

        Parameters
        ----------
        about
            How the captions were made, such as checkpoint, split and search; JSON values.

        Returns
        -------
        The path of PATH.scores.json.

        Raises
        ------
        ValueError
            The path does not end in ``.json``.
        """
        path = Path(path)
        beside = scores_path(path)
        scores = {
            "about": dict(about or {}),
            "scores": {name: score._asdict() for name, score in self.scores.items()},
            "person": self.person,
            "unavailable": self.unavailable,
            "wording": self.wording._asdict(),
            "photos": [
                {"image_id": image_id, "cider": value}
                for image_id, value in zip(_image_ids(self.names), self.cider, strict=True)
            ],
        }
        _write(beside, scores)
        _write(path, self.results())
        return beside


def scores_path(captions: Path) -> Path:
    """Return the path of the scores that `Evaluation.write_json` writes beside the captions.

    Raises
    ------
    ValueError
        The path does not end in ``.json``.
    """
    if captions.suffix != ".json":
        raise ValueError(f"{captions}: the file of captions must be named *.json")
    return captions.with_suffix(".scores.json")


def assess(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    names: Sequence[str],
    seed: int = 1,
    person: bool = True,
) -> Evaluation:
    """Compute all scores of the captions, their confidence intervals, and the scores of a person.

    The intervals are percentiles of the scores of `RESAMPLES` corpora whose photos are drawn with
    replacement (Efron and Tibshirani 1993, section 13.3). They show how much the scores depend on
    the choice of photos, not on the seed of a training.

    A person's scores are those of one reference of each photo against the photo's other references:
    the mean over taking each reference in turn. They need two references for every photo; without
    them there is no person. A person's captions are compared with one reference fewer than the
    candidates, which makes a person's scores a little low.

    Parameters
    ----------
    candidates
        One caption a photo.
    references
        For each photo what people wrote, at least one caption.
    names
        The photos' names, each once.
    seed
        Decides which photos are drawn: the same seed gives the same intervals.
    person
        Whether to compute a person's scores.

    Raises
    ------
    ValueError
        The lengths differ, there are no photos, or a photo has no reference.
    """
    if len(names) != len(candidates):
        raise ValueError(f"{len(names)} names for {len(candidates)} captions")
    corpus = Corpus.tokenized(candidates, references)
    (measured, *of_people), unavailable = _measured([corpus, *(_people(corpus) if person else [])])
    values, *others = [_values(measurements) for measurements in (measured, *of_people)]
    intervals = _intervals(measured, seed)
    each = next(measurement.rows[:, 0] for measurement in measured if "CIDEr" in measurement.scores)
    return Evaluation(
        names=tuple(names),
        captions=tuple(candidates),
        cider=tuple(each.tolist()),
        scores={name: Score(value, *intervals[name]) for name, value in values.items()},
        person={name: fmean(o[name] for o in others) for name in values} if others else {},
        unavailable=unavailable,
    )


def _measured(corpora: Sequence[Corpus]) -> tuple[list[list[Measurement]], dict[str, str]]:
    """Return the measurements of each corpus, and the scores that are unavailable with reasons."""
    measured: list[list[Measurement]] = [[] for _ in corpora]
    unavailable: dict[str, str] = {}
    for metric in METRICS:
        try:
            measurements = metric.measure(corpora)
        except MetricUnavailable as error:  # the other scores are worth having without it
            unavailable |= dict.fromkeys(metric.scores, str(error))
            continue
        for found, measurement in zip(measured, measurements, strict=True):
            found.append(measurement)
    return measured, unavailable


def _people(corpus: Corpus) -> list[Corpus]:
    """Return corpora in which one reference of each photo is the candidate, the others references.

    There are as many as every photo has references that are not empty; none if that is one.
    """
    references = [[text for text in texts if text] for texts in corpus.references]
    turns = min(map(len, references))
    return [
        Corpus(
            tuple(texts[turn] for texts in references),
            tuple((*texts[:turn], *texts[turn + 1 :]) for texts in references),
        )
        for turn in range(turns if turns > 1 else 0)
    ]


def _values(measurements: Sequence[Measurement]) -> dict[str, float]:
    return {name: value for found in measurements for name, value in found.scores.items()}


def _intervals(measurements: Sequence[Measurement], seed: int) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each score; all scores see the same resampled corpora."""
    generator = np.random.default_rng(seed)
    rows = np.hstack([measurement.rows for measurement in measurements])
    photos = len(rows)
    draws = (generator.integers(photos, size=photos) for _ in range(RESAMPLES))
    sums = np.stack([np.bincount(draw, minlength=photos) @ rows for draw in draws])
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]  # per cent
    intervals, start = {}, 0
    for measurement in measurements:
        end = start + measurement.rows.shape[1]
        low, high = np.percentile(measurement.from_sums(sums[:, start:end]), tails, axis=0)
        for i, name in enumerate(measurement.scores):
            intervals[name] = float(low[i]), float(high[i])
        start = end
    return intervals


def comparison(evaluations: Mapping[str, Evaluation]) -> str:
    """Return the scores of several data sets as plain text, one data set a line, and their means.

    Parameters
    ----------
    evaluations
        By what the data sets are called.
    """
    names = [n for n in SCORES if all(n in each.scores for each in evaluations.values())]
    values = {
        data: [each.scores[name].value for name in names] for data, each in evaluations.items()
    }
    values["mean"] = [fmean(column) for column in zip(*values.values(), strict=True)]
    rows = [["data", *names]]
    rows += [[data, *(f"{value:.4f}" for value in found)] for data, found in values.items()]
    return _in_columns(rows, rows)


def _in_columns(rows: Sequence[Sequence[str]], widest: Sequence[Sequence[str]]) -> str:
    """Return rows as lines, in columns two spaces apart that are as wide as in ``widest``."""
    widths = [max(map(len, column)) for column in zip(*widest, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _image_ids(names: Sequence[str]) -> Sequence[int | str]:
    """Return COCO's numbers if all photos are named like COCO's, else the names themselves."""
    found = [re.fullmatch(r"(?:COCO_\w+_)?(\d{12})", Path(name).stem) for name in names]
    # All or none: another dataset may have one name that only looks like one of COCO's.
    numbers = [int(match[1]) for match in found if match]
    return numbers if len(numbers) == len(names) else list(names)


def _write(path: Path, content: object) -> None:
    # COCO's tools read with the machine's own encoding, so only ASCII is written.
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode("ascii"))
