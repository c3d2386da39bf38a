"""Settings and requests that both clients share; only the sending differs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import httpx2

from captioner.addresses import EXAMPLE, read_address
from captioner.client.answers import failure_of
from captioner.client.errors import CaptionError
from captioner.client.photos import option_headers
from captioner.client.replies import Reply
from captioner.client.retries import Retries

DEFAULT_URL = EXAMPLE
IDLE_SECONDS = 60.0  # after which an unused connection is closed
# A proxy that the environment names cannot reach this machine's own loopback.
DIRECT = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}

Transport = TypeVar("Transport", httpx2.BaseTransport, httpx2.AsyncBaseTransport)
Http = TypeVar("Http", httpx2.Client, httpx2.AsyncClient)

# The outcome for one photo of many.
Outcome: TypeAlias = Reply | CaptionError | OSError


class BaseCaptionClient(Generic[Transport]):
    """Everything but the sending: settings, requests, and when to try again."""

    _http: httpx2.Client | httpx2.AsyncClient

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        model: str = "captioner",
        version: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        backoff: float = 0.25,
        concurrency: int = 8,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Transport | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        """
        Parameters
        ----------
        url
            Address of the server; may have a path, if a proxy adds one, and a user and password,
            ``https://team:PASSWORD@captioner.example``, if a proxy asks for them.
        model, version
            The model's name there, and which of its versions; None is the default one.
        timeout
            Seconds without a sign of the server, while connecting, sending or waiting for the
            answer; of one attempt, not of the whole call.
        retries
            Attempts after the first, if no answer came, or one that says "not now".
        backoff
            Seconds before the second attempt; doubled for each further one, at most 30, and
            shortened at random by up to a half, so that clients do not return together. A
            server's ``Retry-After`` is waited before that; above 30 s there is no retry.
        concurrency
            Photos that ``caption_many`` has under way at a time.
        token
            TorchServe's inference key, if it wants one; replaces an ``Authorization`` in
            ``headers``.
        headers
            Sent with every request, such as ``Authorization`` for a proxy.
        transport
            One of httpx2's transports, in place of a TCP connection.
        sleep
            Waits some seconds, in place of `time.sleep` or `asyncio.sleep`.

        Raises
        ------
        ValueError
            A setting is out of its range, or the address is malformed.
        """
        for name, number, minimum in (
            ("retries", retries, 0),
            ("backoff", backoff, 0),
            ("concurrency", concurrency, 1),
        ):
            if number < minimum:
                raise ValueError(f"{name} is {number}; it must be at least {minimum}")
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; it must be above 0 seconds")
        address = read_address(url)
        self._url = _checked(address.url)
        self._path = quote(model, safe="") + (f"/{quote(version, safe='')}" if version else "")
        self._retries, self._concurrency = Retries(retries, backoff), concurrency
        self._sleep = sleep
        settings: dict[str, Any] = {
            "auth": address.auth,
            "headers": _headers(headers or {}, token),
            # Threads and tasks are bounded elsewhere; waiting for a connection is no timeout.
            "timeout": httpx2.Timeout(timeout, pool=None),
            "limits": httpx2.Limits(
                max_keepalive_connections=max(20, concurrency), keepalive_expiry=IDLE_SECONDS
            ),
        }
        self._open(transport, settings)

    def _open(self, transport: Transport | None, settings: dict[str, Any]) -> None:
        raise NotImplementedError

    def _request(
        self, route: str, photo: bytes, options: Mapping[str, Any], accept: str
    ) -> httpx2.Request:
        headers = option_headers(options)
        headers |= {"Content-Type": "application/octet-stream", "Accept": accept}
        url = f"{self._url}/{route}/{self._path}"
        return self._http.build_request("POST", url, content=photo, headers=headers)

    def _wait_after(self, answer: httpx2.Response | httpx2.RequestError, attempt: int) -> float:
        """Return the seconds until the next attempt, or raise the failure if there is none."""
        return self._retries.wait_after(failure_of(answer), attempt)


def connect(kind: type[Http], **settings: Any) -> Http:
    """Make a client of httpx2 that asks this machine directly and others as the environment says.

    Raises
    ------
    ValueError
        The environment names a proxy that cannot be used.
    """
    try:
        return kind(mounts=DIRECT, **settings)
    except (httpx2.InvalidURL, ValueError, ImportError) as error:
        # The reason may quote an address with its password; the name of a missing package may not.
        reason = f": {error}" if isinstance(error, ImportError) else ""
        raise ValueError(
            "the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY names cannot be used"
            + reason
        ) from None


def _checked(url: str) -> str:
    """Raise `ValueError` unless httpx2 takes the address, whose host may be in any script."""
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"url is {url!r}; it must be like {EXAMPLE}") from error
    return url


def _headers(headers: Mapping[str, str], token: str | None) -> httpx2.Headers:
    """Return the headers of every request; no error shows a value, which may be a secret."""
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise ValueError("token must be of ASCII letters, digits and signs, without spaces")
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} has a value that cannot be sent")
    sent = httpx2.Headers(headers)
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    return sent
