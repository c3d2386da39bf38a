"""Where files are: beside the code in a checkout, inside the package where it was installed."""

from __future__ import annotations

import os
from pathlib import Path

# The folder that holds the packages captioner, model, handler and training.
PACKAGES = Path(__file__).resolve().parents[1]

# The build of a wheel copies what a captioner needs besides code into this folder (setup.py).
_INSTALLED = Path(__file__).resolve().parent / "shipped"
IN_CHECKOUT = not _INSTALLED.is_dir()

# The folder that holds config.properties, checkpoints/ and deploy/: the checkout, or a copy of the
# needed part of it.
ROOT = PACKAGES if IN_CHECKOUT else _INSTALLED
SHIPPED = ROOT / "checkpoints" / "flickr8k"


def _user_folder() -> Path:
    """Return the folder for what an installed captioner writes, by the XDG rules."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "captioner"


_DEFAULT_STORE = ROOT / "model_store" if IN_CHECKOUT else _user_folder() / "model_store"
MODEL_STORE = Path(os.environ.get("CAPTIONER_MODEL_STORE") or _DEFAULT_STORE)
# The folder for the logs and the process id of a server.
SERVER_FOLDER = ROOT / ".serve" if IN_CHECKOUT else _user_folder() / "serve"

# The command that messages name for starting and stopping a server.
SERVE_COMMAND = "scripts/serve" if IN_CHECKOUT else "captioner serve"


def shown(path: Path) -> Path:
    """Return a path as messages print it: relative if it lies below the working directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
