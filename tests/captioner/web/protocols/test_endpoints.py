"""Behaviour that all protocols of other systems share: captions, keys, limits, refusals."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from captioner.web.settings import Limits
from handler.caption_request import MAX_PHOTOS
from model import Captioner, DecodingOptions
from tests.captioner.web.fakes import SECONDS, RunningApp, wait_until
from tests.captioner.web.protocols.cases import Protocol
from tests.captioner.web.protocols.conftest import Serve


def ask(
    app: RunningApp, protocol: Protocol, images: list[str], headers: dict[str, str] | None = None
) -> requests.Response:
    return requests.post(
        app.url + protocol.path, json=protocol.request(images), headers=headers, timeout=SECONDS
    )


def check_refused(
    app: RunningApp, protocol: Protocol, body: str | bytes, status: int, *words: str
) -> None:
    reply = requests.post(app.url + protocol.path, data=body, timeout=SECONDS)
    message = protocol.message(reply.json())
    assert reply.status_code == status, message
    assert all(word in message for word in words), message
    assert app.script.batches == []


def test_captions_are_the_captioners(
    serve: Serve, protocol: Protocol, captioner: Captioner, render
) -> None:
    photos = [render(color) for color in ("red", "green", "blue")]
    wanted = [each[0].text for each in captioner.caption(photos)]
    with serve() as app:
        one = ask(app, protocol, [protocol.photo(photos[0])])
        all_of_them = ask(app, protocol, [protocol.photo(each) for each in photos])
    assert one.headers["content-type"] == "application/json"
    assert protocol.captions(one.json()) == wanted[:1]
    assert protocol.captions(all_of_them.json()) == wanted


def test_options_of_headers(serve: Serve, protocol: Protocol, captioner: Captioner, render) -> None:
    photo = render()
    ((wanted, *_),) = captioner.caption([photo], DecodingOptions(max_length=1))
    with serve() as app:
        reply = ask(app, protocol, [protocol.photo(photo)], {"X-Caption-Max-Length": "1"})
        refused = ask(app, protocol, [protocol.photo(photo)], {"X-Caption-Max-Length": "0"})
    assert protocol.captions(reply.json()) == [wanted.text]
    assert refused.status_code == 400
    assert "max_length is '0'" in protocol.message(refused.json())


def test_only_who_has_the_key_is_answered(serve: Serve, protocol: Protocol, render) -> None:
    images = [protocol.photo(render())]
    with serve(key="secret") as app:
        refused = ask(app, protocol, images)
        answered = ask(app, protocol, images, {"Authorization": "Bearer secret"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in protocol.message(refused.json())
    assert answered.status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "llava"}, 404, ["'llava", "ask for captioner"]),
        ({"model": "captioner:7"}, 404, ["7"]),
        ({"model": ["captioner"]}, 400, ["model is ['captioner']"]),
    ],
)
def test_models_that_there_are_not(
    serve: Serve, protocol: Protocol, render, change: dict[str, Any], status: int, words: list[str]
) -> None:
    body = protocol.request([protocol.photo(render())]) | change
    with serve() as app:
        check_refused(app, protocol, json.dumps(body), status, *words)
        body["model"] = "captioner:1.0"
        assert requests.post(app.url + protocol.path, json=body, timeout=SECONDS).ok


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        ("https://example.org/photo.jpg", ["is an address", "fetches none"]),
        ("file:///etc/passwd", ["is an address", "fetches none"]),
        ("data:image/jpeg,%FF%D8", ["not in base64"]),
        (7, ["it must be a photo's file in base64"]),
    ],
)
def test_what_is_no_photo_in_base64(
    serve: Serve, protocol: Protocol, photo: Any, words: list[str]
) -> None:
    with serve() as app:
        check_refused(app, protocol, json.dumps(protocol.request([photo])), 400, *words)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        ("bm8gcGhvdG8=", "image 0"),
        ("bm8gcGhvdG8", "is not base64"),
        ("bm8gcGhvdG8=\n", "is not base64"),
        ("", "image 0"),
    ],
)
def test_photos_that_the_captioner_refuses(
    serve: Serve, protocol: Protocol, photo: str, words: str
) -> None:
    with serve() as app:
        reply = ask(app, protocol, [photo])
    assert reply.status_code == 400
    assert words in protocol.message(reply.json())


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"", "no JSON"), (b"\xff\xd8", "no JSON"), (b"[1]", "JSON object"), (b'{"a": NaN}', "NaN")],
)
def test_what_is_no_json_object(serve: Serve, protocol: Protocol, body: bytes, words: str) -> None:
    with serve() as app:
        check_refused(app, protocol, body, 400, words)


def test_none_or_too_many_photos(serve: Serve, protocol: Protocol) -> None:
    with serve() as app:
        check_refused(app, protocol, json.dumps(protocol.request([])), 400, "holds no photo")
        many = protocol.request(["bm8="] * (MAX_PHOTOS + 1))
        check_refused(app, protocol, json.dumps(many), 400, "33 photos", f"at most {MAX_PHOTOS}")


def test_a_body_that_is_too_large(serve: Serve, protocol: Protocol) -> None:
    with serve(limits=Limits(request_bytes=1000)) as app:
        check_refused(app, protocol, bytes(1001), 413, "MiB")


def test_what_is_made_of_a_body_is_held_too(serve: Serve, protocol: Protocol, render) -> None:
    image = protocol.photo(render())
    size = len(json.dumps(protocol.request([image])))
    with serve(limits=Limits(held_bytes=size + 100)) as app:
        check_refused(app, protocol, json.dumps(protocol.request([image])), 503, "memory")


def test_a_full_queue(serve: Serve, protocol: Protocol, render) -> None:
    images = [protocol.photo(render())]
    settings = {"batchSize": 1, "maxBatchDelay": 1}
    with serve(limits=Limits(waiting=1), settings=settings) as app, ThreadPoolExecutor(2) as pool:
        app.script.gate.clear()
        asked = [pool.submit(ask, app, protocol, images)]
        wait_until(lambda: len(app.script.batches) == 1)
        asked.append(pool.submit(ask, app, protocol, images))
        wait_until(lambda: app.models.pool().waiting == 1)
        refused = ask(app, protocol, images)
        app.script.gate.set()
        assert [each.result().status_code for each in asked] == [200, 200]
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert "1 requests wait" in protocol.message(refused.json())


def test_captions_and_refusals_are_counted(serve: Serve, protocol: Protocol, render) -> None:
    with serve() as app:
        assert ask(app, protocol, [protocol.photo(render())]).ok
        assert ask(app, protocol, []).status_code == 400
        text = requests.get(f"{app.url}/metrics", timeout=SECONDS).text
    counts = [line for line in text.splitlines() if line.startswith("ts_inference_requests_total{")]
    assert [each.split()[-1] for each in counts] == ["1.0"]
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("Requests4XX{")] == [
        "1.0"
    ]
