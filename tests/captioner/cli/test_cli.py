"""Commands that are run on tiny photos and checkpoints, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captioner.cli.main import main
from model.image import accepted
from training.data.prepare import prepare


def test_caption(folder: Path, tmp_path: Path, render, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(render())
    arguments = ["caption", str(photo), "--checkpoint", str(folder), "--device", "cpu"]
    assert main([*arguments, "--num-captions", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{photo}: ") for line in lines)


def test_a_bad_file_does_not_stop_the_others(
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
        "captioner: 1 of 2 photos could not be captioned",
    ]


@pytest.mark.slow
def test_prepare_train_evaluate_and_package(
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
    # The options of the command by which the model card reproduces its scores.
    decoding = card.split("--split val ")[1].splitlines()[0].split()

    picture = tmp_path / "samples.png"
    arguments = ["evaluate", out, "--data", data, "--device", "cpu", "--samples", picture]
    assert main([str(a) for a in arguments] + decoding) == 0
    *from_prepared, last = capsys.readouterr().out.splitlines()[1:]
    assert last == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 'captions that end in "a", "the", "with", ...  0 of 4' in from_prepared

    results = tmp_path / "results.json"
    arguments = ["evaluate", out, "--data", dataset, "--device", "cpu", "--json", results]
    assert main([str(a) for a in arguments] + decoding) == 0
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


def test_clear_grids(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    prepare(dataset, data, 96)
    (data / "grids-0123456789abcdef.npy").write_bytes(bytes(8192))
    assert main(["clear-grids", str(data)]) == 0
    assert "an encoder that is not recorded" in capsys.readouterr().out
    assert main(["clear-grids", str(data), "--all"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("freed")
    assert not list(data.glob("grids-*.npy"))


def test_teach(folder: Path, tmp_path: Path, render, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "photo.jpg").write_bytes(render())
    data = tmp_path / "data"
    preparing = ["prepare", str(tmp_path / "more"), "--uncaptioned", "--image-size", "96"]
    assert main([*preparing, "--out", str(data)]) == 0
    assert capsys.readouterr().out == f"{data}: 1 train; teach them before a training: " + (
        "captioner teach\n"
    )
    arguments = ["teach", str(data), "--teacher", str(folder), "--captions", "2"]
    assert main(arguments) == main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith(f"{data}: 2 captions found for 1 photos, ")
    assert first.endswith(f" words taught by {folder.name}")
    assert main([*arguments, "--words", "2"]) == 1
    assert "taught.npz is there already, by other teachers" in capsys.readouterr().err
    assert main([*arguments, "--words", "2", "--overwrite"]) == 0
