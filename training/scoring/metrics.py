"""The metrics that captions are scored by: the one table that all else goes by.

To add a metric, write what measures it (`training.scoring.scorers`, or a module of its own where it
is long) and add a row to `METRICS`. `captioner evaluate` then prints it with its interval and a
person's value. With ``every_epoch`` it is also written into a training's ``metrics.jsonl``, drawn
in the report and listed in the model card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.scoring.corpus import Corpus, Measurement
from training.scoring.meteor import meteor
from training.scoring.scorers import bleu, cider, nltk_bleu, rouge


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Parameters
    ----------
    scores
        The names of the scores that it gives.
    measure
        Gives a measurement for each of several corpora; may raise
        `training.scoring.corpus.MetricUnavailable`.
    every_epoch
        Whether it is computed after each epoch of a training, so it should take milliseconds.
    """

    scores: tuple[str, ...]
    measure: Callable[[Sequence[Corpus]], list[Measurement]]
    every_epoch: bool = True


def _one_by_one(
    scorer: Callable[[Corpus], Measurement],
) -> Callable[[Sequence[Corpus]], list[Measurement]]:
    return lambda corpora: [scorer(corpus) for corpus in corpora]


METRICS = (
    Metric(("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"), _one_by_one(bleu)),
    Metric(("BLEU-4 (nltk)",), _one_by_one(nltk_bleu), every_epoch=False),
    Metric(("METEOR",), meteor, every_epoch=False),  # its Java takes seconds to start
    Metric(("ROUGE-L",), _one_by_one(rouge)),
    Metric(("CIDEr",), _one_by_one(cider)),
)
SCORES = tuple(name for metric in METRICS for name in metric.scores)
EVERY_EPOCH = tuple(name for metric in METRICS if metric.every_epoch for name in metric.scores)


def score(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the scores in `EVERY_EPOCH`, each 0..1, but for CIDEr, which may be above 1.

    Parameters
    ----------
    candidates
        One caption a photo.
    references
        For each photo what people wrote, at least one caption. CIDEr weighs words by these
        references, so scores on different sets of photos do not compare.

    Raises
    ------
    ValueError
        As `Corpus.tokenized`.
    """
    corpus = Corpus.tokenized(candidates, references)
    measured = (metric.measure([corpus])[0] for metric in METRICS if metric.every_epoch)
    return {name: value for measurement in measured for name, value in measurement.scores.items()}
