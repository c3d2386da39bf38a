"""Both clients, against a scripted server: whatever one does the other does."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from captioner.client import (
    Alternative,
    AsyncCaptionClient,
    Attention,
    AttentionMap,
    BadRequest,
    CaptionClient,
    CaptionError,
    PhotoInfo,
    Reply,
    ServedModel,
    Token,
    Unavailable,
)

ROOT = Path(__file__).resolve().parents[2]
PHOTO = b"\xff\xd8 as good as a photo"
MODEL = {"name": "captioner", "version": "1.0", "digest": "ab" * 32}
PLAIN = {"caption": "a dog", "confidence": 0.5, "log_prob": -1.5, "model": MODEL, "request_id": "7"}
FULL = PLAIN | {
    "alternatives": [
        {"caption": "a cat", "confidence": None, "log_prob": -2.5, "later": 1},
        {"caption": "a cow", "log_prob": -3.5},
    ],
    "tokens": [{"word": "a", "log_prob": -0.5}, {"word": "<end>", "log_prob": -1, "later": 1}],
    "attention": {"grid": [1, 2], "maps": [{"word": "a", "weights": [[0.25, 0.75]]}], "later": 1},
    "timing_ms": {"decoding": 1, "encoding": 2.5, "search": 3, "total": 7, "later": 1},
    "image": {"width": 640, "height": 480, "format": "JPEG", "later": 1},
    "later": {"than": "this client"},
}


class Client:
    """Calls one of the two as if both were synchronous, and notes what would be waited."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.waits: list[float] = []
        self._runner = asyncio.Runner() if kind == "async" else None

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        self._client: Any
        if self._runner:
            self._client = AsyncCaptionClient(sleep=sleep, **settings)
        else:
            self._client = CaptionClient(sleep=self.waits.append, **settings)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if not self._runner:
            return method  # type: ignore[no-any-return]
        runner = self._runner
        return lambda *photos, **options: runner.run(method(*photos, **options))

    def end(self) -> None:
        if self._runner:
            self._runner.run(self._client.aclose())
            self._runner.close()
        else:
            self._client.close()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Client]]:
    """A function that makes a client of either kind."""
    clients = []

    def make(url: str, **settings: Any) -> Client:
        clients.append(Client(request.param, url=url, **settings))
        return clients[-1]

    yield make
    for client in clients:
        client.end()


def one_after_another(*answers: Any) -> Callable[[Any], Any]:
    left = iter(answers)
    return lambda asked: next(left)


def test_a_token_is_sent_with_every_request(connect, scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN)
    other = {"authorization": "Basic of a proxy", "X-Team": "dogs"}
    client = connect(scripted.url, token="s3cr-et_", headers=other)
    client.caption(PHOTO)
    client.explain(PHOTO)
    for asked in scripted.asked:
        assert asked.headers["authorization"] == "Bearer s3cr-et_"
        assert asked.headers["x-team"] == "dogs"
    connect(scripted.url).caption(PHOTO)
    assert "authorization" not in scripted.asked[-1].headers


@pytest.mark.parametrize("token", ["", "two words", "s3cret\n", "s3crét"])
def test_a_token_that_cannot_be_sent_is_not_told(connect, scripted, token: str) -> None:
    with pytest.raises(ValueError, match=r"^token must be of ASCII") as raised:
        connect(scripted.url, token=token)
    assert not token or token not in str(raised.value)
    assert not scripted.asked


def test_a_photo_and_its_options_are_sent_as_they_are(connect, scripted, tmp_path: Path) -> None:
    scripted.answer = lambda asked: (200, PLAIN)
    path = tmp_path / "photo.jpg"
    path.write_bytes(PHOTO)
    client = connect(scripted.url + "/", headers={"Authorization": "Bearer me"})
    client.caption(PHOTO)
    client.caption(path, beam_size=5, length_penalty=0.5, return_tokens=True, max_length=None)
    client.explain(bytearray(PHOTO), return_image=False)
    options = []
    for asked in scripted.asked:
        assert (asked.method, asked.body) == ("POST", PHOTO)
        assert asked.headers["content-type"] == "application/octet-stream"
        assert asked.headers["accept"] == "application/json"
        assert asked.headers["authorization"] == "Bearer me"
        options.append({k: v for k, v in asked.headers.items() if k.startswith("x-caption-")})
    assert [asked.path for asked in scripted.asked] == [
        "/predictions/captioner",
        "/predictions/captioner",
        "/explanations/captioner",
    ]
    assert options == [
        {},
        {
            "x-caption-beam-size": "5",
            "x-caption-length-penalty": "0.5",
            "x-caption-return-tokens": "true",
        },
        {"x-caption-return-image": "false"},
    ]


