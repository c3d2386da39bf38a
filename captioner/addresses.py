"""Addresses of servers, kept apart from the user and the password that may stand in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

EXAMPLE = "http://127.0.0.1:8080"

# Everything before the last @ of an address may be a user and a password. The scheme may have one
# slash: that is how an address looks once it was taken for the path of a file.
_CREDENTIALS = re.compile(r"([a-z][a-z0-9+.-]*:/+)\S*@", re.IGNORECASE)
_CREDENTIALS_TO_THE_END = re.compile(r"\A([a-z][a-z0-9+.-]*:/+)?.*@", re.IGNORECASE | re.DOTALL)
_INVALID_PORT = re.compile(r":(?!//|[0-9]*(?:/|\Z))[^/]*")
_ADDRESS = re.compile(
    r"""
    (?P<scheme> https?://)
    (?: (?P<user> [^:/?\#@\s]*) (?: : (?P<password> [^/?\#@\s]*) )? @ )?
    (?P<host> \[[0-9a-f:.]+\] | [\w.-]+)
    (?: : (?P<port> [0-9]{1,5})? )?
    (?P<path> (?: / [^?\#@\x00-\x1f\x7f]*)? )
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Address:
    """The address of a server; neither its text nor its ``repr`` shows a password.

    Attributes
    ----------
    url
        The address without user and password and without a slash at its end.
    auth
        User and password, for HTTP's basic authentication; None if the address has none.
    """

    url: str
    auth: tuple[str, str] | None = field(default=None, repr=False)


def read_address(text: str) -> Address:
    """Read the address of a server, which may hold a user and a password.

    Raises
    ------
    ValueError
        The text is not an address; the message shows neither user nor password.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"] or 0) > 65_535:
        raise ValueError(f"url is {_shown(text)!r}; it must be like {_example(text)}")
    port = f":{found['port']}" if found["port"] else ""
    url = f"{found['scheme'].lower()}{found['host']}{port}{found['path']}".rstrip("/")
    if found["user"] is None:
        return Address(url)
    return Address(url, (unquote(found["user"]), unquote(found["password"] or "")))


def redacted(text: str) -> str:
    """Replace the users and passwords of all addresses in a text."""
    return _CREDENTIALS.sub(r"\1***@", text)


def _shown(text: str) -> str:
    """Return what of a malformed address cannot be a part of a password."""
    without_credentials = _CREDENTIALS_TO_THE_END.sub(r"\1***@", text)
    before_query = re.split(r"[?#]", without_credentials)[0]
    # What is not a port may be a password as well, if the host was forgotten.
    return _INVALID_PORT.sub(":***", before_query)


def _example(text: str) -> str:
    if "@" not in text:
        return EXAMPLE
    return (
        "http://user:password@captioner.example, with signs such as / ? # @ in user and password"
        " percent-encoded"
    )
