"""The confidence of captions: its fit, what it is worth, and the command that makes it."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner.cli.main import main
from model import Captioner, checkpoint
from model.calibration import CALIBRATION, Calibration
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.scoring.calibration import (
    FOLDS,
    LEAST_PHOTOS,
    Reliability,
    accuracy_coverage,
    areas,
    calibrate,
    fit,
    judge,
    out_of_fold,
    write_picture,
)
from training.scoring.captions import GeneratedCaption
from training.scoring.evaluation import Evaluation

SLOPE, INTERCEPT = 5.0, 5.5


def sigmoid(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def drawn(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Mean log-probabilities, and whether captions are good by these odds."""
    generator = np.random.default_rng(seed)
    values = generator.normal(-1.1, 0.3, count)
    return values, generator.random(count) < sigmoid(SLOPE * values + INTERCEPT)


def corpus(count: int, person: float | None = 0.8) -> tuple[list[GeneratedCaption], Evaluation]:
    """Captions of 9 words that have a CIDEr of 0.6 if they are good, else of 0.1."""
    values, good = drawn(count)
    cider = tuple(np.where(good, 0.6, 0.1).tolist())
    names = tuple(map(str, range(count)))
    texts = ("a dog",) * count
    evaluation = Evaluation(names, texts, cider, {}, {"CIDEr": person} if person else {}, {})
    return [GeneratedCaption("a dog", 10 * value, 9) for value in values.tolist()], evaluation


def test_the_fit_finds_the_odds_that_were_drawn_from() -> None:
    slope, intercept = fit(*drawn(200_000))
    assert slope == pytest.approx(SLOPE, rel=0.02)
    assert intercept == pytest.approx(INTERCEPT, rel=0.02)


def test_the_fit_does_not_depend_on_scale() -> None:
    values, good = drawn(500)
    slope, intercept = fit(values, good)
    assert fit(1000 * values + 7, good) == pytest.approx(
        (slope / 1000, intercept - 7 * slope / 1000), rel=1e-5
    )


def test_no_fit_is_certain() -> None:
    values = np.linspace(-2, -0.5, 60)
    split = fit(values, values > -1)  # a step: without Platt's targets the slope has no end
    assert 0 < split[0] < 1000
    for good, share in ((values < 0, 61 / 62), (values > 0, 1 / 62)):
        slope, intercept = fit(values, good)
        assert sigmoid(slope * values + intercept) == pytest.approx(share, abs=1e-6)
    slope, intercept = fit(np.full(60, -1.1), values > -1)  # nothing to tell captions apart by
    assert slope == pytest.approx(0, abs=1e-3)
    assert sigmoid(intercept - 1.1 * slope) == pytest.approx((values > -1).mean(), abs=0.02)


def test_a_caption_has_no_say_in_its_own_confidence() -> None:
    """Turning one's worth moves the confidence of all but its own fold."""
    values, good = drawn(100)
    before = out_of_fold(values, good)
    for i in (0, 57):
        turned = good.copy()
        turned[i] = not turned[i]
        same = out_of_fold(values, turned) == before
        assert same[i]
        assert same.sum() == 100 / FOLDS


def test_accuracy_coverage_is_a_plain_loop() -> None:
    generator = np.random.default_rng(1)
    confidence, worth = generator.random(40), generator.random(40)
    pairs = sorted(zip(confidence, worth, strict=True), reverse=True)
    wanted = [sum(w for _, w in pairs[:n]) / n for n in range(1, 41)]
    np.testing.assert_allclose(accuracy_coverage(confidence, worth), wanted)
    found = areas(confidence, worth)
    assert found.confident == pytest.approx(sum(wanted) / 40)
    assert found.random == pytest.approx(worth.mean())
    assert found.best == pytest.approx(accuracy_coverage(worth, worth).mean())
    assert found.best >= found.confident


def test_equal_confidences_are_in_no_order() -> None:
    """The mean over both orders of the two in the middle."""
    curve = accuracy_coverage(np.array([0.5, 0.9, 0.5, 0.1]), np.array([1.0, 2.0, 0.0, 5.0]))
    np.testing.assert_allclose(curve, [2, 2.5 / 2, 1, 2])


