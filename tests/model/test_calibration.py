from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.calibration import CALIBRATION, Calibration

SOME = Calibration(slope=5.0, intercept=5.5, threshold=0.4)


def test_a_confidence_computed_by_hand() -> None:
    """Eleven tokens of -1 each: odds of exp(5.5 - 5)."""
    assert SOME.confidence(-11.0, 10) == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert Calibration(2.0, 0.0, 1.0).confidence(0.0, 3) == 0.5


@given(st.floats(-1e9, 0), st.floats(-1e9, 0), st.integers(1, 100))
def test_more_likely_is_more_confident(one: float, other: float, words: int) -> None:
    low, high = (SOME.confidence(log_prob, words) for log_prob in sorted((one, other)))
    assert 0 <= low <= high <= 1


def test_twice_the_words_at_the_same_likelihood_each_are_as_good() -> None:
    assert SOME.confidence(-6.0, 5) == pytest.approx(SOME.confidence(-12.0, 11))


def test_saved_and_loaded(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) is None
    calibration = Calibration(0.1 + 0.2, -1e-17, 1 / 3)
    assert calibration.save(tmp_path) == tmp_path / CALIBRATION
    assert Calibration.load(tmp_path) == calibration
    SOME.save(tmp_path)
    assert Calibration.load(str(tmp_path)) == SOME
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "decode"),
        (b"[1, 2, 3]", "an object of intercept, slope, threshold"),
        (b'{"slope": 1, "intercept": 0}', "an object of intercept, slope, threshold"),
        (b'{"slope": 1, "intercept": 0, "threshold": 1, "more": 1}', "an object of"),
        (b'{"slope": NaN, "intercept": 0, "threshold": 1}', "slope is nan"),
        (b'{"slope": "1", "intercept": 0, "threshold": 1}', "slope is '1'"),
        (b'{"slope": 1, "intercept": true, "threshold": 1}', "intercept is True"),
        (b'{"slope": 1, "intercept": 0, "threshold": 0}', "threshold is 0; it must be above 0"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / CALIBRATION
    path.write_bytes(content)
    with pytest.raises(ValueError, match="delete it") as error:
        Calibration.load(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert fault in str(error.value)


def test_a_folder_of_that_name_is_no_calibration(tmp_path: Path) -> None:
    (tmp_path / CALIBRATION).mkdir()
    with pytest.raises(ValueError, match=CALIBRATION):
        Calibration.load(tmp_path)


def test_a_file_in_place_of_the_checkpoint_has_none(tmp_path: Path) -> None:
    """Loading the checkpoint names the fault; here no file is to be deleted."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"")
    assert Calibration.load(path) is None
