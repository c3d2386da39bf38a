from __future__ import annotations

import json
import random
import resource
import stat
from pathlib import Path

import pytest

from handler import shadow
from handler.options import RequestOptions
from handler.shadow import ENDING, SETTINGS, VARIABLE, Answered, Copy, Settings, Shadow

DEFAULTS = RequestOptions()
DOG = Answered(b"\xff\nphoto\n", DEFAULTS, "a dog")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    want(folder)
    return folder


def want(
    folder: Path, version: str = "1.0", share: float = 1, until: float = 100, most: int = 64
) -> None:
    """Settings, in a new file as a new deploy writes them."""
    new = folder / "new"
    new.write_bytes(Settings(version, share, until, most).to_bytes())
    new.rename(folder / SETTINGS)


def at(folder: Path | None, version: str = "1.0", now: float = 0, seed: int = 1) -> Shadow:
    return Shadow(folder, version, DEFAULTS, random.Random(seed).random, lambda: now)


def copies(folder: Path) -> list[Copy]:
    return [Copy.read(path) for path in folder.glob(f"*{ENDING}")]


def test_a_copy_has_what_it_takes_to_ask_again(spool: Path) -> None:
    options = DEFAULTS.changed({"beam_size": 2, "length_penalty": 0.5, "return_tokens": True})
    at(spool).offer([DOG, Answered(b"", options, "")], 0.0125, batch=7)
    plain, asked = sorted(copies(spool), key=lambda copy: len(copy.options))
    assert plain == Copy(DOG.photo, {}, "a dog", 12.5, 7)
    assert asked == Copy(b"", {"beam_size": 2, "length_penalty": 0.5}, "", 12.5, 7)
    assert len(list(spool.iterdir())) == 3
    for path in spool.glob(f"*{ENDING}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_the_share_is_copied(spool: Path) -> None:
    want(spool, share=0.5, most=1000)
    one = at(spool)
    for _ in range(50):
        one.offer([DOG] * 4, 1, 4)
    assert 70 < len(copies(spool)) < 130  # of 200: four standard deviations


@pytest.mark.parametrize(
    ("version", "until"), [("2.0", 100), ("1.0", 50)], ids=["another version", "expired"]
)
def test_what_is_not_wanted_is_not_copied(spool: Path, version: str, until: float) -> None:
    one = at(spool, now=50)
    one.offer([DOG], 1, 1)
    want(spool, version, until=until)
    one.offer([DOG], 1, 1)
    assert len(copies(spool)) == 1


def test_what_waits_is_bounded(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want(spool, most=3)
    one = at(spool)
    one.offer([DOG] * 2, 1, 1)
    one.offer([DOG] * 5, 1, 1)
    assert len(copies(spool)) == 3
    next(spool.glob(f"*{ENDING}")).unlink()
    one.offer([DOG] * 2, 1, 1)
    assert len(copies(spool)) == 3

    next(spool.glob(f"*{ENDING}")).unlink()
    monkeypatch.setattr(shadow, "MOST_BYTES", 1000)
    one.offer([Answered(b"x" * 1000, DEFAULTS, "large")], 1, 1)
    assert {copy.caption for copy in copies(spool)} == {"a dog"}
    one.offer([DOG], 1, 1)
    assert len(copies(spool)) == 3


def test_without_a_spool_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at(None).offer([DOG], 1, 1)
    at(tmp_path / "none").offer([DOG], 1, 1)
    monkeypatch.delenv(VARIABLE, raising=False)
    Shadow.of_environment("1.0", DEFAULTS).offer([DOG], 1, 1)
    assert list(tmp_path.iterdir()) == []
    assert not caplog.messages


def test_workers_are_told_where_it_is(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want(spool, until=1e12)
    monkeypatch.setenv(VARIABLE, str(spool))
    Shadow.of_environment("1.0", DEFAULTS).offer([DOG], 1, 1)
    assert [copy.caption for copy in copies(spool)] == ["a dog"]


def test_a_spool_that_cannot_be_written_is_logged_once(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, large = at(spool), Answered(b"x" * 100_000, DEFAULTS, "large")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        for _ in range(3):
            one.offer([large], 1, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in spool.iterdir()] == [SETTINGS]  # nothing half written
    (message,) = caplog.messages
    assert "not copied for the deploy under way" in message
    assert "File too large" in message
    one.offer([large], 1, 1)
    assert len(copies(spool)) == 1


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({"version": "1.0", "colour": 1})])
def test_damaged_settings_are_logged_once(
    spool: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (spool / SETTINGS).write_text(content)
    one = at(spool)
    for _ in range(3):
        one.offer([DOG], 1, 1)
    assert len(caplog.messages) == 1
    assert f"{spool / SETTINGS} is damaged" in caplog.messages[0]
    want(spool)
    one.offer([DOG], 1, 1)
    assert len(copies(spool)) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\nphoto", b"{}\nphoto", b'{"a": 1}\nphoto'])
def test_what_is_no_copy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"x{ENDING}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no copy of an answer"):
        Copy.read(path)
