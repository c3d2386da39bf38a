"""The command ``captioner rollback``."""

from __future__ import annotations

import argparse

from captioner.cli import arguments as shared

SUMMARY = "Make the previous version the default again."
DESCRIPTION = """\
Make the previous version the default again, at once. A second rollback makes the
later version the default."""
EXAMPLES = """\
  captioner rollback
  captioner rollback --key-file .serve/key_file.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    shared.add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.deploy import rollback

    print(rollback(shared.server_target(arguments)))