def test_the_calibration_error_by_hand() -> None:
    """Twenty captions in ten groups of two, of which one group is all good and others half."""
    confidence = np.repeat(np.linspace(0.05, 0.95, 10), 2)
    cider = np.array([0.0, 1.0] * 9 + [1.0, 1.0])
    reliability = Reliability(confidence, cider, 0.5, "")
    off = [abs(c - 0.5) for c in np.linspace(0.05, 0.85, 9)] + [0.05]
    assert reliability.calibration_error() == pytest.approx(sum(off) / 10)
    assert [b.captions for b in reliability.bins()] == [2] * 10
    backwards = Reliability(confidence[::-1], cider[::-1], 0.5, "")
    assert backwards.bins() == reliability.bins()


def test_exact_confidences_are_off_by_chance_alone() -> None:
    values, _ = drawn(1000)
    confidence, found = sigmoid(SLOPE * values + INTERCEPT), []
    for seed in range(200):
        good = np.random.default_rng(100 + seed).random(1000) < confidence
        found.append(Reliability(confidence, good * 1.0, 0.5, "").calibration_error())
    chance = Reliability(confidence, confidence, 0.5, "").chance_error()
    assert chance == pytest.approx(np.mean(found), rel=0.05)


def test_calibrate_finds_what_is_good() -> None:
    captions, evaluation = corpus(2000)
    calibration, reliability = calibrate(captions, evaluation)
    assert calibration.threshold == 0.4  # half of a person's
    values = np.array([c.log_prob / (c.word_count + 1) for c in captions])
    assert (calibration.slope, calibration.intercept) == fit(values, reliability.good)
    # Where it matters, as the odds they were drawn from.
    own = judge(captions, evaluation, calibration)
    assert np.abs(own.confidence - sigmoid(SLOPE * values + INTERCEPT)).max() < 0.06
    assert np.abs(own.confidence - reliability.confidence).max() < 0.06
    assert (own.confidence != reliability.confidence).all()
    assert own.confidence[0] == calibration.confidence(captions[0].log_prob, captions[0].word_count)
    assert reliability.calibration_error() < 2 * reliability.chance_error()


def test_without_a_person_half_of_the_captions_are_good() -> None:
    captions, evaluation = corpus(100, person=None)
    assert calibrate(captions, evaluation)[0].threshold in (0.1, 0.35, 0.6)
    assert calibrate(captions, evaluation)[0].threshold == np.median(evaluation.cider)


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(ValueError, match=r"49 photos are too few .* at least 50"):
        calibrate(*corpus(LEAST_PHOTOS - 1))
    captions, evaluation = corpus(LEAST_PHOTOS, person=None)
    nothing = Evaluation(evaluation.names, evaluation.captions, (0.0,) * LEAST_PHOTOS, {}, {}, {})
    with pytest.raises(ValueError, match="no saying which are good"):
        calibrate(captions, nothing)


def test_without_a_calibration_captions_are_ranked_by_likelihood() -> None:
    captions, evaluation = corpus(100)
    plain = judge(captions, evaluation, None)
    fitted = judge(captions, evaluation, Calibration(SLOPE, INTERCEPT, 0.4))
    assert areas(plain.confidence, plain.cider) == areas(fitted.confidence, fitted.cider)
    lines = plain.table().splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "area under accuracy-coverage",
        "mean CIDEr",
    ]
    assert fitted.table().splitlines()[1:3] == lines[1:]
    assert f"error  {fitted.calibration_error():.4f}" in fitted.table()


@pytest.mark.parametrize("count", [1, 3, 200])
def test_the_picture(count: int, tmp_path: Path) -> None:
    captions, evaluation = corpus(count)
    out = tmp_path / "new" / "reliability.png"
    reliability = judge(captions, evaluation, Calibration(SLOPE, INTERCEPT, 0.4))
    sizes = []
    for person in (0.8, None):
        write_picture(reliability, out, person)
        with Image.open(out) as image:
            sizes.append(image.size)
    assert sizes[0] == sizes[1]
    assert out.stat().st_size < 150_000
    worthless = Reliability(reliability.confidence, np.zeros(count), 0.4, "")
    write_picture(worthless, out)


