"""The comparison of a new version with the served one, against a scripted server."""

from __future__ import annotations

import math
import re
import stat
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captioner.cli.main import main
from captioner.client import CaptionClient
from captioner.operations.package import package
from captioner.operations.shadow import (
    CaptionPair,
    Comparison,
    ShadowOptions,
    check_shadowable,
    remove_spool,
    shadow,
)
from handler.options import RequestOptions
from handler.shadow import ENDING, FOLDER, AnsweredPhoto, Settings, Shadow

DEFAULTS = RequestOptions()
OLD_AND_NEW = ("1.0", "2.0")


class Traffic:
    """A clock for `shadow`: whenever it is read, the old version's worker answers one more photo.

    Once the last copy was taken out of the spool, the time is over.
    """

    def __init__(self, store: Path, answered: Iterable[AnsweredPhoto]) -> None:
        self.spool, self.answered = store / FOLDER, list(answered)
        self.worker = Shadow(self.spool, "1.0", DEFAULTS)

    def __call__(self) -> float:
        if self.spool.exists():
            assert stat.S_IMODE(self.spool.stat().st_mode) == 0o700
            if self.answered:
                self.worker.offer([self.answered.pop(0)], 0.0405, batch=4)
            elif not list(self.spool.glob(f"*{ENDING}")):
                return math.inf
        return 0.0


@pytest.fixture
def ask(scripted, tmp_path: Path) -> Iterator[Any]:
    with CaptionClient(scripted.url, version="2.0", retries=0) as client:

        def ask(*answered: AnsweredPhoto) -> Comparison:
            now = Traffic(tmp_path, answered)
            return shadow(client, tmp_path, OLD_AND_NEW, ShadowOptions(1), now)

        yield ask


def captioned(text: str) -> tuple[int, dict[str, Any]]:
    return 200, {"caption": text, "log_prob": -1.0, "timing_ms": {"total": 12.0}}


def test_the_new_version_is_asked_the_same(ask, scripted, tmp_path: Path) -> None:
    wide = DEFAULTS.changed({"beam_size": 2, "return_attention": True})
    scripted.answer = lambda asked: captioned("a dog" if asked.body == b"dog" else "a wide cat")
    found = ask(AnsweredPhoto(b"dog", DEFAULTS, "a dog"), AnsweredPhoto(b"cat", wide, "a cat"))
    asked = {each.body: each for each in scripted.asked}
    assert len(scripted.asked) == len(asked) == 2
    assert {each.path for each in scripted.asked} == {"/predictions/captioner/2.0"}
    options = {
        photo: {name for name in each.headers if name.startswith("x-caption-")}
        for photo, each in asked.items()
    }
    timing = "x-caption-return-timing"
    assert options == {b"dog": {timing}, b"cat": {timing, "x-caption-beam-size"}}
    assert asked[b"cat"].headers["x-caption-beam-size"] == "2"
    assert sorted(found.pairs) == [
        CaptionPair("a cat", "a wide cat", 40.5, 12.0, 4),
        CaptionPair("a dog", "a dog", 40.5, 12.0, 4),
    ]
    assert not found.errors
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_new_version_fails_whatever_is_demanded(ask, scripted) -> None:
    scripted.answer = lambda asked: captioned("a dog") if asked.body == b"dog" else (500, {})
    answered = [AnsweredPhoto(photo, DEFAULTS, "a dog") for photo in (b"dog", b"cat", b"dog")]
    found = ask(*answered)
    assert (found.photos, found.same, len(found.errors)) == (3, 2, 1)
    assert re.search(r"^errors +1$", found.table(), re.MULTILINE)
    with pytest.raises(ValueError, match=r"answered 1 of 3 shadowed photos with an error.*500"):
        found.check(ShadowOptions(1))


def pairs(same: int, others: int) -> list[CaptionPair]:
    alike = [CaptionPair("a dog", "a dog", 10.0 + i, 20.0 + i, 3) for i in range(same)]
    return alike + [CaptionPair("a dog", f"a cat {i}", 99.0, 88.0, 4) for i in range(others)]