def test_a_version_and_a_name_of_ones_own(connect, scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN)
    client = connect(scripted.url + "/behind/a/proxy", model="my dogs", version="2.0")
    client.caption(PHOTO)
    client.explain(PHOTO)
    assert [asked.path for asked in scripted.asked] == [
        "/behind/a/proxy/predictions/my%20dogs/2.0",
        "/behind/a/proxy/explanations/my%20dogs/2.0",
    ]


@pytest.mark.parametrize("method", ["caption", "explain"])
def test_a_reply_is_read_and_what_is_new_in_it_is_not(connect, scripted, method: str) -> None:
    scripted.answer = one_after_another(
        (200, PLAIN),
        (200, FULL),
        (200, {"caption": "old", "log_prob": -1}, {"x-request-id": "8"}),
    )
    client = connect(scripted.url)
    model = ServedModel(**MODEL)
    assert getattr(client, method)(PHOTO) == Reply("a dog", 0.5, -1.5, model, "7")
    assert getattr(client, method)(PHOTO) == Reply(
        "a dog",
        0.5,
        -1.5,
        model,
        "7",
        alternatives=(Alternative("a cat", -2.5), Alternative("a cow", -3.5)),
        tokens=(Token("a", -0.5), Token("<end>", -1)),
        attention=Attention((1, 2), (AttentionMap("a", [[0.25, 0.75]]),)),
        timing_ms=FULL["timing_ms"],
        image=PhotoInfo(640, 480, "JPEG"),
    )
    assert getattr(client, method)(PHOTO) == Reply("old", None, -1, ServedModel(), "8")


def test_a_picture(connect, scripted) -> None:
    png = b"\x89PNG as good as one"
    scripted.answer = one_after_another((200, png, {"Content-Type": "image/png"}), (200, PLAIN))
    client = connect(scripted.url)
    assert client.explanation_picture(PHOTO, beam_size=1) == png
    (asked,) = scripted.asked
    assert asked.path == "/explanations/captioner"
    assert asked.headers["accept"] == "image/png"
    assert asked.headers["x-caption-beam-size"] == "1"
    with pytest.raises(CaptionError, match=r'what no captioner does: \{"caption"'):
        client.explanation_picture(PHOTO)


@pytest.mark.parametrize("method", ["caption", "caption_many"])
@pytest.mark.parametrize("value", ["two\r\nlines", "\u00e9"])
def test_what_is_no_header_is_not_sent(connect, scripted, method: str, value: str) -> None:
    photo: Any = PHOTO if method == "caption" else [PHOTO]
    with pytest.raises(ValueError, match=r"beam_size is .*; it cannot be sent"):
        getattr(connect(scripted.url), method)(photo, beam_size=value)
    assert not scripted.asked


def test_what_is_no_photo_is_not_sent(connect, scripted, tmp_path: Path) -> None:
    client = connect(scripted.url)
    with pytest.raises(TypeError, match="a photo is bytes or a Path, not str"):
        client.caption("photo.jpg")
    with pytest.raises(FileNotFoundError):
        client.caption(tmp_path / "missing.jpg")
    assert not scripted.asked


