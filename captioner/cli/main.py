"""The ``captioner`` command: find a command by its name, import its module and run it.

To add a command, add its name and summary to `COMMANDS` and a module of its name to this package
(``clear-grids`` is in ``clear_grids.py``), which has

- ``SUMMARY``, the same sentence; ``DESCRIPTION``, more sentences for its ``--help`` (optional);
- ``EXAMPLES``, command lines, for the end of its ``--help``;
- ``add_arguments(parser)``, which describes its arguments;
- ``run(arguments)``, which does the work, and may return an exit status.

A module imports what is slow, such as torch, in ``run``: ``--help`` should not wait for it. A
module without ``add_arguments`` parses what follows the command's name itself, in ``run``, from the
list ``arguments.rest``.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from captioner.addresses import redacted
from captioner.cli.messages import describe, print_error
from captioner.threads import limit_spinning
from model.process import set_up_process

COMMANDS = {
    "caption": "Write captions for photos.",
    "explain": "Show where the captioner looked for each word of a caption.",
    "sample-photo": "Write a photo for a first try.",
    "prepare": "Decode captioned photos once, into a folder to train on.",
    "teach": "Write what trained captioners teach about prepared photos.",
    "train": "Train a captioner and write its checkpoint folder.",
    "average": "Write the mean of several checkpoints of the same network.",
    "evaluate": "Caption a split of a data set and print the scores.",
    "ablate": "Train variants of a recipe with several seeds and compare their scores.",
    "report": "Draw the curves of a training.",
    "clear-grids": "Delete stored encoder features that no checkpoint uses.",
    "import-tutorial": "Convert a checkpoint of the image-captioning tutorial.",
    "package": "Write the TorchServe archive of a checkpoint.",
    "serve": "Package a checkpoint and serve it on this machine.",
    "web": "Serve a checkpoint on this machine without TorchServe.",
    "deploy": "Put a new version behind live traffic without losing a request.",
    "rollback": "Make the previous version the default again.",
    "undeploy": "Remove a version that is not the default.",
    "versions": "List the versions that are served, and their workers.",
    "health": "Check whether a served captioner is ready.",
    "bench": "Measure speed, memory and agreement against a baseline.",
}

INTERRUPTED = 130  # the exit status that a shell gives a program which SIGINT ended
BROKEN_PIPE = 141  # the same for SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Returns
    -------
    0, or what the command returns; 1 after an error, which is one line on standard error; 130 after
    Ctrl-C; 141 if the reader of standard output has closed it

    Raises
    ------
    SystemExit
        Status 2: the arguments are not the command's. Status 0: only ``--help`` was asked for.
    """
    limit_spinning(os.environ)
    set_up_process()
    _escape_what_cannot_be_encoded()
    given = _parser().parse_args(arguments)
    _configure_logging(given.debug)
    try:
        status = _run(*given.command)
        print(end="", flush=True)  # an error of writing is reported here, not at Python's exit
    except BrokenPipeError:  # the reader, such as `head -1`, has enough
        _drop_output()
        return BROKEN_PIPE
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        if given.debug:
            raise
        print_error(describe(error))
        _drop_output()
        return 1
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED
    return status


class Parser(argparse.ArgumentParser):
    """An argument parser that leaves passwords out of its error messages."""

    def error(self, message: str) -> NoReturn:
        super().error(redacted(message))


def command_module(name: str) -> ModuleType:
    """Import and return the module of a command."""
    return importlib.import_module(f"captioner.cli.{name.replace('-', '_')}")


def command_parser(name: str) -> Parser:
    """Return the parser of what follows a command's name; not for one that parses itself."""
    module = command_module(name)
    parser = Parser(
        prog=f"captioner {name}",
        description=getattr(module, "DESCRIPTION", module.SUMMARY),
        epilog=f"examples:\n{module.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _run(name: str, *rest: str) -> int:
    module = command_module(name)
    if hasattr(module, "add_arguments"):
        arguments = command_parser(name).parse_args(rest)
    else:
        arguments = argparse.Namespace(rest=list(rest))
    return module.run(arguments) or 0


def _parser() -> Parser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog="captioner",
        usage="captioner [--debug] COMMAND ...\n       captioner COMMAND --help",
        description="Train, score, package and serve a captioner of photos.",
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_PrintVersion, help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and all logs")
    parser.add_argument(
        "command",
        nargs=argparse.PARSER,  # a name, and all that follows it
        choices=COMMANDS,
        metavar="COMMAND",
        help=argparse.SUPPRESS,  # it is in the usage and in the list of commands
    )
    return parser


class _PrintVersion(argparse.Action):
    """The action of ``--version``: the version is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from captioner import __version__

        print(f"captioner {__version__}")
        parser.exit()


def _escape_what_cannot_be_encoded() -> None:
    """Let standard output print every file name, in whatever encoding it has.

    Bytes of a name that are not UTF-8 are printed as they are; what a narrower encoding lacks is
    escaped, not an error.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        unicode = sys.stdout.encoding.lower() == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _configure_logging(debug: bool) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s")
    logging.getLogger("captioner").setLevel(logging.INFO)
    # At DEBUG it logs headers, and with them tokens and cookies.
    logging.getLogger("httpcore2").setLevel(logging.INFO)


def _drop_output() -> None:
    """Drop what standard output does not take, so that Python's exit does not fail on it."""
    try:
        print(end="", flush=True)
    except OSError:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
