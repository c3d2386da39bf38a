"""The command ``captioner package``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from captioner.cli import arguments as shared

SUMMARY = "Write the TorchServe archive of a checkpoint."
DESCRIPTION = """\
Write the TorchServe archive of a checkpoint and print its SHA-256 digest. The same
checkpoint and version give the same bytes. What the checkpoint's weights may be used for,
its notices in config.json, is printed on standard error."""
EXAMPLES = """\
  captioner package CHECKPOINT --version 1.1
  captioner package CHECKPOINT --version 1.1 --out archives/captioner-1.1.mar"""

NO_NOTICE = "none in config.json; see README.md, or ask who trained it, what it may be used for"

log = logging.getLogger("captioner")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument(
        "--version", required=True, help="version that it is served as, such as 1.0"
    )
    destination = parser.add_mutually_exclusive_group()
    shared.add_model_store_argument(
        destination, "folder into which captioner-VERSION.mar is written"
    )
    destination.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="archive to write instead, NAME.mar or NAME-VERSION.mar, NAME being the model's name",
    )
    shared.add_overwrite_argument(
        parser, "an archive that is there, but never one of a version that is served"
    )


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.package import package
    from captioner.operations.store import archive_name
    from captioner.paths import shown
    from model import checkpoint

    out = shown(arguments.out or arguments.model_store / archive_name(arguments.version))
    digest = package(arguments.checkpoint, arguments.version, out, arguments.overwrite)
    print(f"{digest}  {out}", flush=True)
    for notice in checkpoint.load_config(arguments.checkpoint).notices or [NO_NOTICE]:
        log.info("notice: %s", notice)
