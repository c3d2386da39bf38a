"""Scores with their intervals and a person's; the files that they are written to."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from training.data.prepare import prepare
from training.scoring import evaluation as evaluating
from training.scoring.corpus import Corpus, Measurement
from training.scoring.evaluation import Evaluation, assess
from training.scoring.metrics import METRICS, SCORES, Metric, score
from training.scoring.split import Split

WORDS = [
    "a",
    "the",
    "dog",
    "cat",
    "man",
    "girl",
    "runs",
    "sits",
    "in",
    "on",
    "grass",
    "snow",
    "hat",
]


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without METEOR an evaluation takes no time."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))


def corpus(photos: int, references: int = 3) -> tuple[list[str], list[list[str]], list[str]]:
    """Make captions that share some words with their references; return both, and names."""
    dice = random.Random(7)
    truth, candidates = [], []
    for _ in range(photos):
        words = dice.choices(WORDS, k=8)

        def sentence(words: list[str] = words) -> str:
            return " ".join(w if dice.random() < 0.7 else dice.choice(WORDS) for w in words)

        candidates.append(sentence())
        truth.append([sentence() for _ in range(references)])
    return candidates, truth, [f"{i}.jpg" for i in range(photos)]


def parsed(table: str) -> dict[str, list[str]]:
    rows = [re.split(r"\s{2,}", line) for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.slow
@pytest.mark.usefixtures("no_java")
def test_intervals_hold_the_value_and_shrink_with_more_photos() -> None:
    few, many = assess(*corpus(40)), assess(*corpus(360))
    for name, found in many.scores.items():
        assert found.low < found.value < found.high
        assert found.value == pytest.approx(score(*corpus(360)[:2]).get(name, found.value))
        # Nine times the photos, a third of the width.
        width = (found.high - found.low) / (few.scores[name].high - few.scores[name].low)
        assert 0.2 < width < 0.6


@pytest.mark.usefixtures("no_java")
def test_an_interval_is_as_wide_as_theory_says() -> None:
    """The interval of a mean is 1.96 standard errors to either side."""
    evaluation = assess(*corpus(300), person=False)
    each = evaluation.cider
    mean = sum(each) / len(each)
    error = (sum((value - mean) ** 2 for value in each) / len(each) ** 2) ** 0.5
    found = evaluation.scores["CIDEr"]
    assert found.value == pytest.approx(mean)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.2 * error)


@pytest.mark.usefixtures("no_java")
def test_the_seed_decides_the_intervals_alone() -> None:
    assert assess(*corpus(30)) == assess(*corpus(30))
    other = assess(*corpus(30), seed=2)
    assert other.scores["CIDEr"].value == assess(*corpus(30)).scores["CIDEr"].value
    assert other.scores["CIDEr"].low != assess(*corpus(30)).scores["CIDEr"].low


@pytest.mark.usefixtures("no_java")
def test_a_persons_scores_by_hand() -> None:
    """Whichever caption is scored, two of three words are in the other, and one of two pairs."""
    references = [["a dog runs", "a dog sleeps"], ["two men talk", "two men laugh", "..."]]
    evaluation = assess(["a cat", "a cat"], references, ["1.jpg", "2.jpg"])
    assert evaluation.person["BLEU-1"] == pytest.approx(2 / 3)
    assert evaluation.person["BLEU-2"] == pytest.approx((2 / 3 * 1 / 2) ** 0.5)
    assert evaluation.person["ROUGE-L"] == pytest.approx(2 / 3)
    assert evaluation.person.keys() == evaluation.scores.keys()

    for alone in (
        assess(["a cat", "a cat"], references, ["1.jpg", "2.jpg"], person=False),
        assess(["a cat", "a cat"], [references[0], ["two men"]], ["1.jpg", "2.jpg"]),
    ):
        assert alone.person == {}
        assert "a person" not in alone.table()


@pytest.mark.usefixtures("no_java")
def test_a_persons_score_is_the_mean_over_all_persons() -> None:
    candidates, references, names = corpus(10)
    turns = [
        score(
            [texts[i] for texts in references], [texts[:i] + texts[i + 1 :] for texts in references]
        )
        for i in range(3)
    ]
    person = assess(candidates, references, names).person
    for name in turns[0]:
        assert person[name] == pytest.approx(sum(turn[name] for turn in turns) / 3)


@pytest.mark.slow
def test_the_table_has_every_score() -> None:
    evaluation = assess(*corpus(20))
    lines = evaluation.table().splitlines()
    rows = parsed(evaluation.table())
    assert list(rows) == ["score", *SCORES]
    assert rows["score"] == ["value", "95 % interval", "a person"]
    for name in SCORES:
        found = evaluation.scores[name]
        value, interval, person = rows[name]
        assert float(value) == pytest.approx(found.value, abs=5e-5)
        assert [float(end) for end in interval.split(" to ")] == pytest.approx(
            [found.low, found.high], abs=5e-5
        )
        assert float(person) == pytest.approx(evaluation.person[name], abs=5e-5)
    for heading in ("value", "95 % interval", "a person"):
        column = lines[0].index(heading)
        assert all(line[column - 1] == " " != line[column] for line in lines)


@pytest.mark.usefixtures("no_java")
def test_without_java_all_other_scores_are_there() -> None:
    evaluation = assess(*corpus(20))
    assert list(evaluation.scores) == [name for name in SCORES if name != "METEOR"]
    rows = parsed(evaluation.table())
    assert rows["METEOR"][0] == "-"
    assert rows["METEOR"][1].startswith("METEOR needs Java, and ")
    assert len(rows["CIDEr"]) == 3


@pytest.mark.usefixtures("no_java")
def test_a_metric_is_added_by_a_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """It then has a value, an interval, a person's value, and a line of the table."""

    def words(corpora: Sequence[Corpus]) -> list[Measurement]:
        rows = [np.array([[float(len(t.split()))] for t in c.candidates]) for c in corpora]
        return [
            Measurement({"words": float(each.mean())}, each, lambda sums: sums / 20)
            for each in rows
        ]

    monkeypatch.setattr(evaluating, "METRICS", (*METRICS, Metric(("words",), words)))
    monkeypatch.setattr(evaluating, "SCORES", (*SCORES, "words"))
    evaluation = assess(*corpus(20))
    assert evaluation.scores["words"] == (8, 8, 8)
    assert evaluation.person["words"] == 8
    assert parsed(evaluation.table())["words"] == ["8.0000", "8.0000 to 8.0000", "8.0000"]


