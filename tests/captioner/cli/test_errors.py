"""Errors of commands: one line that names the argument or the file at fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from captioner.cli.main import main
from training.data.prepare import prepare


@pytest.mark.parametrize(
    ("arguments", "existing"),
    [
        (["explain", "photo.jpg", "-o", "x.png", "--checkpoint", "tiny"], "x.png"),
        (["evaluate", "tiny", "--data", "shapes", "--json", "x.json"], "x.json"),
        (["evaluate", "tiny", "--data", "shapes", "--json", "x.json"], "x.scores.json"),
        (["evaluate", "tiny", "--data", "shapes", "--samples", "x.png"], "x.png"),
        (["evaluate", "tiny", "--data", "shapes", "--calibrate"], "tiny/calibration.json"),
        (["report", "metrics.jsonl", "--out", "x.png"], "x.png"),
        (["bench", "search", "--checkpoint", "tiny", "--out", "x"], "x/search.json"),
        (["bench", "train", "--out", "x.json"], "x.json"),
        (["import-tutorial", "w.pth", "w.json", "--out", "tiny"], "tiny/README.md"),
    ],
)
def test_no_file_is_replaced_without_overwrite(
    arguments: list[str],
    existing: str,
    folder: Path,
    dataset: Path,
    tmp_path: Path,
    render,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command is refused before any work, with the option that allows it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(render())
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "CIDEr": 0.5}\n')
    (tmp_path / "x").mkdir()
    content = '{"slope": 1.0, "intercept": 0.0, "threshold": 0.5}'
    (tmp_path / existing).write_text(content)
    monkeypatch.setattr("model.Captioner.caption", lambda *a, **k: pytest.fail("worked first"))
    assert main(arguments) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert (tmp_path / existing).read_text() == content


@pytest.mark.parametrize("command", ["explain", "report"])
def test_overwrite_replaces_a_file(
    command: str, folder: Path, tmp_path: Path, render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(render())
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "CIDEr": 0.5}\n')
    out = tmp_path / "x.png"
    out.write_text("mine")
    arguments = {
        "explain": ["photo.jpg", "-o", "x.png", "--checkpoint", "tiny"],
        "report": ["metrics.jsonl", "--out", "x.png"],
    }
    assert main([command, *arguments[command], "--overwrite"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "tiny", "--data", "shapes", "--split", "dev"], "allowed: train, val, test"),
        (["evaluate", "tiny", "--data", "shapes", "--split", "test"], "it has train, val"),
        (["evaluate", "tiny", "--data", "data", "--split", "test"], "it has train, val"),
        (["evaluate", "data", "--data", "tiny"], "data is no checkpoint folder: it holds prepared"),
        (["evaluate", "tiny", "--data", "tiny"], "tiny is a checkpoint folder; --data takes"),
        (["evaluate", "photo.jpg", "--data", "data"], "photo.jpg is no checkpoint folder: it is a"),
        (["train", "--data", "tiny", "--out", "o"], "tiny is a checkpoint folder; --data takes"),
        (["train", "--data", "data", "--out", "o"], "wants 256; give --network.image_size 96, or"),
        (["import-tutorial", "w.json", "w.pth", "--out", "o"], "give the weights"),
        (["import-tutorial", "photo.jpg", "empty", "--out", "o"], "empty: no word map"),
        (["report", "photo.jpg", "--out", "o.png"], "photo.jpg is no metrics.jsonl"),
        (["report", "empty", "--out", "o.png"], "empty: no epoch has ended yet"),
        (["ablate", "photo.jpg", "--data", "data", "--out", "o"], "photo.jpg is no plan"),
        (["train", "--config", "photo.jpg", "--data", "data", "--out", "o"], "--config is no text"),
        (["serve", "--folder", "empty", "--model-store", "o"], "empty cannot be a folder"),
        (["clear-grids", "tiny"], "tiny is a checkpoint folder"),
        (["explain", "photo.jpg", "-o", "photo.jpg/o.png"], "Not a directory; choose another"),
        (["evaluate", "tiny", "--data", "data", "--json", "photo.jpg/o.json"], "Not a directory"),
    ],
)
def test_a_wrong_file_or_folder_is_named_with_what_to_give(
    arguments: list[str],
    message: str,
    folder: Path,
    dataset: Path,
    tmp_path: Path,
    render,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(dataset, "data", 96)
    (tmp_path / "photo.jpg").write_bytes(render())
    torch.save({}, tmp_path / "w.pth")
    (tmp_path / "w.json").write_text("{}")
    (tmp_path / "empty").touch()
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "codec" not in err
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caption", "x.jpg", "--checkpoint", "nowhere"], "nowhere is no checkpoint folder"),
        (["caption", "x.jpg", "--beam-size", "0"], "beam_size is 0"),
        (["caption", "x.jpg", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["evaluate", "nowhere", "--data", "x"], "nowhere is no checkpoint folder"),
        (["train", "--data", "nowhere", "--out", "out"], "nowhere"),
        (["train", "--data", "x", "--out", "out", "--alpha_c", "-1"], "alpha_c is -1.0"),
        (["train", "--data", "x", "--out", "out", "--colour", "red"], "--colour"),
        (["train", "--data", "x", "--out", "out", "--config", "no.yaml"], "no.yaml"),
        (["prepare", "nowhere", "--out", "out"], "nowhere"),
        (["prepare", "x", "--uncaptioned", "--out", "out"], "x does not exist; name a folder"),
        (["prepare", "x", "--uncaptioned", "--format", "coco", "--out", "out"], "exclude each"),
        (["teach", "nowhere", "--teacher", "x"], "nowhere is no prepared dataset"),
        (["ablate", "no.yaml", "--data", "x", "--out", "out"], "no.yaml"),
        (["evaluate", "x", "--data", "x", "--samples", "x.gif"], "must be named *.png"),
        (["report", "no.jsonl", "--out", "out"], "out: the picture must be named *.png"),
        (["report", "no.jsonl", "--out", "out.png"], "no.jsonl"),
        (["import-tutorial", "no.pth.tar", "no.json", "--out", "out"], "no."),
        (["bench", "colour"], "there is no benchmark 'colour'"),
        (["bench", "search", "--rounds", "0"], "rounds is 0"),
        (["bench", "search", "--checkpoint", "nowhere"], "nowhere is no checkpoint folder"),
        (["package", "nowhere", "--version", "1.0"], "nowhere is no checkpoint folder"),
        (["package", "nowhere", "--version", "v1"], "version is 'v1'"),
    ],
)
def test_one_line_names_what_is_wrong(
    arguments: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "caption" and "--checkpoint" not in arguments:
        arguments = [*arguments, "--checkpoint", str(folder)]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
    assert not (tmp_path / "out").exists()
    with pytest.raises((ValueError, OSError)):
        main(["--debug", *arguments])


@pytest.mark.parametrize("port", ["0", "-1", "65532", "99999", "web", "1_0"])
def test_a_port_outside_the_range_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["serve", f"--port={port}"])
    assert exit.value.code == 2
    assert f"argument --port: it is {port!r}; it must be in 1..65531" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("captioner.operations.torchserve", "captioner.operations.serve", "psutil"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert main(["serve", "--stop"]) == 1
    assert capsys.readouterr().err == (
        "captioner: psutil is not installed, which this needs:"
        " pip install 'captioner[serve,train,web]'\n"
    )
