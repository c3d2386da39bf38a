"""Keys, ids, metrics and documents, with scripted workers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests
import schemathesis

from captioner.client import BadRequest, CaptionClient
from captioner.operations.keys import Keys
from captioner.web.document import openapi_document
from captioner.web.keys import open_key_file
from captioner.web.reference import reference_page
from captioner.web.settings import Batching, Computing, Limits
from handler.routes import Route
from tests.captioner.web.fakes import SECONDS, answer, request, running_app
from tests.handler.openapi_checks import document

JPEG = {"Content-Type": "image/jpeg"}


def test_only_who_has_the_key_is_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = open_key_file(tmp_path / "keys" / "keys.json")
    with running_app(monkeypatch, key=key) as app:
        for headers in ({}, {"Authorization": key}, {"Authorization": f"Bearer {key}x"}):
            reply = requests.post(app.predictions, b"x", headers=JPEG | headers, timeout=SECONDS)
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
            described = requests.get(
                f"{app.url}/models/captioner", headers=headers, timeout=SECONDS
            )
            assert described.status_code == 401
        with CaptionClient(app.url) as client, pytest.raises(BadRequest, match="Authorization"):
            client.caption(b"photo")
        assert app.script.batches == []
        headers = JPEG | {"Authorization": f"Bearer {key}"}
        assert requests.post(app.predictions, b"x", headers=headers, timeout=SECONDS).ok
        for path in ("/ping", "/v2/health/ready", "/metrics", "/docs"):
            assert requests.get(app.url + path, timeout=SECONDS).ok


def test_a_key_file_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = open_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Keys.read(path).inference == open_key_file(path) == key
    assert len(key) >= 32
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        open_key_file(path)
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "bad.json").chmod(0o600)
    with pytest.raises(ValueError, match="lacks the keys"):
        open_key_file(tmp_path / "bad.json")


def test_each_address_asks_for_its_kind_of_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    v2 = "/v2/models/captioner"
    kinds = {
        Route.PREDICT: ["/predictions/captioner", "/predictions/captioner/1.0", "/invocations"],
        Route.EXPLAIN: ["/explanations/captioner", "/explanations/captioner/1.0"],
    }
    kinds[Route.PREDICT] += ["/v1/models/captioner:predict", f"{v2}/infer"]
    kinds[Route.PREDICT] += [f"{v2}/versions/1.0/infer"]
    kinds[Route.EXPLAIN] += ["/v1/models/captioner:explain", f"{v2}/explain"]
    with running_app(monkeypatch) as app:
        for kind, paths in kinds.items():
            for path in paths:
                reply = requests.post(app.url + path, b"x", headers=JPEG, timeout=SECONDS)
                assert reply.json() == {"body": "x", "route": kind.value}, path
        for path in (f"{v2}/versions/2.0/ready", "/predictions/captioner/2.0", "/v2/models/x"):
            assert requests.get(app.url + path, timeout=SECONDS).status_code in (404, 405)
        described = requests.get(f"{app.url}/models/captioner", timeout=SECONDS)
        assert described.json()["route"] == "describe"


def test_replies_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch) as app:
        for _ in range(3):
            assert requests.post(app.predictions, b"x", headers=JPEG, timeout=SECONDS).ok
        assert requests.get(f"{app.url}/nothing", timeout=SECONDS).status_code == 404
        assert requests.post(app.predictions, b"memory", timeout=SECONDS).status_code == 507
        text = requests.get(f"{app.url}/metrics", timeout=SECONDS).text
    samples = dict(re.findall(r"^(\w+)\{.*\} (\S+)$", text, re.MULTILINE))
    assert samples["captioner_requests_total"] == "3.0"  # as the workers said
    assert samples["ts_inference_requests_total"] == "4.0"
    counted = [samples[f"Requests{kind}XX"] for kind in (2, 4, 5)]
    assert counted == ["3.0", "1.0", "1.0"]
    assert float(samples["ts_inference_latency_microseconds"]) > 0


def test_two_requests_at_once_on_a_connection_are_answered_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = "Content-Type: image/jpeg\r\n"
    with running_app(monkeypatch) as app, app.connect() as connection:
        connection.sendall(request(b"first", more=more) + request(b"second", more=more))
        received = b""
        while received.count(b'"body"') < 2:
            received += connection.recv(9999)
    assert re.findall(rb'"body": "(\w+)"', received) == [b"first", b"second"]


def test_what_is_no_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch) as app, app.connect() as connection:
        connection.sendall(b"\x16\x03\x01 TLS\r\n\r\n")
        assert answer(connection)[0] == 400


def test_the_document_has_every_address_of_the_shared_one() -> None:
    ours = openapi_document()
    assert document()["paths"].keys() < ours["paths"].keys()
    schemathesis.openapi.from_dict(ours).validate()
    assert "TorchServe" not in json.dumps(ours["info"])
    page = reference_page(ours)
    for path in ours["paths"]:
        assert path in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(https?:)?//', page)


@pytest.mark.parametrize("size", [0, -1])
def test_settings_that_cannot_be(size: int) -> None:
    with pytest.raises(ValueError, match=f"batchSize is {size}"):
        Batching.read({"batchSize": size})
    with pytest.raises(ValueError, match=f"workers is {size}"):
        Computing(workers=size)
    with pytest.raises(ValueError, match=r"model-config\.yaml: .*'many'"):
        Batching.read({"batchSize": "many"})


def test_settings_are_those_of_torchserves_files() -> None:
    read = Batching.read({"batchSize": 3, "maxBatchDelay": 20, "responseTimeout": 7})
    assert (read.size, read.delay, read.response_timeout) == (3, 0.02, 7.0)
    limits = Limits.read()
    assert (limits.request_bytes, limits.waiting) == (64 * 2**20, 200)
