"""Deploys that ask the new version what callers ask, on the real TorchServe."""

from __future__ import annotations

import functools
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from captioner.client import CaptionClient
from captioner.operations.deploy import DeployFailed, deploy
from captioner.operations.management import Management
from captioner.operations.package import package
from captioner.operations.shadow import (
    Comparison,
    ShadowOptions,
    _ask,
    shadow,
)
from captioner.paths import ROOT
from handler.shadow import ENDING, FOLDER, Copy
from model import Captioner, DecodingOptions
from tests.captioner.operations.load import Load
from tests.captioner.operations.servers import Site, run

pytestmark = pytest.mark.slow


class UntilEnough:
    """A clock for `shadow` that ends it once five photos were asked, however fast the machine is.

    Parameters
    ----------
    kinds
        The number of different options that these photos must have been asked with.
    """

    def __init__(self, kinds: int = 1) -> None:
        self.asked: list[Copy] = []
        self.kinds = kinds

    def __call__(self) -> float:
        kinds = {str(copy.options) for copy in self.asked}
        return math.inf if len(self.asked) >= 5 and len(kinds) >= self.kinds else time.monotonic()


@pytest.fixture
def enough(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], UntilEnough]:
    """A function that makes the next deploy shadow until enough photos were asked."""

    def next_deploy(kinds: int) -> UntilEnough:
        clock = UntilEnough(kinds)

        def ask(client: CaptionClient, copy: Copy, found: Comparison) -> None:
            _ask(client, copy, found)
            clock.asked.append(copy)

        monkeypatch.setattr("captioner.operations.shadow._ask", ask)
        monkeypatch.setattr(
            "captioner.operations.deploy.shadow", functools.partial(shadow, now=clock)
        )
        return clock

    return next_deploy


def figures(table: str) -> dict[str, list[float]]:
    """The numbers of the rows that have some."""
    rows = [re.fullmatch(r"(.+?) {2,}([\d. ]+)", line) for line in table.splitlines()]
    return {row[1]: [float(number) for number in row[2].split()] for row in rows if row}


def test_callers_get_the_old_versions_answers_until_the_switch(
    fresh: Site,
    render,
    enough: Callable[[int], UntilEnough],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Nobody asks, nothing is demanded.
    shadowed = ("--shadow", 1, "--shadow-minutes", 0.02)
    done = run("deploy", fresh.archive("2.0"), *fresh.options, *shadowed)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no request came while shadowing: nothing to compare\n"
    assert fresh.served()[0] == "2.0"

    photo, narrow = render("blue", "square"), {"X-Caption-Beam-Size": "1"}
    fresh.checkpoints["2.1"] = fresh.checkpoints["2.0"]
    package(fresh.checkpoints["2.1"], "2.1", fresh.archive("2.1"))
    said = {version: fresh.caption_by(version, photo) for version in ("2.1", "3.0")}
    captioner = Captioner.load(fresh.checkpoints["2.1"])
    said_greedily = captioner.caption([photo], DecodingOptions(beam_size=1))[0][0].text
    assert len({*said.values(), said_greedily}) == 3
    before_switch: list[tuple[int, str, str]] = []
    set_default = Management.set_default

    def switch(self: Management, version: str) -> None:
        before_switch[:] = [*load.answers, *greedy.answers]
        set_default(self, version)

    monkeypatch.setattr(Management, "set_default", switch)
    capsys.readouterr()
    with (
        Load(fresh.url, photo, clients=2) as load,
        Load(fresh.url, photo, clients=2, headers=narrow) as greedy,
    ):
        enough(2)
        deploy(fresh.archive("2.1"), fresh.target, shadowing=ShadowOptions(1, agreement=1))
        alike = capsys.readouterr().out
        seen = set(before_switch)
        assert seen == {(200, "2.0", said["2.1"]), (200, "2.0", said_greedily)}

        enough(2)
        deploy(fresh.archive("3.0"), fresh.target, shadowing=ShadowOptions(0.5))
        other = capsys.readouterr().out
        seen = {(status, version) for status, version, _ in before_switch}
        assert seen == {(200, "2.0"), (200, "2.1")}
        assert fresh.served() == ("3.0", ["2.1", "3.0"])
    answers = [*load.answers, *greedy.answers]
    assert not load.faults + greedy.faults
    assert {status for status, _, _ in answers} == {200}
    assert {caption for _, version, caption in answers if version != "3.0"} == {
        said["2.1"],
        said_greedily,
    }
    print(alike, other, sep="\n")

    found = figures(alike)
    assert found["photos"][0] > 1
    assert found["same caption"] == [1.0]
    assert found["errors"] == [0]
    assert all(len(found[row]) == 2 and min(found[row]) > 0 for row in ("median, ms", "p95, ms"))
    assert "captions that differ" not in alike
    found = figures(other)
    assert found["photos"][0] > 1
    assert found["same caption"][0] < 1
    assert f"  {said['2.1']} -> {said['3.0']}" in other.splitlines()


def test_too_little_agreement_changes_nothing(
    site: Site, render, enough: Callable[[int], UntilEnough], capsys: pytest.CaptureFixture[str]
) -> None:
    photo = render("blue", "square")
    assert site.caption_by("1.0", photo) != site.caption_by("2.0", photo)
    before, stored = site.served(), site.stored()
    clock = enough(1)
    with (
        Load(site.url, photo) as load,
        pytest.raises(
            DeployFailed, match=r"^version 2\.0 was not deployed: 0 of \d+ shadowed photos"
        ),
    ):
        deploy(site.archive("2.0"), site.target, shadowing=ShadowOptions(1, agreement=0.01))
    found = figures(capsys.readouterr().out)
    assert found["photos"] == [len(clock.asked)] * 2
    assert found["same caption"] == [0.0]
    assert not load.faults
    assert set(load.answers) == {(200, "1.0", site.caption_by("1.0", photo))}
    assert (site.served(), site.stored()) == (before, stored)


def test_agreement_that_nothing_shows(site: Site) -> None:
    before, stored = site.served(), site.stored()
    with pytest.raises(DeployFailed, match=r"no request came in 0\.02 min .* 1\.0 serves on"):
        deploy(site.archive("2.0"), site.target, shadowing=ShadowOptions(1, 0.02, agreement=0))
    assert (site.served(), site.stored()) == (before, stored)


@pytest.mark.parametrize("moment", ["trying it", "loading it", "asking it"])
def test_sigterm_leaves_everything_as_it_was(site: Site, render, moment: str) -> None:
    photo, spool = render("blue", "square"), site.store / FOLDER
    before, stored = site.served(), site.stored()
    command = [sys.executable, "-m", "captioner", "deploy", site.archive("2.0")]
    command += [*site.options, "--shadow", 1, "--shadow-minutes", 10]
    with (
        Load(site.url, photo) as load,
        subprocess.Popen(
            [*map(str, command)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as deploying,
    ):
        try:
            assert deploying.stderr
            lines = []
            for line in deploying.stderr:
                lines.append(line)
                if moment in line:
                    break
            else:
                pytest.fail("".join(lines))
            if moment == "asking it":
                deadline = time.monotonic() + 60
                while not list(spool.glob(f"*{ENDING}")):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            deploying.send_signal(signal.SIGTERM)
            out, err = deploying.communicate(timeout=240)
        finally:
            deploying.kill()
    assert deploying.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "captioner: interrupted"
    if moment != "trying it":
        assert "version 2.0 was not deployed; version 1.0 serves on" in err
    assert (site.served(), site.stored()) == (before, stored)
    assert not load.faults
    assert {(status, version) for status, version, _ in load.answers} == {(200, "1.0")}
