"""The table of commands, their modules, and what ``--help`` and ``--version`` print."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import captioner
from captioner.cli import bench
from captioner.cli.main import COMMANDS, command_module, command_parser, main
from model import DecodingOptions
from training.options import parse_arguments

ROOT = Path(__file__).resolve().parents[3]
NO_COMMANDS = {"__init__", "main", "arguments", "messages", "caption_parts", "caption_settings"}


def help_of(*command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    assert exit.value.code == 0
    return capsys.readouterr().out


def test_every_module_is_in_the_table() -> None:
    modules = {path.stem for path in (ROOT / "captioner" / "cli").glob("*.py")} - NO_COMMANDS
    assert modules == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_summary_of_the_table(name: str) -> None:
    assert COMMANDS[name] == command_module(name).SUMMARY
    assert re.fullmatch(r"[A-Z][^\n]{10,80}\.", COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_its_own_parser_takes(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # recipes are named as in a checkout
    printed = help_of(name, capsys=capsys)
    assert printed.startswith(f"usage: captioner {name}")
    examples = re.findall(r"^  captioner (\S+ *.*)$", printed.split("\nexamples:\n")[1], re.M)
    assert examples
    for example in examples:
        command, *arguments = shlex.split(example)
        assert command == name
        if name == "train":
            assert parse_arguments(arguments).config.out
        elif name == "bench":  # a benchmark, and options that its help explains
            benchmark = [each for each in arguments[:1] if not each.startswith("-")]
            explained = help_of("bench", *benchmark, capsys=capsys)
            options = [each for each in arguments if each.startswith("--")]
            assert all(f"  {option}" in explained for option in options)
        else:
            command_parser(name).parse_args(arguments)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "bench")])
def test_help_explains_every_argument(name: str) -> None:
    for action in command_parser(name)._actions:
        assert action.help, action


def test_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    printed = help_of(capsys=capsys)
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", printed, re.M)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"captioner {captioner.__version__}\n"
    assert captioner.__version__ == importlib.metadata.version("captioner")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required: COMMAND"),
        (["capton", "x.jpg"], "invalid choice: 'capton' (choose from 'caption', 'explain'"),
        (["caption"], "captioner caption: error: the following arguments are required: SOURCE"),
        (["caption", "x.jpg", "--colour"], "captioner caption: error: unrecognized arguments"),
        (["caption", "x.jpg", "--beam-size", "two"], "--beam-size: invalid int value: 'two'"),
        (["caption", "x.jpg", "--debug"], "unrecognized arguments: --debug"),
    ],
)
def test_usage_errors_have_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_two_dashes_end_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["caption", "--server", "http://127.0.0.1:1", "--", "-x.jpg"]) == 1
    assert "captioner: -x.jpg: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["caption", "explain", "evaluate"])
def test_decoding_arguments_are_the_fields_of_the_options(name: str) -> None:
    required = {
        "caption": ["photo.jpg"],
        "explain": ["photo.jpg", "-o", "x.png"],
        "evaluate": ["checkpoint", "--data", "x"],
    }
    given = vars(command_parser(name).parse_args(required[name]))
    expected = vars(DecodingOptions())
    if name != "caption":
        expected = {option: v for option, v in expected.items() if option != "num_captions"}
        assert "num_captions" not in given
    assert {option: given[option] for option in expected} == expected


def test_the_search_can_be_switched(capsys: pytest.CaptureFixture[str]) -> None:
    given = command_parser("caption").parse_args(["x.jpg", "--no-consensus", "--beam-size", "7"])
    assert (given.consensus, given.beam_size) == (False, 7)
    printed = " ".join(help_of("caption", capsys=capsys).split())
    assert "in 1..20 (default: 10)" in printed
    assert "(default: on)" in printed
    assert "(default: True)" not in printed


def test_bench_is_found_from_anywhere(tmp_path: Path) -> None:
    """It is that of the checkout, even where another package of its name is nearer."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise SystemExit(3)\n")
    code = "from captioner.cli.main import main; main(['bench', '--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: captioner bench")


def test_bench_without_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    assert main(["bench", "caption"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "clone its repository" in line
