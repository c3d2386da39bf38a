"""The requests that a client sends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioner.client import AsyncCaptionClient, CaptionClient
from captioner.paths import ROOT
from tests.captioner.client.both import PHOTO, PLAIN


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
def test_a_token_that_cannot_be_sent_is_not_shown(connect, scripted, token: str) -> None:
    with pytest.raises(ValueError, match=r"^token must be of ASCII") as raised:
        connect(scripted.url, token=token)
    assert not token or token not in str(raised.value)
    assert not scripted.asked


def test_a_photo_is_sent_unchanged_with_its_options_as_headers(
    connect, scripted, tmp_path: Path
) -> None:
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


def test_the_address_model_and_version_make_the_path(connect, scripted) -> None:
    scripted.answer = lambda asked: (200, PLAIN)
    client = connect(scripted.url + "/behind/a/proxy", model="my dogs", version="2.0")
    client.caption(PHOTO)
    client.explain(PHOTO)
    assert [asked.path for asked in scripted.asked] == [
        "/behind/a/proxy/predictions/my%20dogs/2.0",
        "/behind/a/proxy/explanations/my%20dogs/2.0",
    ]


@pytest.mark.parametrize("method", ["caption", "caption_many"])
@pytest.mark.parametrize("value", ["two\r\nlines", "\u00e9"])
def test_an_option_that_cannot_be_a_header_is_not_sent(
    connect, scripted, method: str, value: str
) -> None:
    photo: Any = PHOTO if method == "caption" else [PHOTO]
    with pytest.raises(ValueError, match=r"beam_size is .*; it cannot be sent"):
        getattr(connect(scripted.url), method)(photo, beam_size=value)
    assert not scripted.asked


def test_a_photo_that_cannot_be_read_is_not_sent(connect, scripted, tmp_path: Path) -> None:
    client = connect(scripted.url)
    with pytest.raises(TypeError, match="a photo is bytes or a Path, not str"):
        client.caption("photo.jpg")
    with pytest.raises(FileNotFoundError):
        client.caption(tmp_path / "missing.jpg")
    assert not scripted.asked


def test_without_photos_nothing_is_sent(connect, scripted) -> None:
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
def test_invalid_settings_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 # its message is compared below
        kind(**settings)
    assert message in str(raised.value)


def test_loopback_is_asked_directly_in_spite_of_a_proxy(
    connect, scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    scripted.answer = lambda asked: (200, PLAIN)
    assert connect(scripted.url).caption(PHOTO).caption == "a dog"


def test_the_client_needs_httpx2_and_nothing_else() -> None:
    others = ("torch", "torchvision", "timm", "PIL", "numpy", "safetensors", "regex", "requests")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({others}));"  # importing them fails
        " import captioner.client;"
        " print(*{'model', 'handler', 'training'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
