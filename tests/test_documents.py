"""The documents say what is so: examples run, figures agree, links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from captioner.sample_photo import sample_photo
from model import Captioner

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "deploy", "checkpoints/flickr8k")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for each in FOLDERS for path in (ROOT / each).rglob("*.md"))]
)
NOTEBOOK = ROOT / "docs" / "own-photos.ipynb"  # tests/test_notebook.py runs it
README = (ROOT / "README.md").read_text()
CARD = (ROOT / "checkpoints" / "flickr8k" / "README.md").read_text()


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_examples() -> list[tuple[str, str]]:
    """The Python examples that need no server, by the documents they stand in."""
    found = []
    for path in DOCUMENTS:
        examples = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
        found += [(name_of(path), each) for each in examples if "localhost" not in each]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "example"), python_examples())
def test_python_examples_run(tmp_path: Path, render, name: str, example: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    (tmp_path / "README.md").write_text("no photo")
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) >= 2


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 180


def test_the_sample_reply_is_the_shipped_captioners() -> None:
    photo = sample_photo()
    (shown,) = re.findall(rf'^{re.escape(photo.name)}: {{"caption": "(.+?)"', README, re.MULTILINE)
    captioner = Captioner.load(ROOT / "checkpoints" / "flickr8k", precision="float32")
    ((caption,),) = captioner.caption([photo.content])
    assert caption.text == shown


def test_the_figures_are_the_model_cards() -> None:
    heading = "| | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | ROUGE-L | CIDEr |"
    rows = [text.split(heading)[1].split("\n")[2] for text in (README, CARD)]
    assert rows[0] == rows[1]
    assert re.fullmatch(r"\| captioner (\| 0\.\d{4} ){7}\|", rows[0])


def test_the_interval_is_the_model_cards() -> None:
    (shown,) = re.findall(r"CIDEr (0\.\d{4} to 0\.\d{4})", README)
    low, high = (
        re.findall(rf"^\| {row} .* (\S+) \|$", CARD, re.MULTILINE)[0]
        for row in ("95 % interval, from", "to")
    )
    assert shown == f"{low} to {high}"


def test_the_curves_are_of_the_model_cards_epochs() -> None:
    rows = [json.loads(line) for line in (ROOT / "docs" / "curves.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 22))
    for row in rows:
        figure = row.get("loss", row.get("reward"))
        scores = f"{row['BLEU-4']:.4f} | {row['CIDEr']:.4f}"
        assert f"| {row['epoch']} | {row['stage']} | {figure:.3f} | {scores} |" in CARD


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*DOCUMENTS, NOTEBOOK], ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", [*DOCUMENTS, NOTEBOOK], ids=name_of)
def test_documents_name_no_folder_that_a_clone_lacks(path: Path) -> None:
    assert "../shared" not in path.read_text()
