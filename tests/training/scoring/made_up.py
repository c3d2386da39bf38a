"""Captions whose odds of being good are known, for tests of their confidence."""

from __future__ import annotations

import numpy as np

from training.scoring.captions import GeneratedCaption
from training.scoring.evaluation import Evaluation

SLOPE, INTERCEPT = 5.0, 5.5


def sigmoid(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def draw_goodness(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Draw the mean log-probabilities of captions, and which captions are good by these odds."""
    generator = np.random.default_rng(seed)
    values = generator.normal(-1.1, 0.3, count)
    return values, generator.random(count) < sigmoid(SLOPE * values + INTERCEPT)


def captions_with_scores(
    count: int, person: float | None = 0.8
) -> tuple[list[GeneratedCaption], Evaluation]:
    """Make captions of 9 words that have a CIDEr of 0.6 if they are good, else of 0.1."""
    values, good = draw_goodness(count)
    cider = tuple(np.where(good, 0.6, 0.1).tolist())
    names = tuple(map(str, range(count)))
    texts = ("a dog",) * count
    evaluation = Evaluation(names, texts, cider, {}, {"CIDEr": person} if person else {}, {})
    return [GeneratedCaption("a dog", 10 * value, 9) for value in values.tolist()], evaluation
