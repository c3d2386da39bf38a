"""Error messages of the commands: one line on standard error, with no password in it."""

from __future__ import annotations

import sys

from captioner.addresses import redacted

INSTALL_EXTRAS = "pip install 'captioner[serve,train,web]'"
INSTALL = {
    "pyarrow": "pip install 'captioner[bulk]'",
    "watchfiles": "pip install 'captioner[bulk]'",
    "ray": "pip install 'captioner[ray]'",
    "pandas": "pip install 'captioner[ray]'",  # by Ray Data alone
}


def print_error(message: str) -> None:
    """Print a message as one line on standard error."""
    print(f"captioner: {redacted(' '.join(message.split()))}", file=sys.stderr)


def describe(error: Exception) -> str:
    """Return the message of an error, with what to do about it where that is known."""
    from captioner.operations.keys import with_key_hint

    if isinstance(error, ModuleNotFoundError):
        name = (error.name or str(error)).partition(".")[0]
        how = INSTALL.get(name, INSTALL_EXTRAS)
        return f"{name} is not installed, which this needs: {how}"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}"
    return with_key_hint(str(error))
