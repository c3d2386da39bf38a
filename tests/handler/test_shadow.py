from __future__ import annotations

import json
import random
import resource
import stat
from pathlib import Path

import pytest

from handler import shadow
from handler.options import RequestOptions
from handler.shadow import ENDING, SETTINGS, VARIABLE, AnsweredPhoto, Copy, Settings, Shadow

DEFAULTS = RequestOptions()
DOG = AnsweredPhoto(b"\xff\nphoto\n", DEFAULTS, "a dog")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    write_settings(folder)
    return folder


def write_settings(
    folder: Path, version: str = "1.0", share: float = 1, until: float = 100
) -> None:
    """Write the settings to a new file and rename it, as a deploy does."""
    new = folder / "new"
    new.write_bytes(Settings(version, share, until).to_bytes())
    new.rename(folder / SETTINGS)


def shadow_of(folder: Path | None, version: str = "1.0", now: float = 0, seed: int = 1) -> Shadow:
    return Shadow(folder, version, DEFAULTS, random.Random(seed).random, lambda: now)


def copies(folder: Path) -> list[Copy]:
    return [Copy.read(path) for path in folder.glob(f"*{ENDING}")]


def test_a_copy_holds_photo_options_and_answer(spool: Path) -> None:
    options = DEFAULTS.changed({"beam_size": 2, "length_penalty": 0.5, "return_tokens": True})
    shadow_of(spool).offer([DOG, AnsweredPhoto(b"", options, "")], 0.0125, batch=7)
    plain, asked = sorted(copies(spool), key=lambda copy: len(copy.options))
    assert plain == Copy(DOG.photo, {}, "a dog", 12.5, 7)
    assert asked == Copy(b"", {"beam_size": 2, "length_penalty": 0.5}, "", 12.5, 7)
    assert len(list(spool.iterdir())) == 3
    for path in spool.glob(f"*{ENDING}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_random_share_is_copied(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_COPIES", 1000)
    write_settings(spool, share=0.5)
    worker = shadow_of(spool)
    for _ in range(50):
        worker.offer([DOG] * 4, 1, 4)
    assert 70 < len(copies(spool)) < 130  # of 200: four standard deviations


@pytest.mark.parametrize(
    ("version", "until"), [("2.0", 100), ("1.0", 50)], ids=["another version", "expired"]
)
def test_nothing_is_copied_for_another_version_or_after_the_time(
    spool: Path, version: str, until: float
) -> None:
    worker = shadow_of(spool, now=50)
    worker.offer([DOG], 1, 1)
    write_settings(spool, version, until=until)
    worker.offer([DOG], 1, 1)
    assert len(copies(spool)) == 1


def test_waiting_copies_are_bounded_in_number_and_size(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MAX_COPIES", 3)
    worker = shadow_of(spool)
    worker.offer([DOG] * 2, 1, 1)
    worker.offer([DOG] * 5, 1, 1)
    assert len(copies(spool)) == 3
    next(spool.glob(f"*{ENDING}")).unlink()
    worker.offer([DOG] * 2, 1, 1)
    assert len(copies(spool)) == 3

    next(spool.glob(f"*{ENDING}")).unlink()
    monkeypatch.setattr(shadow, "MAX_BYTES", 1000)
    worker.offer([AnsweredPhoto(b"x" * 1000, DEFAULTS, "large")], 1, 1)
    assert {copy.caption for copy in copies(spool)} == {"a dog"}
    worker.offer([DOG], 1, 1)
    assert len(copies(spool)) == 3


def test_without_a_spool_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shadow_of(None).offer([DOG], 1, 1)
    shadow_of(tmp_path / "none").offer([DOG], 1, 1)
    monkeypatch.delenv(VARIABLE, raising=False)
    Shadow.from_environment("1.0", DEFAULTS).offer([DOG], 1, 1)
    assert list(tmp_path.iterdir()) == []
    assert not caplog.messages


def test_the_spool_is_found_by_the_environment_variable(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(spool, until=1e12)
    monkeypatch.setenv(VARIABLE, str(spool))
    Shadow.from_environment("1.0", DEFAULTS).offer([DOG], 1, 1)
    assert [copy.caption for copy in copies(spool)] == ["a dog"]


def test_a_spool_that_cannot_be_written_is_logged_once(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker, large = shadow_of(spool), AnsweredPhoto(b"x" * 100_000, DEFAULTS, "large")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        for _ in range(3):
            worker.offer([large], 1, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in spool.iterdir()] == [SETTINGS]  # nothing half written
    (message,) = caplog.messages
    assert "not copied for the deploy under way" in message
    assert "File too large" in message
    worker.offer([large], 1, 1)
    assert len(copies(spool)) == 1


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({"version": "1.0", "colour": 1})])
def test_damaged_settings_are_logged_once(
    spool: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (spool / SETTINGS).write_text(content)
    worker = shadow_of(spool)
    for _ in range(3):
        worker.offer([DOG], 1, 1)
    assert len(caplog.messages) == 1
    assert f"{spool / SETTINGS} is damaged" in caplog.messages[0]
    write_settings(spool)
    worker.offer([DOG], 1, 1)
    assert len(copies(spool)) == 1


def test_settings_of_another_release_are_read(spool: Path) -> None:
    settings = {"version": "1.0", "share": 1, "until": 100, "most": 64, "colour": "red"}
    (spool / SETTINGS).write_text(json.dumps(settings))
    shadow_of(spool).offer([DOG], 1, 1)
    assert len(copies(spool)) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\nphoto", b"{}\nphoto", b'{"a": 1}\nphoto'])
def test_a_file_that_is_no_copy_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"x{ENDING}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no copy of an answer"):
        Copy.read(path)
