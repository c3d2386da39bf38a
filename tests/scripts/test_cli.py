from __future__ import annotations

from pathlib import Path

import pytest

from model import checkpoint
from model.network import ShowAttendTell
from model.word_map import WordMap
from scripts.cli import main


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
        f"captioner: {bad}: not an image; accepted: JPEG, PNG, WEBP, GIF, TIFF, BMP, AVIF",
        "captioner: 1 of 2 files could not be captioned",
    ]


def test_train_evaluate_package(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trained"
    sizes = ["--attention-size", "8", "--embedding-size", "8", "--hidden-size", "8"]
    encoder = ["--encoder", "timm/test_efficientnet", "--encoder-weights", "none"]
    few = ["--image-size", "64", "--encoded-size", "0", "--epochs", "1", "--minimum-count", "1"]
    assert main(["train", str(dataset), "--out", str(out), *encoder, *sizes, *few]) == 0
    trained = capsys.readouterr().out
    assert main(["evaluate", str(out), "--data", str(dataset), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"4 photos of {dataset}, split val"
    names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert [line.split()[0] for line in printed[1:]] == names
    assert all(name in trained for name in names)

    archive = tmp_path / "store" / "captioner.mar"
    arguments = ["package", str(out), "--version", "1.0", "--out", str(archive)]
    assert main(arguments) == main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert len(first.split()[0]) == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caption", "x.jpg", "--checkpoint", "nowhere"], "nowhere is no checkpoint folder"),
        (["caption", "x.jpg", "--beam-size", "0"], "beam_size is 0"),
        (["caption", "x.jpg", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["evaluate", "nowhere", "--data", "x"], "nowhere is no checkpoint folder"),
        (["train", "nowhere", "--out", "out"], "nowhere is neither a folder"),
        (["train", "nowhere", "--out", "out", "--epochs", "0"], "epochs is 0"),
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


@pytest.mark.parametrize("job", ["caption", "evaluate", "train", "package", "serve"])
def test_help_explains_every_option(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([job, "--help"])
    assert exit.value.code == 0
    assert len(capsys.readouterr().out) > 300
