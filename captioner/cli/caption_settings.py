"""The settings of a table of captions, by which a later run knows whether it may go on."""

from __future__ import annotations

import argparse
from typing import Any

from captioner.cli import arguments as shared


def table_settings(arguments: argparse.Namespace, model: str | None, place: str) -> dict[str, Any]:
    """Return all that decides what the rows of a table hold, by names for messages."""
    from captioner import __version__
    from captioner.bulk.row import encodable

    options = [
        *("recursive", "image_column", "min_confidence", "tokens", "precision"),
        *(() if arguments.watch else ("skip_existing",)),  # a restart need not give it
        "sidecar",
        *shared.decoding_values(arguments),
    ]
    return {
        "captioner's version": __version__,
        "the model": model,
        "where it runs": place,
        "the sources": [encodable(source) for source in arguments.sources],
    } | {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in options}
