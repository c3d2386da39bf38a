"""The command ``captioner versions``."""

from __future__ import annotations

import argparse

from captioner.cli import arguments as shared

SUMMARY = "List the versions that are served, and their workers."
EXAMPLES = """\
  captioner versions
  captioner versions --management http://127.0.0.1:9081 --model-store STORE"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    shared.add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.versions import versions_table

    print(versions_table(shared.server_target(arguments)))