def test_the_table() -> None:
    assert Comparison(*OLD_AND_NEW, pairs(18, 2)).table().splitlines() == [
        "shadowed            1.0   2.0",
        "photos               20    20",
        "errors                      0",
        "same caption             0.90",
        "median, ms         19.5  29.5",
        "p95, ms            99.0  88.0",
        "photos in a batch   3.1   1.0",
        "(ms: in the handler, of the batch that a photo was in)",
        "captions that differ, such as",
        "  a dog -> a cat 0",
        "  a dog -> a cat 1",
    ]
    table = Comparison(*OLD_AND_NEW, pairs(1, 9) * 2).table().splitlines()
    assert sum(" -> " in line for line in table) == len(set(table) - set(table[:-5])) == 5
    assert "such as" not in Comparison(*OLD_AND_NEW, pairs(3, 0)).table()
    assert Comparison(*OLD_AND_NEW).table().startswith("no request came")
    assert "photos" in Comparison(*OLD_AND_NEW, errors=["x"]).table()


def test_the_agreement_that_is_demanded() -> None:
    found = Comparison(*OLD_AND_NEW, pairs(9, 1))
    for demanded in (None, 0, 0.9):
        found.check(ShadowOptions(1, agreement=demanded))
    with pytest.raises(ValueError, match=r"9 of 10 .* a share of 0\.9000; 0\.91 is demanded"):
        found.check(ShadowOptions(1, agreement=0.91))
    none = Comparison(*OLD_AND_NEW)
    none.check(ShadowOptions(1))
    with pytest.raises(ValueError, match="no request came in 2 min"):
        none.check(ShadowOptions(1, 2, 0))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_is_left_behind(
    error: type[BaseException], scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = []

    def fail(*_: object) -> None:
        waiting.extend((tmp_path / FOLDER).glob(f"*{ENDING}"))
        raise error

    monkeypatch.setattr("captioner.operations.shadow._ask", fail)
    now = Traffic(tmp_path, [AnsweredPhoto(b"dog", DEFAULTS, "a dog")] * 3)
    real = now.worker.offer
    now.worker.offer = lambda *each, **more: [real(*each, **more) for _ in range(3)]
    client = CaptionClient(scripted.url)
    with client, pytest.raises(error):
        shadow(client, tmp_path, OLD_AND_NEW, ShadowOptions(1), now)
    assert waiting
    assert list(tmp_path.iterdir()) == []


def test_a_step_of_the_clock_does_not_end_the_copying(
    scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers stop by the wall clock; the deploy, whose clock does not step, writes a new time."""
    ticks, until = iter([0.0, 0.0, 20.0, 30.0, 61.0]), []
    monkeypatch.setattr(time, "time", lambda: wall)
    wall = 1e9

    def now() -> float:
        nonlocal wall
        tick = next(ticks)
        if tick == 20:
            wall += 3600
        elif tick == 30:
            until.append(Settings.read(tmp_path / FOLDER).until)
        return tick

    with CaptionClient(scripted.url) as client:
        shadow(client, tmp_path, OLD_AND_NEW, ShadowOptions(1, minutes=1), now)
    assert until == [1e9 + 3600 + 40]


def test_what_a_killed_deploy_left_is_removed(tmp_path: Path) -> None:
    for name in (FOLDER, f"{FOLDER}.gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.copy").write_bytes(b"photo")
    remove_spool(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shadow", "0"], "the share to shadow is 0.0; it must be above 0 and at most 1"),
        (["--shadow", "1.1"], "the share to shadow is 1.1"),
        (["--shadow", "nan"], "the share to shadow is nan"),
        (
            ["--shadow", "1", "--shadow-minutes", "0"],
            "the minutes to shadow are 0.0; they must be above 0",
        ),
        (["--shadow", "1", "--shadow-minutes", "inf"], "the minutes to shadow are inf"),
        (
            ["--shadow", "1", "--shadow-agreement", "90"],
            "the agreement is 90.0; it must be in 0..1",
        ),
        (["--shadow-minutes", "3"], "--shadow-minutes needs --shadow"),
        (["--shadow-agreement", "1"], "--shadow-agreement needs --shadow"),
    ],
)
def test_one_line_names_the_fault(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", "x.mar", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_version_from_before_cannot_be_shadowed(tmp_path: Path, tiny_checkpoint: Path) -> None:
    new, old = tmp_path / "new" / "captioner.mar", tmp_path / "captioner.mar"
    package(tiny_checkpoint, "1.0", new)
    check_shadowable(new, "1.0")
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            if name != "handler/shadow.py":
                target.writestr(name, source.read(name))
    with pytest.raises(ValueError, match=r"version 1\.0, which serves, was packaged before"):
        check_shadowable(old, "1.0")
