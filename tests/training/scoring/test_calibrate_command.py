"""`captioner evaluate --calibrate`: from photos to the confidence in a checkpoint folder."""

from __future__ import annotations

import json
import re
from dataclasses import astuple
from pathlib import Path

import pytest

from captioner.cli.main import main
from model import Captioner, checkpoint
from model.calibration import CALIBRATION, Calibration
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.scoring.calibration import MIN_PHOTOS


@pytest.fixture
def folder(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Path:
    checkpoint.save(tmp_path / "tiny", network, word_map, "# Tiny\n")
    return tmp_path / "tiny"


@pytest.fixture
def photos(tmp_path: Path, folder: Path, render) -> Path:
    """Make a data set with enough photos in val, and one photo too few in train.

    For half of the photos a person's caption is the captioner's, for the others it is another.
    """
    source = tmp_path / "many"
    source.mkdir()
    drawings = [
        render(("red", "green", "blue")[i % 3], ("circle", "square")[i // 3 % 2], (60 + i, 90))
        for i in range(2 * MIN_PHOTOS - 1)
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


@pytest.mark.slow
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
    assert "as computed with the checkpoint's calibration" in own
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


def test_several_data_sets_are_scored_each_and_calibrated_together(
    folder: Path,
    photos: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    evaluate = ["evaluate", str(folder), "--precision", "float32", "--data", str(photos)]
    assert main(evaluate) == 0
    alone = capsys.readouterr().out.splitlines()
    both = [*evaluate, "--data", str(dataset)]
    for option in ("--json", "--samples"):
        file = tmp_path / f"out{'.json' if option == '--json' else '.png'}"
        assert main([*both, option, str(file)]) == 1
        assert f"{option} is for the photos of one data set" in capsys.readouterr().err
    assert main([*both, "--calibrate", "--picture", str(tmp_path / "picture.png")]) == 0
    printed = capsys.readouterr().out.splitlines()
    headings = [line for line in printed if line.endswith(", split val")]
    assert headings == [
        f"50 photos of {photos}, split val",
        f"4 photos of {dataset}, split val",
        "54 photos of all, split val",
    ]
    scores = alone.index(next(line for line in alone if line.startswith("confidence ")))
    assert printed[:scores] == alone[:scores]
    table = [re.split(r"\s{2,}", line) for line in printed[printed.index(headings[2]) + 1 :][:4]]
    assert [row[0] for row in table] == ["data", str(photos), str(dataset), "mean"]
    first, second, mean = (float(row[table[0].index("CIDEr")]) for row in table[1:])
    assert mean == pytest.approx((first + second) / 2, abs=1e-4)
    assert sum(line.startswith("expected calibration error") for line in printed) == 3
    assert Calibration.load(folder) is not None


def test_a_damaged_calibration_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / CALIBRATION).write_text("{}")
    assert main(["evaluate", str(folder), "--data", str(tmp_path)]) == 1
    assert f"{folder / CALIBRATION}: it must be an object" in capsys.readouterr().err