OURS = {"error": {"code": "invalid_image", "message": "not an image"}, "request_id": "9"}
TORCHSERVES = {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: x"}


@pytest.mark.parametrize(
    ("answer", "code", "message", "request_id"),
    [
        ((400, OURS), "invalid_image", "not an image", "9"),
        ((404, TORCHSERVES), "ModelNotFoundException", "Model not found: x", ""),
        ((404, TORCHSERVES, {"x-request-id": "9"}), "ModelNotFoundException", None, "9"),
        ((413, b""), "http_413", "status 413 Request Entity Too Large", ""),
        (
            (400, b"<h1>Bad\n\n  request</h1>", {"x-request-id": "9"}),
            "http_400",
            "status 400 Bad Request: <h1>Bad request</h1>",
            "9",
        ),
        ((415, ["what"]), "http_415", 'status 415 Unsupported Media Type: ["what"]', ""),
        ((422, {"error": "what"}), "http_422", None, ""),
        ((422, {"code": 422}), "http_422", None, ""),
    ],
)
@pytest.mark.parametrize("method", ["caption", "explain", "explanation_picture"])
def test_a_refusal_is_read_and_not_repeated(
    connect, scripted, method: str, answer: Any, code: str, message: str | None, request_id: str
) -> None:
    scripted.answer = lambda asked: answer
    client = connect(scripted.url)
    with pytest.raises(BadRequest) as raised:
        getattr(client, method)(PHOTO)
    error = raised.value
    assert (error.status, error.code, error.request_id) == (answer[0], code, request_id)
    if message:
        assert error.message == message
        assert str(error) == f"{message} ({answer[0]})"
    assert len(scripted.asked) == 1
    assert client.waits == []
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((302, b"", {"Location": "https://log.in"}), "302 Found: redirected to https://log.in"),
        ((200, b"<h1>Welcome</h1>"), "captioner answered what no captioner does: <h1>Welcome</h1>"),
        ((200, b"\xff\xfe" * 10_000), "what no captioner does"),
        ((200, {"text": "a dog"}), 'what no captioner does: {"text": "a dog"}'),
        ((200, ["a dog"]), "what no captioner does"),
        ((200, PLAIN | {"tokens": [{"word": "a"}]}), "what no captioner does"),
        ((200, PLAIN | {"attention": {"grid": [7], "maps": []}}), "what no captioner does"),
    ],
)
def test_another_server_is_no_captioner(connect, scripted, answer: Any, message: str) -> None:
    scripted.answer = lambda asked: answer
    with pytest.raises(CaptionError) as raised:
        connect(scripted.url).caption(PHOTO)
    assert type(raised.value) is CaptionError
    assert message in raised.value.message
    assert len(raised.value.message) < 400
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 507])
def test_not_now_is_asked_again(connect, scripted, status: int) -> None:
    busy = (status, {"code": status, "type": "ServiceUnavailableException", "message": "busy"})
    scripted.answer = one_after_another(busy, busy, (200, PLAIN), *[busy] * 4)
    client = connect(scripted.url, backoff=1.0)
    assert client.caption(PHOTO).caption == "a dog"
    assert [asked.body for asked in scripted.asked] == [PHOTO] * 3
    assert len(client.waits) == 2

    with pytest.raises(Unavailable, match="busy") as raised:
        client.caption(PHOTO)
    assert (raised.value.status, raised.value.code) == (status, "ServiceUnavailableException")
    assert len(scripted.asked) == 3 + 4
    for wait, longest in zip(client.waits, [1, 2, 1, 2, 4], strict=True):
        assert longest / 2 <= wait <= longest


def test_retries_are_chosen_and_a_wait_has_an_end(connect, scripted) -> None:
    scripted.answer = lambda asked: (503, b"<h1>busy</h1>")
    never = connect(scripted.url, retries=0)
    with pytest.raises(Unavailable, match="503 Service Unavailable: <h1>busy</h1>"):
        never.caption(PHOTO)
    assert never.waits == []
    often = connect(scripted.url, retries=9, backoff=1.0)
    with pytest.raises(Unavailable):
        often.caption(PHOTO)
    assert len(scripted.asked) == 1 + 10
    assert 15 <= max(often.waits) <= 30
    with pytest.raises(Unavailable):
        connect(scripted.url, backoff=0).caption(PHOTO)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Wed, 01 Jan 2020 00:00:20 GMT", "Date": "then"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-1"}, 0),
        ({"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}, 0),  # before the server's own Date
    ],
)
def test_the_server_says_how_long_to_wait(connect, scripted, headers: Any, seconds: int) -> None:
    scripted.answer = one_after_another((503, b"", headers), (200, PLAIN))
    client = connect(scripted.url, backoff=1.0)
    client.caption(PHOTO)
    (wait,) = client.waits
    assert seconds + 0.5 <= wait <= seconds + 1


