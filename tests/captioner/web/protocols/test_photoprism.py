"""The replies that PhotoPrism reads, and the requests that its vision.yml may have it send."""

from __future__ import annotations

import requests

from model import Captioner
from tests.captioner.web.fakes import SECONDS
from tests.captioner.web.protocols.cases import data_url, of_photoprism
from tests.captioner.web.protocols.conftest import Serve

PATH = "/api/v1/vision/caption"


def test_the_reply_is_an_api_response(serve: Serve, captioner: Captioner, render) -> None:
    ((caption, *_),) = captioner.caption([render()])
    asked = of_photoprism([data_url(render())])
    with serve() as app:
        reply = requests.post(app.url + PATH, json=asked, timeout=SECONDS).json()
    wanted = {"text": caption.text, "source": "image", "confidence": caption.confidence}
    assert reply == {
        "id": asked["id"],
        "code": 200,
        "model": {"type": "caption", "name": "captioner", "version": "1.0"},
        "result": {"caption": wanted},
    }


def test_several_photos_have_their_captions_beside_the_first(serve: Serve, render) -> None:
    photos = [data_url(render(color)) for color in ("red", "blue")]
    with serve() as app:
        reply = requests.post(app.url + PATH, json=of_photoprism(photos), timeout=SECONDS).json()
    result = reply["result"]
    assert result["captions"][0] == result["caption"]
    assert len(result["captions"]) == 2


def test_a_captioner_without_confidence(serve: Serve, captioner: Captioner, render) -> None:
    captioner.calibration = None
    with serve() as app:
        asked = of_photoprism([data_url(render())])
        reply = requests.post(app.url + PATH, json=asked, timeout=SECONDS).json()
    assert reply["result"]["caption"].keys() == {"text", "source"}


def test_what_may_be_missing(serve: Serve, render) -> None:
    with serve() as app:
        asked = {"images": [data_url(render())]}
        reply = requests.post(app.url + PATH, json=asked, timeout=SECONDS)
    assert reply.json()["id"] == reply.headers["x-request-id"]


def test_addresses_are_not_fetched(serve: Serve) -> None:
    """PhotoPrism sends them if FileScheme is https."""
    asked = {"id": "a", "url": "https://photos.example/api/v1/dl/1", "images": []}
    with serve() as app:
        reply = requests.post(app.url + PATH, json=asked, timeout=SECONDS)
    assert reply.status_code == reply.json()["code"] == 400
    assert "FileScheme: data" in reply.json()["error"]
    assert reply.json()["result"] == {}
