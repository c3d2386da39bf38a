"""When a client asks again, and how long it waits before."""

from __future__ import annotations

import socket
from typing import Any

import httpx2
import pytest

from captioner.client import Unavailable
from tests.captioner.client.both import PHOTO, PLAIN, one_after_another


@pytest.mark.parametrize("status", [429, 500, 502, 503, 507])
def test_an_unavailable_server_is_asked_again(connect, scripted, status: int) -> None:
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


def test_retries_can_be_set_and_waits_are_bounded(connect, scripted) -> None:
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


def test_a_date_is_compared_with_the_servers_own(connect) -> None:
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


def test_a_wait_beyond_the_maximum_is_left_to_the_caller(connect, scripted) -> None:
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


def test_a_refused_connection_is_tried_again(connect) -> None:
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
def test_a_timeout_or_a_broken_connection_is_tried_again(
    connect, error: type[httpx2.RequestError]
) -> None:
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
