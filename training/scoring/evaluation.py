"""All scores of a split's captions, how sure they are, and a person's beside them."""

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
from training.scoring import metrics
from training.scoring.meteor import MeteorUnavailable, meteor
from training.scoring.metrics import Corpus, Measure
from training.scoring.wording import Wording

SCORES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "BLEU-4 (nltk)", "METEOR", "ROUGE-L", "CIDEr")
SCORERS = (metrics.bleu, metrics.nltk_bleu, metrics.rouge, metrics.cider)  # and METEOR
RESAMPLES = 1000
CONFIDENCE = 0.95


class Score(NamedTuple):
    """A corpus score and the ends of its 95 % interval over photos."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """The captions of N photos and what they are worth; `assess` makes one."""

    names: tuple[str, ...]  # of the photos
    captions: tuple[str, ...]
    cider: tuple[float, ...]  # of each photo
    scores: dict[str, Score]  # those of `SCORES` that could be computed
    person: dict[str, float]  # the same of a person's captions; empty if not asked for
    unavailable: dict[str, str]  # score -> why it is missing

    @property
    def wording(self) -> Wording:
        return Wording.of(self.captions)

    def table(self) -> str:
        """Plain text, a line for each score; columns are two or more spaces apart."""
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
        # A reason may be long: it widens no column.
        shown = [row for row in rows if row[1] != "-"]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)

    def results(self) -> list[dict[str, int | str]]:
        """COCO's results format: ``[{"image_id", "caption"}, ...]``.

        The id is the photo's name, or COCO's own number if all photos are named as COCO's are
        (``COCO_val2014_000000391895.jpg``, ``000000391895.jpg``).
        """
        return [
            {"image_id": image_id, "caption": caption}
            for image_id, caption in zip(_image_ids(self.names), self.captions, strict=True)
        ]

    def write_json(self, path: str | Path, about: Mapping[str, Any] | None = None) -> Path:
        """Write the captions as `results` to PATH.json and the rest to PATH.scores.json beside it.

        PATH.json is what `pycocotools.coco.COCO.loadRes` reads. PATH.scores.json is an object:
        ``scores`` (name to ``value``, ``low``, ``high``), ``person`` (name to value),
        ``unavailable`` (name to reason), ``wording`` (the counts of `Wording`), ``photos`` (a list
        of ``image_id``, ``cider``) and ``about``. Each file appears whole or not at all.

        Parameters
        ----------
        about
            How the captions were made, such as checkpoint, split and search; JSON values.

        Returns
        -------
        The path of the scores.

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
    """Return the file of scores that `Evaluation.write_json` writes beside that of captions.

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
    """All scores, with intervals, and a person's.

    The intervals are percentiles of the scores of `RESAMPLES` corpora whose photos are drawn with
    replacement (Efron and Tibshirani 1993, section 13.3); they say how far the choice of photos
    matters, not the choice of a training's seed.

    A person's scores are those of one reference of each photo against the photo's others, the mean
    over leaving out each in turn. They need two references for every photo and are left out
    otherwise. A person has one reference less to agree with than the candidates have, which makes
    the person's scores a little low.

    Parameters
    ----------
    candidates
        One caption a photo.
    references
        For each photo what people wrote, at least one caption.
    names
        The photos' names, each once.
    seed
        Of the photos drawn: the same seed gives the same intervals.

    Raises
    ------
    ValueError
        The lengths differ, there are no photos, or a photo has no reference.
    """
    if len(names) != len(candidates):
        raise ValueError(f"{len(names)} names for {len(candidates)} candidates")
    corpus = Corpus.of(candidates, references)
    corpora = [corpus, *(_people(corpus) if person else [])]
    measured = [[scorer(corpus) for scorer in SCORERS] for corpus in corpora]
    unavailable = {}
    try:
        for measures, found in zip(measured, meteor(corpora), strict=True):
            measures.append(found)
    except MeteorUnavailable as error:  # what else is known is worth having without it
        unavailable["METEOR"] = str(error)

    values, *others = [_scores(measures) for measures in measured]
    intervals = _intervals(measured[0], seed)
    each = next(measure.rows[:, 0] for measure in measured[0] if "CIDEr" in measure.scores)
    return Evaluation(
        names=tuple(names),
        captions=tuple(candidates),
        cider=tuple(each.tolist()),
        scores={name: Score(value, *intervals[name]) for name, value in values.items()},
        person={name: fmean(o[name] for o in others) for name in values} if others else {},
        unavailable=unavailable,
    )


def _people(corpus: Corpus) -> list[Corpus]:
    """As often as there are references for every photo: one of them against the others."""
    references = [[text for text in texts if text] for texts in corpus.references]
    turns = min(map(len, references))
    return [
        Corpus(
            tuple(texts[turn] for texts in references),
            tuple((*texts[:turn], *texts[turn + 1 :]) for texts in references),
        )
        for turn in range(turns if turns > 1 else 0)
    ]


def _scores(measures: Sequence[Measure]) -> dict[str, float]:
    values = {name: value for measure in measures for name, value in measure.scores.items()}
    return {name: values[name] for name in SCORES if name in values}


def _intervals(measures: Sequence[Measure], seed: int) -> dict[str, tuple[float, float]]:
    """Percentile intervals; all scores see the same resampled corpora."""
    generator = np.random.default_rng(seed)
    rows = np.hstack([measure.rows for measure in measures])
    photos = len(rows)
    draws = (generator.integers(photos, size=photos) for _ in range(RESAMPLES))
    sums = np.stack([np.bincount(draw, minlength=photos) @ rows for draw in draws])
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]  # per cent
    intervals, start = {}, 0
    for measure in measures:
        end = start + measure.rows.shape[1]
        low, high = np.percentile(measure.of_sums(sums[:, start:end]), tails, axis=0)
        for i, name in enumerate(measure.scores):
            intervals[name] = float(low[i]), float(high[i])
        start = end
    return intervals


def _image_ids(names: Sequence[str]) -> Sequence[int | str]:
    found = [re.fullmatch(r"(?:COCO_\w+_)?(\d{12})", Path(name).stem) for name in names]
    # All or none: another dataset may have a name that only looks like one of COCO's.
    numbers = [int(match[1]) for match in found if match]
    return numbers if len(numbers) == len(names) else list(names)


def _write(path: Path, content: object) -> None:
    # COCO's tools read with whatever encoding the machine has: nothing but ASCII is written.
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode("ascii"))
