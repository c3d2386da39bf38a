"""Scores of captions against their references: BLEU-1..4, ROUGE-L and CIDEr-D.

The scorers are pycocoevalcap's, the field's reference scorer, and nltk's; METEOR is in
`training.scoring.meteor`.
The tokenizer is ours, `tokenize`, for all of them: it gives the referee's own tokens for 99.9 % of
Flickr8k's captions and needs no Java.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from nltk.translate.bleu_score import corpus_bleu
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from model.word_map import tokenize

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Corpus:
    """Captions of N photos and their references, as words between single spaces."""

    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Corpus:
        """Tokenize; raises `ValueError` if there is nothing to score or to score against."""
        if not candidates or len(candidates) != len(references):
            raise ValueError(f"{len(candidates)} candidates for {len(references)} photos")
        if bare := [i for i, texts in enumerate(references) if not texts]:
            raise ValueError(f"{len(bare)} photos have no reference, the first is photo {bare[0]}")
        truth = tuple(tuple(" ".join(tokenize(text)) for text in texts) for texts in references)
        if not any(any(texts) for texts in truth):
            raise ValueError("no reference has a word in it")
        return cls(tuple(" ".join(tokenize(text)) for text in candidates), truth)


@dataclass(frozen=True)
class Measure:
    """Scores of a corpus that follow from statistics summed over its photos.

    Summed over photos drawn again and again, the same statistics give the scores' intervals.
    """

    scores: dict[str, float]  # of the whole corpus
    rows: Floats  # the statistics, shape = (N, S)
    of_sums: Callable[[Floats], Floats]  # shape = (R, S) -> (R, len(scores))


def score(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Corpus scores, 0..1 (CIDEr-D from 0, a person's being about 0.8 on Flickr8k).

    Parameters
    ----------
    candidates
        One caption a photo.
    references
        For each photo what people wrote, at least one caption. CIDEr weighs words by these
        references, so scores on different sets of photos do not compare.
    """
    corpus = Corpus.of(candidates, references)
    return bleu(corpus).scores | rouge(corpus).scores | cider(corpus).scores


def bleu(corpus: Corpus) -> Measure:
    """BLEU-1..4 (Papineni et al. 2002) as pycocoevalcap computes them."""
    scorer, rows = _bleu_statistics(corpus)
    values, _ = scorer.compute_score(option="closest", verbose=0)
    return Measure({f"BLEU-{n}": float(v) for n, v in enumerate(values, 1)}, rows, _bleu_of_sums)


def nltk_bleu(corpus: Corpus) -> Measure:
    """BLEU-4 as `nltk.translate.bleu_score.corpus_bleu` computes it.

    It is pycocoevalcap's, but for captions of less than four words: nltk counts every caption as
    having at least one n-gram of each length.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that no 4-gram fits; the score of 0 says so
        value = corpus_bleu(
            [[text.split() for text in texts] for texts in corpus.references],
            [text.split() for text in corpus.candidates],
        )
    _, rows = _bleu_statistics(corpus)
    rows[:, 2:6] = np.maximum(rows[:, 2:6], 1)
    return Measure({"BLEU-4 (nltk)": float(value)}, rows, _nltk_bleu_of_sums)


def rouge(corpus: Corpus) -> Measure:
    """ROUGE-L (Lin 2004) as pycocoevalcap computes it: the mean over photos."""
    return _mean_over_photos("ROUGE-L", Rouge(), corpus)


def cider(corpus: Corpus) -> Measure:
    """CIDEr-D (Vedantam et al. 2015) as pycocoevalcap computes it: the mean over photos.

    Document frequencies are those of the whole corpus, for every sum of photos.
    """
    return _mean_over_photos("CIDEr", Cider(), corpus)


def _mean_over_photos(name: str, scorer: Rouge | Cider, corpus: Corpus) -> Measure:
    truth = {i: list(texts) for i, texts in enumerate(corpus.references)}
    result = {i: [text] for i, text in enumerate(corpus.candidates)}
    mean, each = scorer.compute_score(truth, result)
    rows = np.asarray(each, dtype=np.float64)[:, None]
    return Measure({name: float(mean)}, rows, lambda sums: sums / len(rows))


def _bleu_statistics(corpus: Corpus) -> tuple[BleuScorer, Floats]:
    """The referee and its counts for each photo.

    Columns are words, words of the reference closest in length, n-grams and those of them that are
    in a reference, n = 1..4; shape = (N, 10).
    """
    scorer = BleuScorer(n=4)
    for text, texts in zip(corpus.candidates, corpus.references, strict=True):
        scorer += (text, list(texts))
    rows = [
        [words := counts["testlen"], min((abs(n - words), n) for n in counts["reflen"])[1]]
        + counts["guess"]
        + counts["correct"]
        for counts in scorer.ctest
    ]
    return scorer, np.array(rows, dtype=np.float64)


def _bleu_of_sums(sums: Floats) -> Floats:
    """BLEU-1..4, shape = (R, 4), with the referee's own guards against dividing by zero."""
    small, tiny = 1e-9, 1e-15
    ratio = (sums[:, :1] + tiny) / (sums[:, 1:2] + small)
    precisions = (sums[:, 6:] + tiny) / (sums[:, 2:6] + small)
    means = np.cumprod(precisions, axis=1) ** (1 / np.arange(1, 5))
    return means * np.exp(np.minimum(0, 1 - 1 / ratio))


def _nltk_bleu_of_sums(sums: Floats) -> Floats:
    """BLEU-4, shape = (R, 1)."""
    words, closest, correct = sums[:, 0], sums[:, 1], sums[:, 6:]
    precisions = np.where(correct > 0, correct / sums[:, 2:6], sys.float_info.min)
    brevity = np.exp(np.minimum(0, 1 - closest / np.maximum(words, 1)))
    value = brevity * np.exp(np.log(precisions).mean(axis=1))
    return np.where(correct[:, 0] > 0, value, 0)[:, None]
