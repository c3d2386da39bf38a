"""The command ``captioner serve``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli import arguments as shared
from captioner.paths import SERVER_FOLDER

if TYPE_CHECKING:
    from captioner.operations.torchserve import Server

SUMMARY = "Package a checkpoint and serve it on this machine."
DESCRIPTION = """\
Package a checkpoint, serve it by TorchServe on the loopback interface and caption a
sample photo. Without --checkpoint, what was deployed or served last is served again."""
EXAMPLES = """\
  captioner serve
  captioner serve --checkpoint CHECKPOINT --workers 2 --detach
  captioner serve --stop"""

MAX_FIRST_PORT = 2**16 - 5  # the server takes five ports in a row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--detach",
        action="store_true",
        help="return once the sample photo is captioned; the server goes on in the background",
    )
    action.add_argument(
        "--stop", action="store_true", help="stop the server that was started with this --folder"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FOLDER",
        help="checkpoint folder (default: what was deployed or served last, else the shipped one)",
    )
    parser.add_argument(
        "--version",
        help="version that it is served as (default: the one it had, else the first of 1.0, 2.0,"
        " ... that no other checkpoint has had)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes of the default version that answer requests side by side"
        " (default: as many as it had, else 1)",
    )
    parser.add_argument(
        "--port",
        type=first_port,
        default=8080,
        help="port of predictions; management, metrics and gRPC take the next four"
        " (default: %(default)s)",
    )
    shared.add_model_store_argument(
        parser, "folder into which the archive is written and from which it is served"
    )
    parser.add_argument(
        "--tokens",
        action="store_true",
        help="let TorchServe ask every caller for a token; it writes the keys into key_file.json"
        " in the folder of --folder",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=SERVER_FOLDER,
        help="folder for logs and the process id (default: .serve in a checkout, else"
        " ~/.local/share/captioner/serve)",
    )


def first_port(text: str) -> int:
    """Parse the first of five ports in a row; raises `argparse.ArgumentTypeError`."""
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= MAX_FIRST_PORT:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be in 1..{MAX_FIRST_PORT}")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.serve import ServeOptions, serve
    from captioner.operations.torchserve import Server

    server = Server(arguments.folder)
    if arguments.stop:
        _stop(server, arguments.model_store)
    else:
        serve(
            server,
            ServeOptions(
                checkpoint=arguments.checkpoint,
                version=arguments.version,
                model_store=arguments.model_store,
                port=arguments.port,
                detach=arguments.detach,
                tokens=arguments.tokens,
                workers=arguments.workers,
            ),
        )


def _stop(server: Server, model_store: Path) -> None:
    from captioner.operations.store import Store

    server.record_served_versions()
    if server.stop():
        print("stopped")
        return
    print("nothing was running")
    if elsewhere := Store(model_store).describe_server():
        print(f"but {elsewhere}")
