"""Addresses of servers, with and without a user and a password."""

from __future__ import annotations

import pytest

from captioner.addresses import Address, read_address, redacted


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:8080", Address("http://127.0.0.1:8080")),
        ("http://captioner.example/", Address("http://captioner.example")),
        ("HTTPS://captioner.example:/a/b/", Address("https://captioner.example/a/b")),
        ("http://[::1]:8080", Address("http://[::1]:8080")),
        ("http://me@host", Address("http://host", ("me", ""))),
        ("http://me:pass:word@host", Address("http://host", ("me", "pass:word"))),
        ("http://me:a%2Fb%40c@host/d", Address("http://host/d", ("me", "a/b@c"))),
        ("http://m\u00fcnchen.example", Address("http://m\u00fcnchen.example")),
    ],
)
def test_an_address_is_taken_apart(text: str, address: Address) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "captioner.example",
        "localhost:8080",
        "ftp://captioner.example",
        "http:/captioner.example",
        "http://",
        "http://:8080",
        "http://host:65536",
        "http://host:eighty",
        "http://host name",
        "http://host\n",
        "http://host?x=1",
        "http://host#x",
        "http://me:a/b@host",
        "http://me:a@b@host",
        "http://host/path@host",
    ],
)
def test_a_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^url is .*; it must be like http://"):
        read_address(text)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(read_address("http://me:secret@host"))


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("see http://me:pw@host/x.", "see http://***@host/x."),
        ("'https://me:pw@a' and 'http://me@b'", "'https://***@a' and 'http://***@b'"),
        ("mail me@example.org, http://host:8080/", "mail me@example.org, http://host:8080/"),
    ],
)
def test_a_text_is_redacted(text: str, without: str) -> None:
    assert redacted(text) == without