@pytest.fixture
def folder(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Path:
    checkpoint.save(tmp_path / "tiny", network, word_map, "# Tiny\n")
    return tmp_path / "tiny"


@pytest.fixture
def photos(tmp_path: Path, folder: Path, render) -> Path:
    """As many as it takes in val, one less in train; a person says what the captioner does of half.

    Of the others people say other things.
    """
    source = tmp_path / "many"
    source.mkdir()
    drawings = [
        render(("red", "green", "blue")[i % 3], ("circle", "square")[i // 3 % 2], (60 + i, 90))
        for i in range(2 * LEAST_PHOTOS - 1)
    ]
    captions = Captioner.load(folder).caption(drawings)
    lines = []
    for i, (drawing, (caption,)) in enumerate(zip(drawings, captions, strict=True)):
        (source / f"{i}.jpg").write_bytes(drawing)
        texts = [caption.text if i % 4 < 2 else f"thing {i}", f"the thing {i}", f"a thing {i}"]
        split = "train" if i % 2 else "val"
        lines.append(json.dumps({"file_name": f"{i}.jpg", "text": texts, "split": split}))
    (source / "metadata.jsonl").write_text("\n".join(lines))
    return source


def test_from_photos_to_a_confidence(
    folder: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))  # METEOR takes time
    picture = tmp_path / "reliability.png"
    evaluate = ["evaluate", str(folder), "--data", str(photos), "--precision", "float32"]

    # Before there is a calibration.
    assert main([*evaluate, "--picture", str(picture)]) == 1
    assert "add --calibrate" in capsys.readouterr().err
    assert main([*evaluate, "--calibrate", "--picture", str(tmp_path / "p.gif")]) == 1
    assert "p.gif: the picture must be named *.png" in capsys.readouterr().err
    assert main([*evaluate, "--calibrate", "--split", "train"]) == 1
    assert "49 photos are too few" in capsys.readouterr().err
    assert not (folder / CALIBRATION).exists()
    assert main(evaluate) == 0
    plain = capsys.readouterr().out
    assert "area under accuracy-coverage" in plain
    assert "calibration error" not in plain

    assert main([*evaluate, "--calibrate", "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "expected calibration error" in printed
    assert printed.splitlines()[-2:] == [str(folder / CALIBRATION), str(picture)]
    calibration = Calibration.load(folder)
    assert calibration is not None
    assert f"share with CIDEr from {calibration.threshold:.4f}" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    first = (folder / CALIBRATION).read_bytes()

    # The same photos prepared, and the checkpoint's own confidences.
    data = tmp_path / "data"
    assert main(["prepare", str(photos), "--out", str(data), "--image-size", "96"]) == 0
    capsys.readouterr()
    picture.unlink()
    evaluate[3] = str(data)
    assert main([*evaluate, "--picture", str(picture)]) == 0
    own = capsys.readouterr().out
    assert "as the checkpoint has it" in own
    assert picture.exists()
    assert (folder / CALIBRATION).read_bytes() == first
    assert main([*evaluate, "--calibrate"]) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert (folder / CALIBRATION).read_bytes() == first
    assert main([*evaluate, "--calibrate", "--overwrite"]) == 0
    again = Calibration.load(folder)
    assert again is not None
    assert astuple(again) == pytest.approx(astuple(calibration), rel=1e-3)

    # The checkpoint still is one.
    caption = Captioner.load(folder).caption([(photos / "0.jpg").read_bytes()])[0][0]
    assert 0 < calibration.confidence(caption.log_prob, len(caption.words)) < 1


def test_a_damaged_calibration_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / CALIBRATION).write_text("{}")
    assert main(["evaluate", str(folder), "--data", str(tmp_path)]) == 1
    assert f"{folder / CALIBRATION}: it must be an object" in capsys.readouterr().err
