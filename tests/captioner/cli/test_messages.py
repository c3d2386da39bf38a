"""What errors and the README tell people to type is there."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from benchmarks.command import WHAT
from captioner.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [
    path
    for package in ("model", "handler", "training", "captioner", "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
] + [ROOT / "scripts" / "aws-deploy"]
OPTION = re.compile(r"(?<![\w-])--[a-z]\w*(?:[.-]\w+)*")
# The word after an article is the thing, not the program.
COMMAND = re.compile(
    r"(?<!the )(?<!\ba )(?<!\bno )(?<!served )\bcaptioner ([a-z][a-z-]*)"
    r"((?:(?!\bcaptioner )[^`\n])*)"
)
OTHER_PROGRAMS = {"--since": "aws logs tail", "--dereference": "tar", "--data-binary": "curl"}
# What may come after the word where no command is meant.
PROSE = {"archive", "ready"}


def help_of(*job: str) -> str:
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        main([*job, "--help"])
    return said.getvalue()


def options_of(*job: str) -> set[str]:
    found = re.findall(r"^ +(?:-\w(?: \w+)?, )?(--[a-z][\w.-]*)", help_of(*job), re.MULTILINE)
    # One that can be negated, and one whose other name argparse cannot know.
    more = {"--no-consensus"} if "--consensus" in found else set()
    return {*found, *more, *({"--from"} if "--start_from" in found else ())}


@pytest.fixture(scope="module")
def jobs() -> dict[str, set[str]]:
    """The options of every command, by its name."""
    names = re.findall(r"^    ([a-z][a-z-]+)(?: |$)", help_of(), re.MULTILINE)
    assert {"caption", "train", "import-tutorial", "bench", "deploy"} <= set(names)
    options = {name: {"--help", "--debug"} | options_of(name) for name in names}
    for benchmark in WHAT:
        options["bench"] |= options_of("bench", benchmark)
    assert all(len(each) > 2 for each in options.values())
    return options


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a source that are no docstrings, with their lines; ``{}`` where values go."""
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # docstrings
            skipped.add(node.value)
        if isinstance(node, ast.JoinedStr):
            skipped |= set(node.values)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield node.lineno, "".join(map(str, parts))


def wrong(text: str, jobs: dict[str, set[str]]) -> list[str]:
    """The commands that are not there, and options that theirs, or else no command, has."""
    found = []
    for name, rest in COMMAND.findall(text):
        if name not in {*jobs, *PROSE}:
            found.append(f"captioner {name}")
        elif name in jobs:
            found += [f"captioner {name} {o}" for o in OPTION.findall(rest) if o not in jobs[name]]
    known = set().union(*jobs.values(), OTHER_PROGRAMS)
    return found + [option for option in OPTION.findall(text) if option not in known]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_and_command_in_a_message_is_there(
    path: Path, jobs: dict[str, set[str]]
) -> None:
    if path.name == "aws-deploy":
        done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
        jobs = jobs | {"": set(OPTION.findall(done.stdout))}
    for line, text in messages(path):
        if re.search(r"\s", text.strip()):  # else it is an argument, of another program maybe
            assert not wrong(text, jobs), f"line {line}: {text}"


def test_what_is_not_there_is_found(jobs: dict[str, set[str]]) -> None:
    assert wrong("see captioner evaluat and --checkpoint, captioner caption --port 1", jobs) == [
        "captioner evaluat",
        "captioner caption --port",
    ]
    assert wrong("name the file with --encoder-weights", jobs) == ["--encoder-weights"]
    assert wrong("--network.encoder_weights PATH, `captioner caption x` --port 1", jobs) == []


@pytest.mark.parametrize(
    "name", ["README.md", "docs/ablations.md", "checkpoints/flickr8k/README.md"]
)
def test_every_command_in_the_documents_is_there(name: str, jobs: dict[str, set[str]]) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    commands = re.findall(r"(?:^|[$`] ?|&& )(captioner [a-z][a-z-]* [^\n`#]*)", text, re.MULTILINE)
    assert commands
    for command in commands:
        assert not wrong(command, jobs), command
