"""Commands and options that errors and documents name exist."""

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

from captioner.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]
AWS_DEPLOY = ROOT / "scripts" / "aws-deploy"
SOURCES = [
    path
    for package in ("model", "handler", "training", "captioner", "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
] + [AWS_DEPLOY]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *sorted((ROOT / "checkpoints").rglob("*.md")),
]
Options = dict[str, set[str]]  # the name of a command -> its options

OPTION = re.compile(r"(?<![\w-])--[a-z]\w*(?:[.-]\w+)*")
# The word after an article is the thing, not the program.
COMMAND = re.compile(
    r"(?<!the )(?<!\ba )(?<!\bno )(?<!served )\bcaptioner ([a-z][a-z-]*)"
    r"((?:(?!\bcaptioner )[^`\n])*)"
)
# Options of other programs than captioner that messages, or documents in backquotes, name.
OTHER_PROGRAMS = {
    "--data-binary": "curl",
    "--dereference": "tar",
    "--fast": "scripts/test",
    "--gpus": "docker run",
    "--max-restarts": "torchrun",
    "--since": "aws logs tail",
}
# Words that may follow the word captioner where no command is meant.
PROSE = {"archive", "ready"}


def help_of(*command: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        main([*command, "--help"])
    return printed.getvalue()


def options_of(*command: str) -> set[str]:
    """The options that the help of a command explains."""
    found = re.findall(
        r"^ +(?:-\w(?: \w+)?, )?(--[a-z][\w.-]*)(?:, (--no-[a-z-]+))?",
        help_of(*command),
        re.MULTILINE,
    )
    options = {option for pair in found for option in pair if option}
    # The parser of `captioner train` knows no second name of an option.
    return options | ({"--from"} if "--start_from" in options else set())


def options_of_aws_deploy() -> set[str]:
    done = subprocess.run([sys.executable, AWS_DEPLOY, "--help"], capture_output=True, text=True)
    return set(OPTION.findall(done.stdout))


@pytest.fixture(scope="module")
def options() -> Options:
    """The options of every command."""
    options = {name: {"--help", "--debug"} | options_of(name) for name in COMMANDS}
    for benchmark in re.findall(r"^  ([a-z]+) ", help_of("bench"), re.MULTILINE):
        options["bench"] |= options_of("bench", benchmark)
    assert all(len(each) > 2 for each in options.values())
    assert {"--num-captions", "--no-consensus"} <= options["caption"]
    assert {"--swaps", "--other-search"} <= options["bench"]
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


def wrong(text: str, options: Options) -> list[str]:
    """The commands that do not exist, and options that their command, or else no command, has."""
    found = []
    for name, rest in COMMAND.findall(text):
        if name not in {*options, *PROSE}:
            found.append(f"captioner {name}")
        elif name in options:
            unknown = [option for option in OPTION.findall(rest) if option not in options[name]]
            found += [f"captioner {name} {option}" for option in unknown]
    known = set().union(*options.values(), OTHER_PROGRAMS)
    return found + [option for option in OPTION.findall(text) if option not in known]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_and_command_in_a_message_exists(path: Path, options: Options) -> None:
    if path == AWS_DEPLOY:
        options = options | {"": options_of_aws_deploy()}
    for line, text in messages(path):
        if re.search(r"\s", text.strip()):  # else it is an argument, maybe of another program
            assert not wrong(text, options), f"line {line}: {text}"


def test_what_does_not_exist_is_found(options: Options) -> None:
    assert wrong("see captioner evaluat and --checkpoint, captioner caption --port 1", options) == [
        "captioner evaluat",
        "captioner caption --port",
    ]
    assert wrong("name the file with --encoder-weights", options) == ["--encoder-weights"]
    assert wrong("--network.encoder_weights PATH, `captioner caption x` --port 1", options) == []


def commands_in(document: str) -> list[str]:
    """The command lines in the code of a document; ``scripts/serve`` is ``captioner serve``."""
    text = document.replace("\\\n", " ").replace(".venv/bin/captioner", "captioner")
    text = re.sub(r"\bscripts/serve\b", "captioner serve", text)
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = [
        *blocks,
        *re.findall(r"^    .*$", text, re.MULTILINE),
        *re.findall(r"`([^`\n]+)`", text),
    ]
    before = r"^ *(?:\$ )?|&& |[A-Z_]+=\S+ "
    command = re.compile(rf"(?:{before})(captioner [a-z][a-z-]*[^\n#]*)", re.MULTILINE)
    return [line for each in code for line in command.findall(each)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_documents_exists(path: Path, options: Options) -> None:
    text = path.read_text()
    for command in commands_in(text):
        assert not wrong(command, options), command
    known = set().union(*options.values(), OTHER_PROGRAMS, options_of_aws_deploy())
    for quoted in re.findall(r"`(--[^`\n]+)`", text):
        assert set(OPTION.findall(quoted)) <= known, quoted


def test_the_documents_name_most_commands() -> None:
    named = {line.split()[1] for path in DOCUMENTS for line in commands_in(path.read_text())}
    assert len(named & COMMANDS.keys()) > len(COMMANDS) // 2
