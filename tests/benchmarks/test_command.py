"""Every benchmark runs, on a tiny checkpoint; the figures mean nothing here."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import command, decoding
from benchmarks.catalog import BENCHMARKS
from benchmarks.inputs import large_photos
from benchmarks.measure import described, machine
from model import checkpoint
from model.image import accepted
from model.network import ShowAttendTell
from model.word_map import WordMap


@pytest.fixture
def quick(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> list[str]:
    """Options that make a run short."""
    checkpoint.save(tmp_path / "tiny", network, word_map, "")
    return ["--quick", "--checkpoint", str(tmp_path / "tiny"), "--out", str(tmp_path / "out")]


def written(tmp_path: Path, name: str) -> dict[str, object]:
    return json.loads((tmp_path / "out" / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["search", "caption"])
def test_speed(
    name: str, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main([name, *quick, "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "threshold" in printed
    assert described(machine()) in printed.splitlines()
    assert "times the tutorial's speed" in printed
    assert list(written(tmp_path, name)["figures"]) == [name]
    assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_against_another(
    quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches = ["--search", "beam_size=2", "--other-search", "beam_size=1,max_length=3"]
    command.main(["against", *quick, "--rounds", "1", "--other", str(tmp_path / "tiny"), *searches])
    printed = capsys.readouterr().out
    assert "beam_size 2, " in printed
    assert "beam_size 1, num_captions 1, max_length 3, " in printed
    assert "of the other's speed" in printed
    assert written(tmp_path, "against")["figures"]["against"]["milliseconds_a_photo"]["other"] > 0
    assert not (tmp_path / "out" / "against.png").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("beams=3", "no option 'beams'; there are beam_size, .*consensus"),
        ("return_timing=true", "no option 'return_timing'"),  # of a reply, not of a search
        ("beam_size", "beam_size is ''"),
    ],
)
def test_a_search_of_unknown_options_is_refused(quick: list[str], given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command.main(["against", *quick, "--other-search", given])


@pytest.mark.slow
def test_start(quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["start", *quick, "--rounds", "1"])
    assert "s beyond importing torch, torchvision" in capsys.readouterr().out
    assert written(tmp_path, "start")["figures"]["start"]["megabytes"]["batches"] > 0
    assert not (tmp_path / "out" / "start.png").exists()


@pytest.mark.slow
def test_bulk(
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmarks.bulk_kills.MAX_DELAY", 0.0)  # a tiny captioner is soon done
    command.main(["bulk", *quick, "--rounds", "1", "--only", "folder,memory,kill,trouble"])
    printed = capsys.readouterr().out
    assert "times the speed from memory" in printed
    assert "times the peak memory of 40" in printed
    figures: Any = written(tmp_path, "bulk")["figures"]["bulk"]
    assert figures["kills"]["kills"] >= 2
    assert figures["kills"]["equal"] == figures["kills"]["tables"] > 0
    assert figures["photo that changes"]
    assert all(figures.get(name, True) for name in ("full disk", "locked folder"))


@pytest.mark.slow
def test_bulk_by_ray(quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["bulk", *quick, "--rounds", "1", "--only", "ray,actors,node"])
    assert "times the speed of one process" in capsys.readouterr().out
    figures: Any = written(tmp_path, "bulk")["figures"]["bulk"]
    for each in ("actors", "node"):
        assert figures[each]["equal"] == figures[each]["tables"] > 0


def test_an_unknown_part_is_named(quick: list[str]) -> None:
    message = "--only names 'disk'; the parts of bench bulk are folder, memory, .*trouble$"
    with pytest.raises(ValueError, match=message):
        command.main(["bulk", *quick, "--only", "folder,disk"])


def test_decoding(quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["decoding", *quick, "--rounds", "1"])
    assert "of the estimate" in capsys.readouterr().out
    measured = written(tmp_path, "decoding")["figures"]
    assert {name.partition(",")[0].partition(" ")[0] for name in measured["decoding"]} == {
        *accepted()
    }


def test_other_decoders_of_a_jpeg(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One gives the pixels that Pillow gives, one others, and one is not installed."""
    photo = large_photos(1, (600, 400))[0]

    def decoded(data: bytes, mode: str, min_height: int, min_width: int, min_factor: int) -> object:
        picture = Image.open(io.BytesIO(data))
        picture.draft(mode, (min_width, min_height))
        return np.asarray(picture)

    for decode, pixels in ((decoded, "the same pixels"), (lambda *_, **__: [[0]], "other pixels")):
        module = ModuleType("simplejpeg")
        module.__spec__ = ModuleSpec("simplejpeg", None)
        module.decode_jpeg = decode  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "simplejpeg", module)
        monkeypatch.setitem(sys.modules, "cv2", None)
        [line] = decoding._other_decoders(photo, 1)
        assert line.name == "camera's JPEG, simplejpeg"
        assert line.unit == f"times Pillow's speed, {pixels}"
        assert "OpenCV is not installed" in capsys.readouterr().out


@pytest.mark.parametrize("fast", [False, True], ids=["float32", "bfloat16"])
def test_agreement(
    quick: list[str],
    dataset: Path,
    tmp_path: Path,
    fast: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmarks.agreement.has_bf16", lambda device: fast)
    command.main(["agreement", *quick, "--data", str(dataset)])
    first, *printed = capsys.readouterr().out.splitlines()
    assert ("no fast bfloat16" in first) is not fast
    names = [line.split()[0] for line in printed if line.startswith(("plain", "float32", "mixed"))]
    assert names == ["plain", "float32", *(["mixed"] if fast else [])]
    assert written(tmp_path, "agreement")["figures"]["agreement"]["same"]["float32"] == 1


@pytest.mark.slow
def test_without_a_name_all_run(
    quick: list[str],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmarks import start
    from benchmarks.report import Report

    monkeypatch.setattr(start, "bench", lambda options: Report())  # has a test of its own
    command.main([*quick, "--rounds", "1", "--data", str(dataset)])
    assert list(written(tmp_path, "bench")["figures"]) == [
        "search",
        "caption",
        "start",
        "agreement",
    ]
    assert (tmp_path / "out" / "bench.png").is_file()
    assert capsys.readouterr().out.count("threshold") == 1


def test_without_matplotlib_the_figures_are_kept(
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in list(sys.modules):
        if module.split(".")[0] == "matplotlib" or module.endswith((".picture", ".pictures")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    command.main(["search", *quick, "--rounds", "1"])
    assert "it needs matplotlib" in capsys.readouterr().out
    assert written(tmp_path, "search")["quick"] is True
    assert not (tmp_path / "out" / "search.png").exists()


@pytest.mark.parametrize(
    "name", [[], ["search"], ["caption"], ["start"], ["agreement"], ["busy"], ["train"]]
)
def test_help(name: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        command.main([*name, "--help"])
    assert exit.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(" ".join(["usage: captioner bench", *name]))
    assert "--out" in printed
    if not name:
        assert all(f"  {each} " in printed for each in BENCHMARKS)
    assert ("--data" in printed) == (name in ([], ["agreement"]))


@pytest.mark.parametrize("name", ["serve", "swap", "bulk"])
def test_benchmarks_that_take_long_explain_themselves(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        command.main([name, "--help"])
    assert exit.value.code == 0
    assert BENCHMARKS[name].description in capsys.readouterr().out
    assert not BENCHMARKS[name].by_default


def test_benchmarks_run_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "no-such-benchmark"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "there is no benchmark 'no-such-benchmark'" in done.stderr


def test_agreement_needs_data(quick: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["agreement", *quick])
    assert "--data" in capsys.readouterr().err
