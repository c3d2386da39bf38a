"""The command ``captioner web``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captioner.cli import arguments as shared
from captioner.paths import SHIPPED

SUMMARY = "Serve a checkpoint on this machine without TorchServe."
DESCRIPTION = """\
Serve a checkpoint or an archive by an ASGI app, on the loopback interface unless --host says
otherwise. It answers what TorchServe answers at the same addresses, and needs no Java. At / it has
a page on which to drop photos; with --server the page alone, in front of a captioner that is served
elsewhere, by TorchServe too. SIGTERM and Ctrl-C end it once what was asked is answered."""
EXAMPLES = """\
  captioner web
  captioner web --checkpoint CHECKPOINT --workers 2 --port 8000
  captioner web --checkpoint model_store/captioner-2.0.mar --key-file keys.json
  captioner web --port 8000 --server http://127.0.0.1:8080"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        default=SHIPPED,
        help="checkpoint folder, or an archive of captioner package (default: the shipped one)",
    )
    parser.add_argument(
        "--version",
        help="version that a checkpoint folder is served as (default: 1.0); an archive has its own",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=1,
        help="processes that answer requests side by side (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; others than this machine's callers need 0.0.0.0, and then a"
        " proxy in front or --key-file (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=port, default=8080, help="port to listen at (default: %(default)s)"
    )
    parser.add_argument(
        "--reuse-port",
        action="store_true",
        help="share the port with other servers that are started so: start the next version, wait"
        " until it serves, and stop the one before",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="ask every caller for the key in this file, which is made if it is missing",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="load no captioner, and have photos of the page captioned by this server",
    )
    shared.add_device_arguments(parser)


def port(text: str) -> int:
    """Parse a port; 0 is one that is free. Raises `argparse.ArgumentTypeError`."""
    if not text.isascii() or not text.isdecimal() or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be in 0..{2**16 - 1}")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    if arguments.server is not None:
        _check_page_alone(arguments)
        from captioner.web.page.run import run_page

        run_page(arguments.server, arguments.host, arguments.port)
        return
    from captioner.web.run import WebOptions, run
    from captioner.web.settings import Computing

    computing = Computing(arguments.workers, arguments.device, arguments.precision)
    run(
        WebOptions(
            checkpoint=arguments.checkpoint,
            version=arguments.version,
            host=arguments.host,
            port=arguments.port,
            reuse_port=arguments.reuse_port,
            computing=computing,
            key_file=arguments.key_file,
        )
    )


def _check_page_alone(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for arguments about a captioner, which the page alone does not load."""
    defaults: dict[str, Any] = {"checkpoint": SHIPPED, "version": None, "workers": 1}
    defaults |= {"key_file": None, "device": "auto", "precision": "auto"}
    for name, default in (defaults | {"reuse_port": False}).items():
        if getattr(arguments, name) != default:
            raise ValueError(
                f"--{name.replace('_', '-')} is about a captioner that is loaded here; leave it out"
                " with --server"
            )
