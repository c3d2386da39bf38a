"""BLEU, ROUGE-L and CIDEr-D by the reference scorers: pycocoevalcap's, and nltk's BLEU-4.

pycocoevalcap is what papers on captioning report their scores by.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from nltk.translate.bleu_score import corpus_bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from training.scoring.corpus import Corpus, Floats, Measurement


def bleu(corpus: Corpus) -> Measurement:
    """Return BLEU-1 to BLEU-4 (Papineni et al. 2002) as pycocoevalcap computes them."""
    scorer, rows = _bleu_statistics(corpus)
    values, _ = scorer.compute_score(option="closest", verbose=0)
    scores = {f"BLEU-{n}": float(value) for n, value in enumerate(values, 1)}
    return Measurement(scores, rows, _bleu_from_sums)


def nltk_bleu(corpus: Corpus) -> Measurement:
    """Return BLEU-4 as `nltk.translate.bleu_score.corpus_bleu` computes it.

    It differs from pycocoevalcap's for captions of fewer than four words only: nltk counts every
    caption as having at least one n-gram of each length.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that no 4-gram matches; the score of 0 says so
        value = corpus_bleu(
            [[text.split() for text in texts] for texts in corpus.references],
            [text.split() for text in corpus.candidates],
        )
    _, rows = _bleu_statistics(corpus)
    rows[:, 2:6] = np.maximum(rows[:, 2:6], 1)
    return Measurement({"BLEU-4 (nltk)": float(value)}, rows, _nltk_bleu_from_sums)


def rouge(corpus: Corpus) -> Measurement:
    """Return ROUGE-L (Lin 2004) as pycocoevalcap computes it: the mean over photos."""
    return _mean_over_photos("ROUGE-L", Rouge(), corpus)


def cider(corpus: Corpus) -> Measurement:
    """Return CIDEr-D (Vedantam et al. 2015) as pycocoevalcap computes it: the mean over photos.

    Document frequencies are those of the whole corpus, in resampled corpora too.
    """
    return _mean_over_photos("CIDEr", Cider(), corpus)


def _mean_over_photos(name: str, scorer: Rouge | Cider, corpus: Corpus) -> Measurement:
    truth = {i: list(texts) for i, texts in enumerate(corpus.references)}
    result = {i: [text] for i, text in enumerate(corpus.candidates)}
    mean, each = scorer.compute_score(truth, result)
    rows = np.asarray(each, dtype=np.float64)[:, None]
    return Measurement({name: float(mean)}, rows, lambda sums: sums / len(rows))


def _bleu_statistics(corpus: Corpus) -> tuple[BleuScorer, Floats]:
    """Return pycocoevalcap's scorer and what it counts in each photo.

    The columns are the caption's words, the words of the reference closest in length, and for
    n = 1..4 the caption's n-grams and how many of them are in a reference; shape = (N, 10).
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


def _bleu_from_sums(sums: Floats) -> Floats:
    """Return BLEU-1 to BLEU-4, shape = (R, 4), guarded against 0 / 0 as in pycocoevalcap."""
    small, tiny = 1e-9, 1e-15
    ratio = (sums[:, :1] + tiny) / (sums[:, 1:2] + small)
    precisions = (sums[:, 6:] + tiny) / (sums[:, 2:6] + small)
    means = np.cumprod(precisions, axis=1) ** (1 / np.arange(1, 5))
    return means * np.exp(np.minimum(0, 1 - 1 / ratio))


def _nltk_bleu_from_sums(sums: Floats) -> Floats:
    """Return nltk's BLEU-4, shape = (R, 1)."""
    words, closest, correct = sums[:, 0], sums[:, 1], sums[:, 6:]
    precisions = np.where(correct > 0, correct / sums[:, 2:6], sys.float_info.min)
    brevity = np.exp(np.minimum(0, 1 - closest / np.maximum(words, 1)))
    value = brevity * np.exp(np.log(precisions).mean(axis=1))
    return np.where(correct[:, 0] > 0, value, 0)[:, None]