def test_a_date_is_counted_from_the_servers_own(connect) -> None:
    """Through a transport of the test: the scripted server dates its answers itself."""
    dates = {
        "retry-after": "Wed, 01 Jan 2020 00:00:20 GMT",
        "date": "Wed, 01 Jan 2020 00:00:05 GMT",
    }
    answers = iter([httpx2.Response(503, headers=dates), httpx2.Response(200, json=PLAIN)])
    transport = httpx2.MockTransport(lambda request: next(answers))
    client = connect("http://captioner", transport=transport, backoff=1.0)
    client.caption(PHOTO)
    (wait,) = client.waits
    assert 15.5 <= wait <= 16


def test_too_long_a_wait_is_the_callers_to_decide(connect, scripted) -> None:
    scripted.answer = lambda asked: (503, b"", {"Retry-After": "3600"})
    client = connect(scripted.url)
    with pytest.raises(Unavailable) as raised:
        client.caption(PHOTO)
    assert raised.value.retry_after == 3600
    assert len(scripted.asked) == 1
    assert client.waits == []


def test_a_connection_that_breaks_is_made_again(connect, scripted) -> None:
    scripted.answer = one_after_another(None, (200, PLAIN), None, None, None, None)
    client = connect(scripted.url)
    assert client.caption(PHOTO).caption == "a dog"
    with pytest.raises(Unavailable, match=rf"{scripted.url} does not answer \(.+\); is it") as got:
        client.caption(PHOTO)
    assert (got.value.status, got.value.code, got.value.request_id) == (None, "unreachable", "")
    assert isinstance(got.value.__cause__, httpx2.RemoteProtocolError)
    assert str(got.value) == got.value.message
    assert len(scripted.asked) == 2 + 4


def test_nobody_serves(connect) -> None:
    import socket

    with socket.socket() as taken:  # bound, but not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        client = connect(f"http://me:secret@127.0.0.1:{taken.getsockname()[1]}", retries=2)
        with pytest.raises(Unavailable) as raised:
            client.caption(PHOTO)
    assert raised.value.code == "unreachable"
    assert "secret" not in str(raised.value)
    assert len(client.waits) == 2


@pytest.mark.parametrize(
    "error", [httpx2.ConnectTimeout, httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.ReadError]
)
def test_silence_is_asked_again(connect, error: type[httpx2.RequestError]) -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.extensions["timeout"]["read"])
        if len(asked) % 5 == 1:
            raise error("")
        return httpx2.Response(200, json=PLAIN) if len(asked) == 2 else httpx2.Response(503)

    transport = httpx2.MockTransport(answer)
    client = connect("http://captioner", transport=transport, timeout=3)
    assert client.caption(PHOTO).caption == "a dog"
    assert asked == [3, 3]
    asked.clear()
    with pytest.raises(Unavailable) as raised:
        connect("http://captioner", transport=transport, retries=0).caption(PHOTO)
    silent = issubclass(error, httpx2.TimeoutException)
    assert raised.value.code == ("timeout" if silent else "unreachable")
    assert "http://captioner did" in str(raised.value) or "(ReadError)" in str(raised.value)


def test_connections_are_kept(connect, scripted) -> None:
    scripted.answer = one_after_another((200, PLAIN), (400, OURS), (200, PLAIN), (200, PLAIN))
    client = connect(scripted.url)
    client.caption(PHOTO)
    with pytest.raises(BadRequest):
        client.caption(PHOTO)
    client.caption(PHOTO)
    client.explain(PHOTO)
    assert len({asked.peer for asked in scripted.asked}) == 1


