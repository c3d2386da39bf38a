"""The page of ``captioner web --server`` in front of a TorchServe."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from PIL import Image

from model import Captioner
from model.attention_overlay import overlay
from tests.captioner.operations.servers import SECONDS, RunningServer
from tests.captioner.web.page.browser import CHROMIUM, chromium, opened
from tests.captioner.web.servers import running_page

# As static/server.js asks for every photo.
HEADERS = {
    "Content-Type": "application/octet-stream",
    "X-Caption-Return-Attention": "true",
    "X-Caption-Return-Image": "true",
}
ROUNDING = 3.0  # of 255: the browser decodes and draws otherwise than the model, by this much


@pytest.fixture
def page(server: RunningServer) -> Iterator[str]:
    """The address of the page; what it shows is captioned by the server."""
    with running_page(server.inference) as url:
        yield url


def test_a_photo_is_captioned_and_explained(server: RunningServer, page: str, render) -> None:
    photo = render(size=(300, 200))
    url = f"{page}/predictions/captioner"
    passed = requests.post(url, photo, headers=HEADERS, timeout=SECONDS)
    assert passed.status_code == 200, passed.text
    reply = passed.json()
    assert passed.headers["x-request-id"] == reply.pop("request_id")  # TorchServe's, passed on
    direct = requests.post(server.url, photo, headers=HEADERS, timeout=SECONDS).json()
    del direct["request_id"]
    assert reply == direct
    ((caption, *_),) = Captioner.load(server.checkpoint).caption([photo])
    assert reply["caption"] == caption.text
    assert reply["image"] == {"width": 300, "height": 200, "format": "JPEG"}
    maps = reply["attention"]["maps"]
    assert [each["word"] for each in maps] == caption.words
    assert np.allclose([np.sum(each["weights"]) for each in maps], 1, atol=0.01)


def test_a_refusal_is_torchserves(page: str) -> None:
    url = f"{page}/predictions/captioner"
    reply = requests.post(url, b"no photo", headers=HEADERS, timeout=SECONDS)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_image")
    described = requests.get(f"{page}/models/captioner", timeout=SECONDS)
    assert not described.ok  # TorchServe has no such address; the page does without


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_a_photo_is_dropped_on_the_page(server: RunningServer, page: str, render) -> None:
    photo = render(size=(300, 200), format="PNG")
    reply = requests.post(server.url, photo, headers=HEADERS, timeout=SECONDS).json()
    weights = np.array(reply["attention"]["maps"][0]["weights"])
    expected = overlay(Image.open(io.BytesIO(photo)).convert("RGB"), weights)
    with chromium() as browser, opened(browser, f"{page}/") as visit:
        visit.drop(photo=photo)
        visit.expect_caption(reply["caption"])
        visit.words.first.hover()
        shown = visit.overlay()
    assert shown is not None
    assert np.abs(shown - np.asarray(expected)).max() <= ROUNDING
