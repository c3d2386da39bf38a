"""Ask a served captioner over HTTP, from threads or from asyncio.

Needs httpx2 and nothing else: neither torch nor the rest of this project, so that it can be used,
and copied, where no captioner is installed.
"""

from __future__ import annotations

import asyncio
import errno
import random
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeAlias, TypeVar
from urllib.parse import quote

import httpx2

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

URL = "http://127.0.0.1:8080"
# A proxy of the environment cannot reach this machine's own loopback.
DIRECT = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
MOST_SECONDS = 30.0  # waited between two attempts
MOST_LETTERS = 200  # of an answer that is quoted in a message
IDLE_SECONDS = 60.0  # that an unused connection is kept

Photo: TypeAlias = bytes | Path
Known = TypeVar("Known", bound="DataclassInstance")
Transport = TypeVar("Transport", httpx2.BaseTransport, httpx2.AsyncBaseTransport)
Http = TypeVar("Http", httpx2.Client, httpx2.AsyncClient)

# All that comes before the last @ of an address may be a user and a password. An address that was
# taken for a path has one slash.
_USER = re.compile(r"([a-z][a-z0-9+.-]*:/+)\S*@", re.IGNORECASE)
_WHOLE_USER = re.compile(r"\A([a-z][a-z0-9+.-]*:/+)?.*@", re.IGNORECASE | re.DOTALL)
_NO_PORT = re.compile(r":(?!//|[0-9]*(?:/|\Z))[^/]*")


@dataclass(frozen=True)
class ServedModel:
    """Who answered; empty where a server does not tell."""

    name: str = ""
    version: str = ""
    digest: str = ""  # SHA-256 of the checkpoint, in hexadecimal digits


@dataclass(frozen=True)
class Alternative:
    """Another caption of the same photo."""

    caption: str
    log_prob: float
    confidence: float | None = None


@dataclass(frozen=True)
class Token:
    """A word of the caption, or ``<end>``, and its log-probability after those before it."""

    word: str
    log_prob: float


@dataclass(frozen=True)
class AttentionMap:
    """Where one word looked: rows from the photo's top, summing to 1, shape = (h, w)."""

    word: str
    weights: list[list[float]]


@dataclass(frozen=True)
class Attention:
    """The maps of all words over one grid, (h, w)."""

    grid: tuple[int, int]
    maps: tuple[AttentionMap, ...]


@dataclass(frozen=True)
class PhotoInfo:
    """The photo as it was read: pixels once upright, and a format such as ``JPEG``."""

    width: int
    height: int
    format: str


@dataclass(frozen=True)
class Reply:
    """A caption and what else was asked for.

    Attributes
    ----------
    confidence
        0..1; None if the checkpoint is not calibrated.
    log_prob
        Natural logarithm of the caption's probability.
    alternatives
        The captions after the best, best first; empty unless ``num_captions`` was above 1.
    tokens
        The words, then ``<end>``; empty unless ``return_tokens``.
    attention
        None unless ``return_attention``.
    timing_ms
        Milliseconds of ``decoding``, ``encoding``, ``search`` and in ``total``, of the batch the
        photo was in; empty unless ``return_timing``.
    image
        None unless ``return_image``.
    """

    caption: str
    confidence: float | None
    log_prob: float
    model: ServedModel
    request_id: str
    alternatives: tuple[Alternative, ...] = ()
    tokens: tuple[Token, ...] = ()
    attention: Attention | None = None
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    image: PhotoInfo | None = None


class CaptionError(RuntimeError):
    """A photo that was not captioned.

    Attributes
    ----------
    status
        The HTTP status; None if no answer came.
    code
        For programs, such as ``invalid_image``; what is not the captioner's own answer has
        TorchServe's type, such as ``ModelNotFoundException``, or ``http_502``.
    message
        For people.
    request_id
        What the server calls the request; empty if it does not tell.
    """

    def __init__(self, status: int | None, code: str, message: str, request_id: str = "") -> None:
        super().__init__(status, code, message, request_id)
        self.status, self.code = status, code
        self.message, self.request_id = message, request_id

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.message} ({self.status})"


class BadRequest(CaptionError):
    """Status 4xx: the same request would be refused again."""


class Unavailable(CaptionError):
    """No answer, status 5xx or 429, after all retries; the same request may succeed later.

    Attributes
    ----------
    retry_after
        Seconds that the server asks to wait, 0 if it asks for none.
    """

    retry_after: float = 0.0


Answer: TypeAlias = Reply | CaptionError | OSError