def test_threads_share_a_client(scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN | {"caption": asked.body.decode()})
    with CaptionClient(scripted.url) as client, ThreadPoolExecutor(16) as pool:
        texts = pool.map(lambda i: client.caption(str(i).encode()).caption, range(200))
        assert list(texts) == [str(i) for i in range(200)]
    assert len({asked.peer for asked in scripted.asked}) <= 16


def test_tasks_share_a_client(scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN | {"caption": asked.body.decode()})

    async def ask() -> list[Reply]:
        async with AsyncCaptionClient(scripted.url) as client:
            return await asyncio.gather(*(client.caption(str(i).encode()) for i in range(50)))

    assert [reply.caption for reply in asyncio.run(ask())] == [str(i) for i in range(50)]


def test_many_photos_keep_their_order(connect, scripted, tmp_path: Path) -> None:
    """Four at a time, no more: the server answers nobody until four have come."""
    together, lock = threading.Barrier(4, timeout=60), threading.Lock()
    busy, most = 0, 0

    def answer(asked: Any) -> Any:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        together.wait()
        with lock:
            busy -= 1
        if asked.body.startswith(b"bad"):
            return 400, OURS
        return 200, PLAIN | {"caption": asked.body.decode()}

    scripted.answer = answer
    photos: list[bytes | Path] = [
        f"{'bad' if i % 5 == 3 else 'good'} {i}".encode() for i in range(12)
    ]
    photos.insert(7, tmp_path / "missing.jpg")
    answers = connect(scripted.url, concurrency=4).caption_many(iter(photos), beam_size=2)
    assert most == 4
    assert len(answers) == 13
    for photo, found in zip(photos, answers, strict=True):
        if isinstance(photo, Path):
            assert isinstance(found, FileNotFoundError)
        elif photo.startswith(b"bad"):
            assert isinstance(found, BadRequest)
        else:
            assert found.caption == photo.decode()
    assert {asked.headers["x-caption-beam-size"] for asked in scripted.asked} == {"2"}


def test_a_file_is_opened_when_its_turn_comes(connect, scripted, tmp_path: Path) -> None:
    later = tmp_path / "later.jpg"

    def answer(asked: Any) -> Any:
        later.write_bytes(b"written while the first was captioned")
        return 200, PLAIN | {"caption": asked.body.decode()}

    scripted.answer = answer
    first, second = connect(scripted.url, concurrency=1).caption_many([b"first", later])
    assert (first.caption, second.caption) == ("first", "written while the first was captioned")


def test_no_photos_are_no_requests(connect, scripted) -> None:
    assert connect(scripted.url).caption_many([]) == []
    assert not scripted.asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8080"}, "url is 'localhost:8080'; it must be like http://"),
        ({"url": "ftp://localhost"}, "url is 'ftp://localhost'; it must be like http://"),
        ({"url": "http://"}, "it must be like http://"),
        ({"url": "http://127.0.0.1:eighty"}, "url is 'http://127.0.0.1:***'; it must be like"),
        ({"url": "http://127.0.0.1:8080?x=1"}, "url is 'http://127.0.0.1:8080'; it must be like"),
        ({"timeout": 0}, "timeout is 0; it must be above 0 seconds"),
        ({"retries": -1}, "retries is -1; it must be at least 0"),
        ({"backoff": -0.1}, "backoff is -0.1; it must be at least 0"),
        ({"concurrency": 0}, "concurrency is 0; it must be at least 1"),
    ],
)
@pytest.mark.parametrize("kind", [CaptionClient, AsyncCaptionClient])
def test_settings_that_cannot_be(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 # its message is compared below
        kind(**settings)
    assert message in str(raised.value)


def test_the_environments_proxy_is_not_for_loopback(
    connect, scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    scripted.answer = lambda asked: (200, PLAIN)
    assert connect(scripted.url).caption(PHOTO).caption == "a dog"


def test_a_client_starts_without_the_captioner() -> None:
    code = (
        "import sys, captioner.client;"
        " print(*{'torch', 'numpy', 'PIL', 'model', 'handler.options'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")
