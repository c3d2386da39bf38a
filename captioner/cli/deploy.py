"""The command ``captioner deploy``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli import arguments as shared

if TYPE_CHECKING:
    from captioner.operations.shadow import ShadowOptions

SUMMARY = "Put a new version behind live traffic without losing a request."
DESCRIPTION = """\
Put a new version behind live traffic without losing a request: verify its archive,
load it beside the version that is served, ask it for captions that are known, make
it the default, and keep the previous version for a rollback. If any step fails, the
previous version goes on serving."""
EXAMPLES = """\
  captioner deploy model_store/captioner-2.0.mar
  captioner deploy model_store/captioner-2.0.mar --workers 2 --remove-old
  captioner deploy model_store/captioner-2.0.mar --shadow 0.1 --shadow-agreement 0.9"""

SHADOW = """\
Before the switch, ask the new version for captions of photos that callers send, and
print how captions and times of the two versions differ. Callers get the replies of the
previous version and do not wait for the new one. An error of the new version fails
the deploy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", type=Path, help="archive that captioner package has written")
    parser.add_argument("--sha256", help="digest that the archive must have")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=1,
        help="processes of the new version (default: %(default)s)",
    )
    parser.add_argument(
        "--remove-old",
        action="store_true",
        help="remove the previous version once it has answered all its requests; then there is no"
        " rollback",
    )
    _add_shadow_arguments(parser)
    shared.add_target_arguments(parser)


def _add_shadow_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "comparison with the previous version",
        SHADOW,
    )
    group.add_argument(
        "--shadow",
        type=float,
        metavar="SHARE",
        help="share of the photos, above 0 and at most 1 (default: no comparison)",
    )
    group.add_argument(
        "--shadow-minutes",
        type=float,
        metavar="MINUTES",
        help="minutes that the comparison takes (default: 5)",
    )
    group.add_argument(
        "--shadow-agreement",
        type=float,
        metavar="SHARE",
        help="least share of equal captions, in 0..1; with fewer the deploy fails (default: none)",
    )


def run(arguments: argparse.Namespace) -> None:
    from captioner.operations.deploy import deploy

    deploy(
        arguments.archive,
        shared.server_target(arguments),
        sha256=arguments.sha256,
        workers=arguments.workers,
        keep=not arguments.remove_old,
        shadowing=_shadowing(arguments),
    )


def _shadowing(arguments: argparse.Namespace) -> ShadowOptions | None:
    from captioner.operations.shadow import ShadowOptions

    values = {"minutes": arguments.shadow_minutes, "agreement": arguments.shadow_agreement}
    given = {name: value for name, value in values.items() if value is not None}
    if arguments.shadow is not None:
        return ShadowOptions(arguments.shadow, **given)
    if given:
        raise ValueError(f"--shadow-{next(iter(given))} needs --shadow, such as --shadow 0.1")
    return None
