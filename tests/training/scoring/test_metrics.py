"""The table of metrics, and the scores of the reference scorers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from training.scoring.corpus import Corpus, Measurement
from training.scoring.metrics import EVERY_EPOCH, METRICS, score
from training.scoring.scorers import bleu, cider, nltk_bleu, rouge

REFERENCES = [
    ["A dog runs in the grass .", "the brown dog is running"],
    ["Two men play football .", "men playing a game"],
    ["A girl 's red hat", "a child in a hat"],
]


def test_a_perfect_caption_scores_1() -> None:
    scores = score([r[0] for r in REFERENCES], REFERENCES)
    assert tuple(scores) == EVERY_EPOCH
    assert scores["BLEU-4"] == pytest.approx(1.0, abs=1e-6)
    assert scores["ROUGE-L"] == pytest.approx(1.0)


def test_metrics_give_the_scores_that_the_table_names() -> None:
    corpus = Corpus.tokenized([r[0] for r in REFERENCES], REFERENCES)
    for metric in METRICS:
        if metric.every_epoch:
            (measurement,) = metric.measure([corpus])
            assert tuple(measurement.scores) == metric.scores


def test_bleu_by_hand() -> None:
    """Four of five words are right, three of four pairs; as long as the reference."""
    scores = score(["a dog runs in snow"], [["a dog runs in grass"]])
    assert scores["BLEU-1"] == pytest.approx(4 / 5)
    assert scores["BLEU-2"] == pytest.approx(math.sqrt(4 / 5 * 3 / 4))


def test_brevity_is_penalised() -> None:
    scores = score(["a dog"], [["a dog runs in grass"]])
    assert scores["BLEU-1"] == pytest.approx(math.exp(1 - 5 / 2))


def test_case_and_punctuation_do_not_count() -> None:
    plain = score(["a girl 's red hat", "men playing", "dog"], REFERENCES)
    fancy = score(["A girl's red hat.", "Men, playing!", "DOG"], REFERENCES)
    assert plain == fancy


def test_cider_rewards_rare_words_over_common_ones() -> None:
    references = [["a dog"], ["a cat"], ["a hat"], ["a bird"]]
    common = score(["a", "a", "a", "a"], references)["CIDEr"]
    rare = score(["dog", "cat", "hat", "bird"], references)["CIDEr"]
    assert common == pytest.approx(0.0, abs=1e-6)
    assert rare > 1


def test_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="1 captions for 3 photos"):
        score(["a"], REFERENCES)
    with pytest.raises(ValueError, match="0 captions"):
        score([], [])
    with pytest.raises(ValueError, match="1 photos have no reference, the first is photo 1"):
        score(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="no reference has a word"):
        score(["a"], [["..."]])


# Few different words and lengths: captions agree often, repeat words, and are empty at times.
WORDS = ["a", "dog", "runs", "in", "the", "grass"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
PHOTOS = st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=4)), min_size=1, max_size=8)
CORPORA = PHOTOS.filter(lambda photos: any(any(texts) for _, texts in photos)).map(
    lambda photos: Corpus.tokenized([text for text, _ in photos], [texts for _, texts in photos])
)


@settings(deadline=None)
@given(CORPORA)
def test_scores_equal_the_reference_scorers(corpus: Corpus) -> None:
    truth = {i: list(texts) for i, texts in enumerate(corpus.references)}
    result = {i: [text] for i, text in enumerate(corpus.candidates)}
    values, _ = Bleu(4).compute_score(truth, result, verbose=0)
    assert list(bleu(corpus).scores.values()) == pytest.approx(values)
    assert rouge(corpus).scores == {"ROUGE-L": Rouge().compute_score(truth, result)[0]}
    assert cider(corpus).scores == {"CIDEr": Cider().compute_score(truth, result)[0]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = corpus_bleu(
            [[text.split() for text in texts] for texts in corpus.references],
            [text.split() for text in corpus.candidates],
        )
    assert nltk_bleu(corpus).scores == {"BLEU-4 (nltk)": value}


@pytest.mark.parametrize("measured_by", [bleu, nltk_bleu, rouge, cider])
@settings(deadline=None)
@given(CORPORA)
def test_statistics_summed_give_the_scores(
    measured_by: Callable[[Corpus], Measurement], corpus: Corpus
) -> None:
    measurement = measured_by(corpus)
    whole = measurement.rows.sum(axis=0)
    values = measurement.from_sums(np.stack([whole, 2 * whole]))
    assert values[0] == pytest.approx(list(measurement.scores.values()))
    assert len(measurement.rows) == len(corpus.candidates)


def test_statistics_of_photos_drawn_twice() -> None:
    """BLEU of a resampled corpus is that of its captions written out."""
    corpus = Corpus.tokenized(["a dog runs", "two men play", "a hat"], REFERENCES)
    drawn = [2, 0, 2]
    written_out = Corpus.tokenized(
        [corpus.candidates[i] for i in drawn], [corpus.references[i] for i in drawn]
    )
    for measured_by in (bleu, nltk_bleu):
        measurement = measured_by(corpus)
        value = measurement.from_sums(measurement.rows[drawn].sum(axis=0, keepdims=True))[0]
        assert value == pytest.approx(list(measured_by(written_out).scores.values()))
