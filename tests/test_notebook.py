"""The notebook `docs/own-photos.ipynb` runs from end to end, and is stored as it ran."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from captioner.operations.ports import Ports
from captioner.operations.torchserve import Server

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "own-photos.ipynb"
MAX_PICTURES = 300_000  # bytes of base64
PATH_OF_A_MACHINE = re.compile(r"(?<![\w.:/<-])/(?:home|root|tmp|Users|usr|opt|work|var)/")

Cell = nbformat.NotebookNode


def read(path: Path = NOTEBOOK) -> list[Cell]:
    return nbformat.read(path, as_version=4).cells


def code_cells(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.cell_type == "code"]


def printed(cell: Cell) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def kinds(cell: Cell) -> list[tuple[str, ...]]:
    """Return the outputs of a cell: text, or the forms of each result or picture."""
    texts = [("stream",)] if printed(cell) else []
    return texts + [tuple(sorted(output.data)) for output in cell.outputs if "data" in output]


@dataclass(frozen=True)
class Executed:
    """The cells of an executed copy, by their ids, and the folder that they wrote."""

    cells: dict[str, Cell]
    folder: Path

    def read_json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """Run a copy as it is stored, in an empty folder. Only the server's port is chosen here."""
    folder, out = tmp_path_factory.mktemp("notebook"), tmp_path_factory.mktemp("out") / "own.ipynb"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "notebook", "--folder", folder, "--out", out],
        env=os.environ | {"PORT": str(Ports.find_free().inference)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Executed({cell.id: cell for cell in read(out)}, folder / "own-photos")


@pytest.mark.slow
def test_the_training_teaches_what_was_unknown_before(executed: Executed) -> None:
    before, after = (
        executed.read_json(f"{name}.scores.json")["scores"]["CIDEr"] for name in ("before", "after")
    )
    assert before["high"] < 1
    assert after["low"] > 3
    assert f"| CIDEr | {before['value']:.2f} | {after['value']:.2f} |" in str(
        executed.cells["scores"].outputs
    )


@pytest.mark.slow
def test_no_validation_scene_was_trained_on(executed: Executed) -> None:
    captions: dict[str, list[str]] = {"train": [], "val": []}
    for photo in executed.read_json("data/dataset.json")["photos"]:
        (split,) = photo["splits"]
        captions[split] += photo["captions"]
    assert (len(captions["train"]), len(captions["val"])) == (3 * 90, 3 * 30)
    assert not set(captions["train"]) & set(captions["val"])


@pytest.mark.slow
def test_what_is_served_is_what_the_checkpoint_says(executed: Executed) -> None:
    served, here = (
        line.split(":")[1].strip() for line in printed(executed.cells["ask"]).splitlines()
    )
    assert served == here
    assert printed(executed.cells["attention"]).endswith(f": {here}\n")


@pytest.mark.slow
def test_the_server_is_stopped(executed: Executed) -> None:
    assert printed(executed.cells["stop"]) == "stopped\n"
    assert Server(executed.folder / "server").process() is None


@pytest.mark.slow
def test_the_stored_outputs_are_of_the_kinds_that_the_cells_put_out(executed: Executed) -> None:
    for stored in code_cells(read()):
        assert kinds(stored) == kinds(executed.cells[stored.id]), stored.id


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scenes", "listing", "prepare"])
def test_the_stored_text_before_the_training_is_what_the_cells_print(
    executed: Executed, name: str
) -> None:
    (stored,) = (cell for cell in read() if cell.id == name)
    assert printed(stored) == printed(executed.cells[name])


def test_the_stored_cells_ran_in_order_and_without_error() -> None:
    cells = code_cells(read())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)


def test_the_stored_training_has_the_epochs_that_its_command_names() -> None:
    (cell,) = (cell for cell in read() if cell.id == "train")
    (epochs,) = map(int, re.findall(r"--decoder\.epochs (\d+)", cell.source))
    shown = [int(epoch) for epoch in re.findall(r"^epoch (\d+):", printed(cell), re.MULTILINE)]
    assert shown == list(range(1, epochs + 1))


def test_the_stored_outputs_name_no_path_of_a_machine() -> None:
    for cell in code_cells(read()):
        for output in cell.outputs:
            data = output.get("data", {})
            texts = [text for form, text in data.items() if form.startswith("text/")]
            assert not PATH_OF_A_MACHINE.search("\n".join([*texts, output.get("text", "")]))


def test_the_stored_pictures_are_small() -> None:
    pictures = [
        output.data["image/png"]
        for cell in code_cells(read())
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert pictures
    assert sum(map(len, pictures)) <= MAX_PICTURES