@pytest.mark.usefixtures("no_java")
def test_coco_reads_the_captions(tmp_path: Path) -> None:
    candidates, references, _ = corpus(2)
    candidates[0] = "a caf\u00e9"
    names = ["COCO_val2014_000000391895.jpg", "COCO_val2014_000000000042.jpg"]
    evaluation = assess(candidates, references, names)
    scores = evaluation.write_json(tmp_path / "new" / "val.json", {"beam_size": 3})

    annotations = tmp_path / "annotations.json"
    images = [{"id": 391895}, {"id": 42}]
    annotations.write_text(json.dumps({"images": images, "annotations": []}))
    found = COCO(str(annotations)).loadRes(str(tmp_path / "new" / "val.json"))
    assert [a["caption"] for a in found.imgToAnns[391895]] == ["a caf\u00e9"]
    assert [a["caption"] for a in found.imgToAnns[42]] == [candidates[1]]

    assert scores == tmp_path / "new" / "val.scores.json"
    written = json.loads(scores.read_text())
    assert written["about"] == {"beam_size": 3}
    assert written["scores"]["CIDEr"] == evaluation.scores["CIDEr"]._asdict()
    assert written["person"] == evaluation.person
    assert "METEOR needs Java" in written["unavailable"]["METEOR"]
    assert written["photos"] == [
        {"image_id": 391895, "cider": evaluation.cider[0]},
        {"image_id": 42, "cider": evaluation.cider[1]},
    ]
    assert {path.name for path in scores.parent.iterdir()} == {"val.json", "val.scores.json"}


def bare(names: list[str]) -> Evaluation:
    return Evaluation(tuple(names), ("a",) * len(names), (0.0,) * len(names), {}, {}, {})


def test_photos_that_are_not_cocos_keep_their_names() -> None:
    for names in (
        ["1000268201_693b08cb0e.jpg", "000000000042.jpg"],
        ["1000092795.jpg"],
        ["123_000000000042.jpg"],
    ):
        assert [result["image_id"] for result in bare(names).results()] == names
    assert bare(["000000000042.jpg"]).results() == [{"image_id": 42, "caption": "a"}]


def test_what_was_there_stays_if_writing_fails(tmp_path: Path) -> None:
    bare(["1.jpg"]).write_json(tmp_path / "val.json")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        bare(["2.jpg"]).write_json(tmp_path / "val.json", {"device": object()})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(ValueError, match=r"val.txt: .* must be named \*.json"):
        bare(["1.jpg"]).write_json(tmp_path / "val.txt")


def test_each_caption_has_a_name() -> None:
    with pytest.raises(ValueError, match="1 names for 2 captions"):
        assess(["a", "b"], [["a"], ["b"]], ["1.jpg"])


def test_a_split_has_one_order_prepared_or_not(dataset: Path, tmp_path: Path) -> None:
    """Resampled corpora are drawn by place: in another order the intervals would be others."""
    prepare(dataset, tmp_path / "data", 64)
    raw, prepared = (Split.open(data, "val", 64) for data in (dataset, tmp_path / "data"))
    assert list(raw.names) == list(prepared.names)
    assert list(raw.references) == list(prepared.references)