class _Client(Generic[Transport]):
    """All but the sending: settings, requests, replies, and when to try again."""

    _http: httpx2.Client | httpx2.AsyncClient

    def __init__(
        self,
        url: str = URL,
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
            Where it is served; may have a path, if a proxy adds one, and a user and password,
            ``https://team:PASSWORD@captioner.example``, if a proxy asks for them.
        model, version
            The model's name there, and which of its versions; None is the default one.
        timeout
            Seconds without a sign of the server, of connecting, of sending or of waiting for the
            answer; an attempt's, not a call's.
        retries
            Attempts after the first, if there is no answer, or one that says "not now".
        backoff
            Seconds before the second attempt; doubled for each further one, at most
            30, and shortened at random by up to a half, so that clients do not return together.
            A server's ``Retry-After`` is waited before that; above 30 s there is no retry.
        concurrency
            Photos that ``caption_many`` has under way at a time.
        token
            What TorchServe may ask for, its inference key; in place of an ``Authorization`` in
            ``headers``.
        headers
            Sent with every request, such as ``Authorization`` for a proxy.
        transport
            In place of a connection by TCP: one of httpx2's.
        sleep
            In place of `time.sleep`, or of `asyncio.sleep`.

        Raises
        ------
        ValueError
            A setting that cannot be.
        """
        for name, number, least in (
            ("retries", retries, 0),
            ("backoff", backoff, 0),
            ("concurrency", concurrency, 1),
        ):
            if number < least:
                raise ValueError(f"{name} is {number}; it must be at least {least}")
        if token is not None and not re.fullmatch(r"[!-~]+", token):  # a secret: never told
            raise ValueError("token must be of ASCII letters, digits and signs, without spaces")
        for name, value in (headers or {}).items():
            if not (value.isascii() and value.isprintable()):  # maybe a secret, too
                raise ValueError(f"the header {name} has a value that cannot be sent")
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; it must be above 0 seconds")
        address = read_address(url)
        self._url = address.url
        self._path = quote(model, safe="") + (f"/{quote(version, safe='')}" if version else "")
        self._retries, self._backoff, self._concurrency = retries, backoff, concurrency
        self._sleep = sleep
        sent = httpx2.Headers(headers)
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        settings: dict[str, Any] = {
            "auth": address.auth,
            "headers": sent,
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
        self, what: str, photo: bytes, options: Mapping[str, Any], accept: str
    ) -> httpx2.Request:
        headers = _headers(options)
        headers |= {"Content-Type": "application/octet-stream", "Accept": accept}
        url = f"{self._url}/{what}/{self._path}"
        return self._http.build_request("POST", url, content=photo, headers=headers)

    def _pause(self, attempt: int, answer: httpx2.Response | httpx2.RequestError) -> float:
        """Seconds until the next attempt after one that failed, counted from 0.

        Captioning changes nothing on the server: a POST may be repeated like a GET.

        Raises
        ------
        CaptionError
            There shall be no further attempt.
        """
        failure = failure_of(answer)
        if not isinstance(failure, Unavailable) or attempt >= self._retries:
            raise failure
        if failure.retry_after > MOST_SECONDS:
            raise failure
        longest: float = min(self._backoff * 2**attempt, MOST_SECONDS)
        return failure.retry_after + longest * random.uniform(0.5, 1.0)


class CaptionClient(_Client[httpx2.BaseTransport]):
    """Ask from ordinary code; threads may share one client, which keeps its connections.

    Options such as ``beam_size=5`` or ``return_tokens=True`` are the server's, and it is the server
    that checks them; None leaves one out.
    """

    _http: httpx2.Client

    def caption(self, photo: Photo, **options: Any) -> Reply:
        """Caption one photo, the bytes of an image file or its path.

        Raises
        ------
        BadRequest
            The photo or an option was refused.
        Unavailable
            No answer, or none but "not now", after all retries.
        CaptionError
            The answer is none of a captioner.
        OSError
            The file cannot be read.
        """
        return _reply(self._ask("predictions", photo, options))

    def caption_many(self, photos: Iterable[Photo], **options: Any) -> list[Answer]:
        """Caption photos, some at a time; files are opened when their turn comes.

        Returns
        -------
        For every photo, in order, its reply or the error that `caption` would have raised.
        """
        _headers(options)  # what is wrong for all is not every photo's error

        def one(photo: Photo) -> Answer:
            try:
                return self.caption(photo, **options)
            except (CaptionError, OSError) as error:
                return error

        with ThreadPoolExecutor(self._concurrency) as pool:
            return list(pool.map(one, photos))

    def explain(self, photo: Photo, **options: Any) -> Reply:
        """Caption one photo, with the tokens and where each of them looked; raises as `caption`."""
        return _reply(self._ask("explanations", photo, options))

    def explanation_picture(self, photo: Photo, **options: Any) -> bytes:
        """The picture of where each word looked, a PNG file; raises as `caption`."""
        return _picture(self._ask("explanations", photo, options, "image/png"))

    def _ask(
        self, what: str, photo: Photo, options: Mapping[str, Any], accept: str = "application/json"
    ) -> httpx2.Response:
        request = self._request(what, _content(photo), options, accept)
        attempt = 0
        answer: httpx2.Response | httpx2.RequestError
        while True:
            try:
                answer = self._http.send(request)
            except httpx2.RequestError as error:
                answer = error
            else:
                if answer.is_success:
                    return answer
            (self._sleep or time.sleep)(self._pause(attempt, answer))
            attempt += 1

    def close(self) -> None:
        """Close the connections; so does leaving ``with``."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, transport: httpx2.BaseTransport | None, settings: dict[str, Any]) -> None:
        self._http = connect(httpx2.Client, transport=transport, **settings)


class AsyncCaptionClient(_Client[httpx2.AsyncBaseTransport]):
    """`CaptionClient` for asyncio: the same settings, methods and errors, awaited."""

    _http: httpx2.AsyncClient

    async def caption(self, photo: Photo, **options: Any) -> Reply:
        """As `CaptionClient.caption`."""
        return _reply(await self._ask("predictions", photo, options))

    async def caption_many(self, photos: Iterable[Photo], **options: Any) -> list[Answer]:
        """As `CaptionClient.caption_many`."""
        _headers(options)
        places = asyncio.Semaphore(self._concurrency)

        async def one(photo: Photo) -> Answer:
            async with places:
                try:
                    return await self.caption(photo, **options)
                except (CaptionError, OSError) as error:
                    return error

        return await asyncio.gather(*map(one, photos))

    async def explain(self, photo: Photo, **options: Any) -> Reply:
        """As `CaptionClient.explain`."""
        return _reply(await self._ask("explanations", photo, options))

    async def explanation_picture(self, photo: Photo, **options: Any) -> bytes:
        """As `CaptionClient.explanation_picture`."""
        return _picture(await self._ask("explanations", photo, options, "image/png"))

    async def _ask(
        self, what: str, photo: Photo, options: Mapping[str, Any], accept: str = "application/json"
    ) -> httpx2.Response:
        content = await asyncio.to_thread(_content, photo)
        request = self._request(what, content, options, accept)
        attempt = 0
        answer: httpx2.Response | httpx2.RequestError
        while True:
            try:
                answer = await self._http.send(request)
            except httpx2.RequestError as error:
                answer = error
            else:
                if answer.is_success:
                    return answer
            await (self._sleep or asyncio.sleep)(self._pause(attempt, answer))
            attempt += 1

    async def aclose(self) -> None:
        """Close the connections; so does leaving ``async with``."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _open(self, transport: httpx2.AsyncBaseTransport | None, settings: dict[str, Any]) -> None:
        self._http = connect(httpx2.AsyncClient, transport=transport, **settings)


class Address(NamedTuple):
    """Where a server is, apart from who asks it, so that no message or log shows a password."""

    url: str  # without a user, a password and a slash at its end
    auth: httpx2.BasicAuth | None


def read_address(url: str) -> Address:
    """Read the address of a server, which may hold a user and a password.

    Raises
    ------
    ValueError
        It is none; the message shows neither user nor password.
    """
    without = _WHOLE_USER.sub(r"\1***@", url)
    # What is no port may be a password, too, if the host was forgotten.
    shown = _NO_PORT.sub(":***", re.split(r"[?#]", without)[0])
    try:
        read = httpx2.URL(url)
    except httpx2.InvalidURL:  # which may quote a part of the password
        read = httpx2.URL()
    if without != url and (not read.host or "@" in read.host + read.path):
        raise ValueError(
            f"url is {shown!r}; it must be like http://user:password@captioner.example, with"
            " signs such as / ? # @ in user and password percent-encoded"
        )
    if read.scheme not in ("http", "https") or not read.host or read.query or read.fragment:
        raise ValueError(f"url is {shown!r}; it must be like {URL}")
    auth = httpx2.BasicAuth(read.username, read.password) if read.userinfo else None
    return Address(str(read.copy_with(userinfo=b"")).rstrip("/"), auth)


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
        # What an address is refused for may quote its password; a missing package is named.
        reason = f": {error}" if isinstance(error, ImportError) else ""
        raise ValueError(
            "the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY names cannot be used"
            + reason
        ) from None


def redacted(text: str) -> str:
    """Replace the users and passwords of all addresses in a text."""
    return _USER.sub(r"\1***@", text)


def failure_of(answer: httpx2.Response | httpx2.RequestError) -> CaptionError:
    """What an answer without success means, or that none came."""
    if isinstance(answer, httpx2.RequestError):
        return _no_answer(answer)
    status = answer.status_code
    code, message, request_id = _told(answer)
    if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
        failure = Unavailable(status, code, message, request_id)
        failure.retry_after = _retry_after(answer.headers)
        return failure
    kind = BadRequest if status >= 400 else CaptionError
    return kind(status, code, message, request_id)


def _no_answer(error: httpx2.RequestError) -> Unavailable:
    url = error.request.url
    server = f"{url.scheme}://{url.netloc.decode()}"
    if isinstance(error, httpx2.TimeoutException):
        failure = Unavailable(None, "timeout", f"{server} did not answer in time")
    else:
        reason = redacted(str(error)) or type(error).__name__
        failure = Unavailable(
            None, "unreachable", f"{server} does not answer ({reason}); is it serving?"
        )
    failure.__cause__ = error
    return failure


def _told(response: httpx2.Response) -> tuple[str, str, str]:
    """An error's code, message and request: the captioner's, TorchServe's or a proxy's."""
    request_id = response.headers.get("x-request-id", "")
    try:
        told = response.json()
        error = told.get("error", told)
        # TorchServe's own "code" is the status once more; what happened is its "type".
        code = error.get("type") or error["code"]
        message = _without_secrets(str(error["message"]), response.request)
        return str(code), message, str(told.get("request_id") or request_id)
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    status = f"status {response.status_code} {response.reason_phrase}".rstrip()
    location = _without_secrets(response.headers.get("location", ""), response.request)
    more = f"redirected to {location}" if location else _beginning(response)
    message = f"{status}: {more}" if more else status
    return f"http_{response.status_code}", message, request_id


def _without_secrets(text: str, request: httpx2.Request) -> str:
    """Leave out of what a server answered the credentials that it was sent."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    secrets = [credentials]
    if scheme.lower() == "basic":
        with suppress(ValueError):  # a proxy's own idea of it
            secrets.append(b64decode(credentials).decode().partition(":")[2])
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return redacted(text)


def _retry_after(headers: httpx2.Headers) -> float:
    """Seconds; a date is counted from the server's own, whatever this machine's clock says."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])
    except (LookupError, ValueError, TypeError):
        return 0.0
    return max(0.0, wait.total_seconds())


def _headers(options: Mapping[str, Any]) -> dict[str, str]:
    """``beam_size=5`` as ``X-Caption-Beam-Size: 5``."""
    headers = {}
    for name, value in options.items():
        if value is None:
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not (text.isascii() and text.isprintable()):
            raise ValueError(f"{name} is {value!r}; it cannot be sent as a header")
        headers[f"X-Caption-{name.replace('_', '-').title()}"] = text
    return headers


def _content(photo: Photo) -> bytes:
    if isinstance(photo, Path):
        if photo.exists() and not photo.is_file() and not photo.is_dir():
            # A pipe or a device might never end.
            raise OSError(errno.EINVAL, "Not a regular file", str(photo))
        return photo.read_bytes()
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    raise TypeError(f"a photo is bytes or a Path, not {type(photo).__name__}")


def _reply(response: httpx2.Response) -> Reply:
    """Read what is known of a reply; a newer server may tell more."""
    try:
        told = response.json()
        attention, image = told.get("attention"), told.get("image")
        return Reply(
            caption=told["caption"],
            confidence=told.get("confidence"),
            log_prob=told["log_prob"],
            model=_known(ServedModel, told.get("model") or {}),
            request_id=told.get("request_id") or response.headers.get("x-request-id", ""),
            alternatives=tuple(_known(Alternative, a) for a in told.get("alternatives") or ()),
            tokens=tuple(_known(Token, token) for token in told.get("tokens") or ()),
            attention=_attention(attention) if attention else None,
            timing_ms=dict(told.get("timing_ms") or {}),
            image=_known(PhotoInfo, image) if image else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unexpected(response) from error


def _attention(told: Mapping[str, Any]) -> Attention:
    h, w = told["grid"]
    return Attention((h, w), tuple(_known(AttentionMap, one) for one in told["maps"]))


def _known(kind: type[Known], told: Mapping[str, Any]) -> Known:
    return kind(**{f.name: told[f.name] for f in fields(kind) if f.name in told})


def _picture(response: httpx2.Response) -> bytes:
    if response.headers.get("content-type", "").partition(";")[0].strip() != "image/png":
        raise _unexpected(response)
    return response.content


def _unexpected(response: httpx2.Response) -> CaptionError:
    return CaptionError(
        response.status_code,
        "invalid_reply",
        f"{response.request.url} answered what no captioner does: {_beginning(response)}",
        response.headers.get("x-request-id", ""),
    )


def _beginning(response: httpx2.Response) -> str:
    # A page of HTML or an attention map would bury the message.
    text = _without_secrets(" ".join(response.text[: 10 * MOST_LETTERS].split()), response.request)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 3]}..."
