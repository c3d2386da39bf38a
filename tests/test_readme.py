"""What the README says is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from captioner.cli.main import main
from captioner.operations.golden import sample_photo
from model import Captioner

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CARD = (ROOT / "checkpoints" / "flickr8k" / "README.md").read_text()


def test_the_python_example_runs(tmp_path: Path, render) -> None:
    example, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(float(line.split()[-1]) < 0 for line in lines)  # log-probabilities
    assert len({line.rsplit(maxsplit=1)[0] for line in lines}) == 3


def test_the_sample_reply_is_the_shipped_captioners() -> None:
    (told,) = re.findall(r'^grace_hopper\.jpg: {"caption": "(.+?)"', README, re.MULTILINE)
    captioner = Captioner.load(ROOT / "checkpoints" / "flickr8k", precision="float32")
    ((caption,),) = captioner.caption([sample_photo().read_bytes()])
    assert caption.text == told


def test_the_figures_are_the_model_cards() -> None:
    heading = "| | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | ROUGE-L | CIDEr |"
    rows = [text.split(heading)[1].split("\n")[2] for text in (README, CARD)]
    assert rows[0] == rows[1]
    assert re.fullmatch(r"\| captioner (\| 0\.\d{4} ){7}\|", rows[0])


def test_the_interval_is_the_model_cards() -> None:
    (told,) = re.findall(r"CIDEr (0\.\d{4} to 0\.\d{4})", README)
    low, high = (
        re.findall(rf"^\| {row} .* (\S+) \|$", CARD, re.MULTILINE)[0]
        for row in ("95 % interval, from", "to")
    )
    assert told == f"{low} to {high}"


def test_the_curves_are_of_the_model_cards_epochs() -> None:
    told = [json.loads(line) for line in (ROOT / "docs" / "curves.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in told] == list(range(1, 16))
    for row in told:
        figure = row.get("loss", row.get("reward"))
        scores = f"{row['BLEU-4']:.4f} | {row['CIDEr']:.4f}"
        assert f"| {row['epoch']} | {row['stage']} | {figure:.3f} | {scores} |" in CARD


def test_every_command_named_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = set(re.findall(r"^captioner ([a-z-]+)", README, re.MULTILINE))
    assert len(jobs) >= 8
    for job in jobs:
        with pytest.raises(SystemExit) as exit:
            main([job, "--help"])
        assert exit.value.code == 0


def test_every_file_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)
