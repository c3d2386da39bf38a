"""Error messages of the commands: one line on standard error, with no password in it."""

from __future__ import annotations

import sys

INSTALL_EXTRAS = "pip install 'captioner[serve,train]'"


def print_error(message: str) -> None:
    """Print a message as one line on standard error."""
    print(f"captioner: {without_passwords(' '.join(message.split()))}", file=sys.stderr)


def describe(error: Exception) -> str:
    """Return the message of an error, with what to do about it where that is known."""
    from captioner.operations.keys import advised

    if isinstance(error, ModuleNotFoundError):
        return f"{error.name or error} is not installed, which this needs: {INSTALL_EXTRAS}"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}"
    return advised(str(error))


def without_passwords(message: str) -> str:
    """Return a message with the users and passwords of its addresses replaced by ``***``."""
    if "@" not in message:
        return message
    try:
        from captioner.client import redacted  # here: it needs httpx2, which takes a while
    except ModuleNotFoundError:
        return message  # no command takes an address then
    return redacted(message)
