"""Error messages of the commands: one line on standard error, with no password in it."""

from __future__ import annotations

import sys

from captioner.operations.keys import advised

EXTRAS = "pip install 'captioner[serve,train]'"


def complain(message: str) -> None:
    print(f"captioner: {without_passwords(' '.join(message.split()))}", file=sys.stderr)


def described(error: Exception) -> str:
    """Return the message of an error, with what to do where that is known."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name or error} is not installed, which this needs: {EXTRAS}"
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}"
    return advised(str(error))


def without_passwords(message: str) -> str:
    """Replace the users and passwords of addresses; see `captioner.client.redacted`."""
    if "@" not in message:
        return message
    try:
        from captioner.client import redacted  # here: it needs httpx2, which takes a while
    except ModuleNotFoundError:
        return message  # no command takes an address then
    return redacted(message)
