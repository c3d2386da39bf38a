"""The comparison of engines, on a random encoder; the figures mean nothing here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import command, engines
from benchmarks.encoder_process import ENGINES, OURS, Engine
from model import checkpoint
from model.config import ModelConfig
from model.network import ShowAttendTell
from model.word_map import WordMap


@pytest.mark.slow
def test_engines(
    tmp_path: Path,
    word_map: WordMap,
    config: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those that are not installed or fail are named, and the others compared."""
    build, trained = ENGINES[OURS].build, "torch, as trained, float32"
    rows = {name: ENGINES[name] for name in (OURS, trained)}
    rows |= {"absent": Engine(build, OURS, ("no_such_package",)), "broken": Engine(build, OURS)}
    monkeypatch.setattr(engines, "ENGINES", rows)
    lite = ModelConfig(
        vocabulary_size=config.vocabulary_size, encoder="timm/tf_efficientnet_lite0", image_size=64
    )
    checkpoint.save(tmp_path / "lite", ShowAttendTell(lite), word_map, "")
    options = ["--quick", "--checkpoint", str(tmp_path / "lite"), "--rounds", "1"]
    command.main(["engines", *options, "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "absent: not installed, pip install no_such_package" in printed
    assert "broken: failed: KeyError: 'broken'" in printed
    written: Any = json.loads((tmp_path / "engines.json").read_text())["figures"]["engines"]
    assert [*written["engines"]] == [OURS, trained]
    for figures in written["engines"].values():
        assert figures["error"] < 1e-4
        assert figures["megabytes"] > 0
        assert [len(each) for each in figures["seconds_a_photo"].values()] == [1, 1]
    assert f"{trained}, alone" in printed


def test_the_size_of_an_installed_package() -> None:
    assert 0 < engines.installed_megabytes(["pytest"]) < 100
    assert engines.installed_megabytes([]) == 0


def test_the_reason_why_an_engine_does_not_run() -> None:
    assert engines._reason("Traceback\nValueError: no\n", 3.0, 90.0) == "failed: ValueError: no"
    assert engines._reason("", 3.0, 90.0) == "failed: without a message"
    assert engines._reason("Traceback\n", 91.0, 90.0) == "no grid after 90 s"
