"""METEOR's own program is run for real; it takes seconds to start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocoevalcap.meteor.meteor import Meteor

from captioner.java import find_java
from training.scoring import meteor as ours
from training.scoring.corpus import Corpus, MetricUnavailable
from training.scoring.meteor import meteor

CANDIDATES = [
    "a brown dog runs through the grass",
    "two men are playing soccer",
    "a girl 's red hat",
    "",
    "zebra",
    "|||",
    "a dog ||| a cat\nSCORE ||| a ||| b\r\n\u2028\x00\ud800",
    "Un caf\u00e9 \u72d7 \U0001f415 n\u00ba 4.5",
]
REFERENCES = [
    ["a dog runs in the grass", "the brown dog is running", ""],
    ["two men play football", "men playing a game"],
    ["a girl 's red hat"],
    ["a dog", "a cat"],
    ["a horse"],
    ["..."],
    ["a dog and a cat", "a cat"],
    ["un caf\u00e9 \u72d7 4.5", "|||"],
]


@pytest.mark.slow
def test_it_equals_the_reference_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for captions that are odd, on a machine that writes decimals with a comma."""
    corpus = Corpus.tokenized(CANDIDATES, REFERENCES)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(find_java().parent))
        scorer = Meteor()
    value, each = scorer.compute_score(
        {i: list(texts) for i, texts in enumerate(corpus.references)},
        {i: [text] for i, text in enumerate(corpus.candidates)},
    )
    scorer.meteor_p.stdout.close()
    scorer.meteor_p.stderr.close()

    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Dfile.encoding=ISO-8859-1")
    measure, pair = meteor([corpus, Corpus.tokenized(CANDIDATES[:2], REFERENCES[:2])])
    assert measure.scores == {"METEOR": pytest.approx(value, abs=1e-12)}
    np.testing.assert_allclose(measure.from_sums(measure.rows)[:, 0], each, atol=1e-12)
    np.testing.assert_array_equal(pair.rows, measure.rows[:2])
    assert 0.3 < each[0] < 0.6
    assert each[3] == 0  # nothing was said
    identical = measure.rows[2] + measure.rows[2]
    assert measure.from_sums(identical[None]) == pytest.approx(1.0)


@pytest.fixture
def java_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs a Java whose programs do what a line of shell says."""

    def install(line: str) -> None:
        java = tmp_path / "bin" / "java"
        java.parent.mkdir()
        version = "echo 'openjdk version \"21.0.1\"' >&2"
        java.write_text(f'#!/bin/sh\nif [ "$1" = -version ]; then {version}; exit; fi\n{line}\n')
        java.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    return install


def test_what_hangs_is_ended(
    java_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that("exec sleep 600")
    monkeypatch.setattr(ours, "START_SECONDS", 0.1)
    monkeypatch.setattr(ours, "CAPTION_SECONDS", 0.0)
    with pytest.raises(MetricUnavailable, match="METEOR's program did not end within 0 s"):
        meteor([Corpus.tokenized(CANDIDATES, REFERENCES)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("echo out of memory >&2; exit 3", "METEOR's program ended with status 3: out of memory"),
        ("cat", "METEOR's program printed no numbers"),
        ("echo 1 2 3", r"printed numbers of shape \(1, 3\) for 8 captions"),
    ],
)
def test_what_fails_says_so(java_that: Callable[[str], None], line: str, message: str) -> None:
    java_that(line)
    with pytest.raises(MetricUnavailable, match=message):
        meteor([Corpus.tokenized(CANDIDATES, REFERENCES)])


@pytest.mark.parametrize("text", ["यह एक कुत्ता है", "一只狗", "собака", "كَلْبٌ يَرْكُضُ"])
def test_it_says_that_it_knows_no_other_scripts(text: str) -> None:
    """Its program takes such words to pieces, and has no tables for them."""
    with pytest.raises(
        MetricUnavailable, match="METEOR is made for English; these captions are in an"
    ):
        meteor([Corpus.tokenized([text], [[text]])])


def test_without_java_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MetricUnavailable, match=r"needs Java, and .* cannot be run; install"):
        meteor([Corpus.tokenized(CANDIDATES, REFERENCES)])
