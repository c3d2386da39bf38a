"""CIDEr-D as a reward equals the reference scorer's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider

from training.scoring.cider import CiderD

WORDS = ["a", "dog", "cat", "runs", "on", "grass"]
captions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9)
corpora = st.lists(
    st.tuples(captions, st.lists(captions, min_size=1, max_size=3)), min_size=1, max_size=5
)


@given(corpora)
def test_scores_equal_the_reference_scorers(
    corpus: list[tuple[list[str], list[list[str]]]],
) -> None:
    references = {i: texts for i, (_, texts) in enumerate(corpus)}
    ours = [CiderD(references).scores(i, [words])[0] for i, (words, _) in enumerate(corpus)]
    _, theirs = Cider().compute_score(
        {i: [" ".join(words) for words in texts] for i, texts in references.items()},
        {i: [" ".join(words)] for i, (words, _) in enumerate(corpus)},
    )
    assert ours == pytest.approx(theirs.tolist(), abs=1e-9)


def test_several_captions_of_one_photo() -> None:
    """The scores come in the order of the captions; a person's own caption scores best."""
    references = {
        0: [["a", "dog", "runs", "on", "grass", "<end>"]],
        1: [["a", "cat", "sleeps", "<end>"]],
        2: [["two", "men", "talk", "<end>"]],
    }
    whole, cut, other = CiderD(references).scores(
        0, [references[0][0], ["a", "dog", "runs", "on", "<end>"], references[1][0]]
    )
    assert whole == pytest.approx(10)
    assert whole > cut > other
