"""The command ``captioner undeploy``."""

from __future__ import annotations

import argparse

from captioner.cli import arguments as shared

SUMMARY = "Remove a version that is not the default."
DESCRIPTION = """\
Remove a version that is not the default, once it has answered its requests: from the
server, from the record of versions and from the model store."""
EXAMPLES = """\
  captioner undeploy 1.0"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", help="such as 1.0; captioner versions lists them")
    shared.add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.deploy import undeploy

    undeploy(arguments.version, shared.server_target(arguments))
    print(f"version {arguments.version} is removed")
