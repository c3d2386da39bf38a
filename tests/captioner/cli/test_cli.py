from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from captioner.cli.main import _parser, main
from model import DecodingOptions, checkpoint
from model.image import accepted
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.data.prepare import prepare


@pytest.fixture
def folder(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Path:
    checkpoint.save(tmp_path / "tiny", network, word_map, "")
    return tmp_path / "tiny"


def test_caption(folder: Path, tmp_path: Path, render, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(render())
    arguments = ["caption", str(photo), "--checkpoint", str(folder), "--device", "cpu"]
    assert main([*arguments, "--num-captions", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{photo}: ") for line in lines)


def test_the_search_is_the_default_one() -> None:
    """The command line names it again, so as not to import torch for its help."""
    given = vars(_parser().parse_args(["caption", "photo.jpg"]))
    told = vars(DecodingOptions())
    assert {name: given[name] for name in told} == told


def test_caption_goes_on_after_a_bad_file(
    folder: Path, tmp_path: Path, render, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(render())
    bad.write_bytes(b"no photo")
    assert main(["caption", str(bad), str(good), "--checkpoint", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{good}: ")
    assert err.splitlines() == [
        f"captioner: {bad}: not an image; accepted: {', '.join(accepted())}",
        "captioner: 1 of 2 files could not be captioned",
    ]


def test_from_photos_to_an_archive(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, run = tmp_path / "data", tmp_path / "trained", tmp_path / "run"
    assert main(["prepare", str(dataset), "--out", str(data), "--image-size", "64"]) == 0
    assert capsys.readouterr().out == f"{data}: 4 train, 4 val\n"

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "network: {encoder: timm/test_efficientnet, encoder_weights: none, image_size: 64,"
        " encoded_size: 0, attention_size: 8, embedding_size: 8, hidden_size: 8}\n"
        "decoder: {epochs: 3}\nminimum_count: 1\n"
    )
    arguments = ["--config", recipe, "--data", data, "--out", out, "--run", run]
    assert main(["train", *map(str, arguments), "--decoder.epochs", "1"]) == 0
    trained = capsys.readouterr().out
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
    card = (out / "README.md").read_text()
    assert "--decoder.epochs 1" in card
    search = card.split("--split val ")[1].splitlines()[0].split()  # the card's own command

    picture = tmp_path / "samples.png"
    arguments = ["evaluate", out, "--data", data, "--device", "cpu", "--samples", picture]
    assert main([str(a) for a in arguments] + search) == 0
    *from_prepared, last = capsys.readouterr().out.splitlines()[1:]
    assert last == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 'captions that end in "a", "the", "with", ...  0 of 4' in from_prepared

    results = tmp_path / "results.json"
    arguments = ["evaluate", out, "--data", dataset, "--device", "cpu", "--json", results]
    assert main([str(a) for a in arguments] + search) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"4 photos of {dataset}, split val"
    values = {line.rsplit("  ", 3)[0].split("  ")[0]: line for line in printed[2:]}
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"):
        value = trained.split(f"{name} ")[1].split()[0]
        assert value in values[name]
    assert printed[1:-1] == from_prepared
    assert len(json.loads(results.read_text())) == 4

    archive = tmp_path / "store" / "captioner.mar"
    arguments = ["package", str(out), "--version", "1.0", "--out", str(archive)]
    assert main(arguments) == main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert len(first.split()[0]) == 64


def test_explain(folder: Path, tmp_path: Path, render, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = tmp_path / "photo.jpg", tmp_path / "out.png"
    photo.write_bytes(render())
    arguments = ["explain", str(photo), "--checkpoint", str(folder), "--device", "cpu", "-o"]
    assert main([*arguments, str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert main([*arguments, str(tmp_path / "out.gif")]) == 1
    assert "out.gif: the name must end in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "written"),
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
def test_what_is_there_is_not_replaced_unless_asked_for(
    arguments: list[str],
    written: str,
    folder: Path,
    dataset: Path,
    tmp_path: Path,
    render,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is refused before any work, and the option that allows it is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(render())
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "CIDEr": 0.5}\n')
    (tmp_path / "x").mkdir()
    mine = '{"slope": 1.0, "intercept": 0.0, "threshold": 0.5}'
    (tmp_path / written).write_text(mine)
    monkeypatch.setattr("model.Captioner.caption", lambda *a, **k: pytest.fail("worked first"))
    assert main(arguments) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert (tmp_path / written).read_text() == mine


@pytest.mark.parametrize("job", ["explain", "report"])
def test_overwrite(
    job: str, folder: Path, tmp_path: Path, render, monkeypatch: pytest.MonkeyPatch
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
    assert main([job, *arguments[job], "--overwrite"]) == 0
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
def test_what_was_mistaken_is_said_with_what_to_give(
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


def test_grids_are_cleared(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    prepare(dataset, data, 96)
    (data / "grids-0123456789abcdef.npy").write_bytes(bytes(8192))
    assert main(["clear-grids", str(data)]) == 0
    assert "an encoder that is not recorded" in capsys.readouterr().out
    assert main(["clear-grids", str(data), "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("freed")
    assert not list(data.glob("grids-*.npy"))


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
def test_one_line_names_the_fault(
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
def test_a_port_that_cannot_be(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["serve", f"--port={port}"])
    assert exit.value.code == 2
    assert f"argument --port: it is {port!r}; it must be in 1..65531" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("captioner.operations.torchserve", "captioner.operations.serve", "psutil"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert main(["serve", "--stop"]) == 1
    assert capsys.readouterr().err == (
        "captioner: psutil is not installed, which this needs:"
        " pip install 'captioner[serve,train]'\n"
    )


@pytest.mark.parametrize(
    "job",
    [
        "caption",
        "explain",
        "prepare",
        "train",
        "evaluate",
        "ablate",
        "report",
        "import-tutorial",
        "clear-grids",
        "bench",
        "package",
        "serve",
        "deploy",
    ],
)
def test_help_explains_every_option(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([job, "--help"])
    assert exit.value.code == 0
    assert len(capsys.readouterr().out) > 300
