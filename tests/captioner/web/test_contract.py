"""The web server answers what TorchServe answers: the same cases, the same replies."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from captioner.operations.store import MODEL
from captioner.paths import ROOT
from captioner.web.observations import listed_metrics
from handler.options import RequestOptions
from handler.routes import Route
from handler.service import CaptionService, IncomingRequest
from model import Captioner, checkpoint
from tests.captioner.contract import (
    check_captions,
    check_documented_line,
    check_header_of_caller,
    check_json_as_curl_sends_it,
    documented_lines,
)
from tests.captioner.web.servers import RunningWeb
from tests.handler.openapi_checks import check_against_server

pytestmark = pytest.mark.slow

SECONDS = 60.0


def test_captions_are_the_checkpoints(web: RunningWeb, render) -> None:
    assert f"curl -T photo.jpg {web.predictions}" in web.printed
    check_captions(web.url, web.checkpoint, render)


def test_the_openapi_document_is_what_is_served(web: RunningWeb) -> None:
    check_against_server(web.url, max_examples=10)


def test_json_as_curl_sends_it_by_default(web: RunningWeb, render, tmp_path: Path) -> None:
    check_json_as_curl_sends_it(web.url, tmp_path, render)


@pytest.mark.parametrize("name", ["describe", "Explain"])
def test_a_callers_header_orders_no_other_kind_of_reply(web: RunningWeb, render, name: str) -> None:
    check_header_of_caller(web.url, render, name)


def split_numbers(text: str) -> tuple[list[str], list[float]]:
    """Return a text without its decimal fractions, and those."""
    decimal = r"-?\d+\.\d+(?:e-?\d+)?"
    return re.split(decimal, text), [float(each) for each in re.findall(decimal, text)]


def test_replies_are_the_services_but_for_rounding(web: RunningWeb, render) -> None:
    """The service answers for TorchServe as well; another process may add in another order."""
    photo = render()
    b64 = base64.b64encode(photo).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64]}
    image, explain = {"content-type": "image/jpeg"}, Route.EXPLAIN
    plain = "/predictions/captioner"
    cases: list[tuple[str, Route, Any, dict[str, str]]] = [
        (plain, Route.PREDICT, photo, image),
        (plain, Route.PREDICT, photo, {}),
        (plain, Route.PREDICT, photo, {"x-caption-beam-size": "2", "x-caption-num-captions": "2"}),
        (plain, Route.PREDICT, photo, {"x-caption-return-image": "1"}),
        (plain, Route.PREDICT, photo, {"x-caption-beam-size": "many"}),
        (plain, Route.PREDICT, photo, {"content-type": "text/plain"}),
        (plain, Route.PREDICT, b"", {}),
        (plain, Route.PREDICT, b"no photo", {}),
        (plain, Route.PREDICT, {"image": {"b64": b64}, "options": {"max_length": 2}}, {}),
        (plain, Route.PREDICT, {"image": {"b64": "?"}}, {}),
        (f"{plain}/1.0", Route.PREDICT, photo, image),
        ("/invocations", Route.PREDICT, photo, image),
        ("/explanations/captioner", explain, photo, image),
        ("/explanations/captioner", explain, photo, {"accept": "image/png"}),
        ("/v1/models/captioner:predict", Route.PREDICT, {"instances": [{"b64": b64}] * 2}, {}),
        ("/v1/models/captioner:explain", explain, {"instances": [{"b64": b64}]}, {}),
        ("/v2/models/captioner/infer", Route.PREDICT, {"inputs": [tensor]}, {}),
        ("/v2/models/captioner/versions/1.0/infer", Route.PREDICT, {"inputs": []}, {}),
    ]
    digest = checkpoint.digest(web.checkpoint)
    about = {"name": MODEL, "version": "1.0", "digest": digest}
    captioner = Captioner.load(web.checkpoint, "cpu", "float32")
    service = CaptionService(captioner, RequestOptions(), about, web.checkpoint)
    for path, route, sent, headers in cases:
        body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        reply = requests.post(web.url + path, data=body, headers=headers, timeout=SECONDS)
        asked = IncomingRequest(reply.headers["x-request-id"], route, {"body": body}, headers)
        (wanted,) = service.answer([asked]).requests
        if isinstance(wanted.reply.body, bytes):
            assert reply.content.startswith(b"\x89PNG"), path
        else:
            texts, numbers = split_numbers(reply.text)
            wanted_texts, wanted_numbers = split_numbers(wanted.reply.body)
            assert texts == wanted_texts, path
            assert numbers == pytest.approx(wanted_numbers, abs=1e-3), path
        assert reply.status_code == wanted.reply.status
        assert reply.headers["content-type"] == wanted.reply.media_type


def test_forms_of_curl(web: RunningWeb, render, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(render())
    plain = requests.put(web.predictions, data=render(), timeout=SECONDS).json()

    def curl(*options: str) -> dict[str, Any]:
        command = ["curl", "-sS", "-m", "60", *options, web.predictions]
        return dict(json.loads(subprocess.check_output(command, cwd=tmp_path)))

    assert curl("-F", "data=@photo.jpg")["caption"] == plain["caption"]
    assert curl("-F", "photo=@photo.jpg")["caption"] == plain["caption"]
    short = curl("-F", "data=@photo.jpg", "-F", "max_length=1", "-F", "return_tokens=true")
    assert len(short["tokens"]) == 2
    assert curl("-F", "beam_size=2")["error"]["code"] == "invalid_request"
    sent_as_form = curl("--data-binary", "@photo.jpg")
    assert sent_as_form["error"]["code"] == "unsupported_media_type"


def test_what_does_not_exist(web: RunningWeb, render) -> None:
    cases = {
        "/predictions/other": (404, "ModelNotFoundException"),
        "/predictions/captioner/7": (404, "ModelVersionNotFoundException"),
        "/nothing": (404, "ResourceNotFoundException"),
        "/ping": (405, "MethodNotAllowedException"),
    }
    for path, (status, type) in cases.items():
        reply = requests.post(web.url + path, data=render(), timeout=SECONDS)
        assert reply.status_code == reply.json()["code"] == status
        assert reply.json()["type"] == type
        assert reply.json()["message"]
        assert reply.headers["x-request-id"]


def test_metrics_have_the_names_of_torchserves(web: RunningWeb, render) -> None:
    assert requests.put(web.predictions, data=render(), timeout=SECONDS).status_code == 200
    text = requests.get(f"{web.url}/metrics", timeout=SECONDS).text
    dashboard = (ROOT / "deploy" / "grafana" / "captioner.json").read_text()
    used = set(re.findall(r"\b(?:captioner|ts)_[a-z_]+", dashboard)) - {"captioner_captions"}
    names = {each.name for each in listed_metrics() if each.kind != "gauge"}
    for name in names | {each for each in used if each.startswith("ts_")}:
        assert re.search(rf"^{name}(_bucket|_count)?{{.*}} [1-9]", text, re.MULTILINE), name
    assert re.search(r'^captioner_requests_total\{.*Outcome="ok",Version="1.0"\}', text, re.M)
    assert "_created" not in text


def test_what_is_served_is_described(web: RunningWeb) -> None:
    described = requests.get(f"{web.url}/models/captioner", timeout=SECONDS).json()
    assert described["options"]["beam_size"]["maximum"] == 20
    model = requests.get(f"{web.url}/v2/models/captioner", timeout=SECONDS).json()
    assert model["versions"] == ["1.0"]
    assert model["parameters"] == described["model"]
    page = requests.get(f"{web.url}/docs", timeout=SECONDS)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "X-Caption-Beam-Size" in page.text


@pytest.mark.parametrize(
    ("document", "heading"),
    [("docs/api.md", "## Over HTTP"), ("README.md", "## With curl")],
)
def test_the_lines_of_the_documents(
    web: RunningWeb, render, tmp_path: Path, document: str, heading: str
) -> None:
    """Those that ask this server."""
    lines = [each for each in documented_lines(document, heading) if "localhost:8080" in each]
    assert lines
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    for line in lines:
        line = re.sub("(http://)?localhost:8080", web.url, line).replace("curl ", "curl -fsS ")
        check_documented_line(line, tmp_path)


def test_a_line_of_the_log_for_each_request(web: RunningWeb, render) -> None:
    good = requests.put(web.predictions, data=render(), timeout=SECONDS)
    bad = requests.put(web.predictions, data=b"no photo: SECRET", timeout=SECONDS)
    lines = re.findall(r"^request (\{.*\})$", web.logged(), re.MULTILINE)
    logged = {line["request_id"]: line for line in map(json.loads, lines)}
    assert logged[good.headers["x-request-id"]]["outcome"] == "ok"
    assert logged[bad.headers["x-request-id"]]["outcome"] == "invalid_image"
    assert "SECRET" not in web.logged()
