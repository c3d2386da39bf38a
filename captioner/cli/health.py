"""The command ``captioner health``."""

from __future__ import annotations

import argparse

from captioner.cli import arguments as shared

SUMMARY = "Check whether a served captioner is ready."
DESCRIPTION = """\
Check whether a served captioner is ready: its workers are ready, and it captions a
photo. The exit status is 0 if so, else 1."""
EXAMPLES = """\
  captioner health
  captioner health --wait 60 --key-file .serve/key_file.json

the same without Python, for the probe of a container or a load balancer:
  curl -fsS http://127.0.0.1:8081/models/captioner | grep -q '"status": "READY"' &&
  curl -fsS -m 10 -T photo.jpg http://127.0.0.1:8080/predictions/captioner

A probe that cannot reach the management API asks for a caption alone. /ping is no
probe: it replies Healthy while models load and for minutes after a worker died."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="captioner",
        help="name that the captioner is served as (default: %(default)s)",
    )
    parser.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        default=0.0,
        help="check again until it is ready, for so long (default: 0, check once)",
    )
    shared.add_server_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.health import wait_until_ready

    ready = wait_until_ready(
        arguments.url,
        arguments.management,
        arguments.model,
        arguments.wait,
        key_file=arguments.key_file,
    )
    print(ready)
