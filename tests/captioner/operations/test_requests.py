"""Requests and replies of the real TorchServe, which serves an archive that `package` wrote."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from model import Captioner, DecodingOptions, checkpoint
from tests.captioner.operations.servers import RunningServer
from tests.handler.openapi_checks import check_against_server

pytestmark = pytest.mark.slow


def test_from_archive_to_caption(server: RunningServer, render) -> None:
    assert '{"caption": ' in server.printed
    assert f"curl -T photo.jpg {server.url}" in server.printed

    local = Captioner.load(server.checkpoint)
    photos = [render(c, s) for c in ("red", "green", "white") for s in ("circle", "square")]
    wanted = [local.caption([photo])[0][0] for photo in photos]
    assert abs(wanted[0].log_prob - wanted[1].log_prob) > 0.02  # which tells the two apart

    # One photo, as curl -T and as a form.
    reply = requests.put(server.url, data=photos[0], timeout=60)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["caption"] == wanted[0].text
    assert reply.json()["log_prob"] == pytest.approx(wanted[0].log_prob, abs=0.01)
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert reply.json()["model"] == {
        "name": "captioner",
        "version": "1.0",
        "digest": checkpoint.digest(server.checkpoint),
    }
    assert 0 < reply.json()["confidence"] < 1
    form = requests.post(server.url, files={"data": ("p.jpg", photos[1])}, timeout=60)
    assert form.json()["caption"] == wanted[1].text
    assert form.json()["log_prob"] == pytest.approx(wanted[1].log_prob, abs=0.01)

    # Many at once, good and bad, with options that differ: each gets its own answer.
    beams = [1, 3, 10]
    by_beams = {k: [c[0].text for c in local.caption(photos, DecodingOptions(k))] for k in beams}
    assert len(set(by_beams[1])) > 1  # photos differ,
    assert len({tuple(texts) for texts in by_beams.values()}) == 3  # and so do options

    def ask(i: int) -> requests.Response:
        body = b"not a photo" if i % 7 == 3 else photos[i % len(photos)]
        headers = {"X-Caption-Beam-Size": str(beams[i % len(beams)])}
        return requests.post(server.url, data=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(ask, range(100)))
    for i, reply in enumerate(replies):
        if i % 7 == 3:
            assert reply.status_code == 400
            assert reply.json()["error"]["code"] == "invalid_image"
        else:
            assert reply.json()["caption"] == by_beams[beams[i % len(beams)]][i % len(photos)]

    # As large as phones make them.
    large = render("red", "circle", (4000, 3000), "BMP")[: 32 * 2**20 - 1000]
    assert requests.post(server.url, data=large, timeout=60).status_code == 400  # cut short
    larger = requests.post(server.url, data=bytes(33 * 2**20), timeout=60)
    assert (larger.status_code, larger.json()["error"]["code"]) == (413, "too_large")
    assert requests.post(server.url, data=bytes(65 * 2**20), timeout=60).status_code == 413


def test_the_openapi_document_is_what_is_served(server: RunningServer) -> None:
    check_against_server(server.inference)


@pytest.mark.parametrize("name", ["describe", "Describe", "explain", "Explain", "EXPLAIN"])
def test_a_callers_header_orders_no_other_kind_of_reply(
    server: RunningServer, render, name: str
) -> None:
    """Those headers are how TorchServe marks what came to its other addresses."""
    described = requests.get(f"{server.models}/captioner?customized=true", timeout=60)
    assert "beam_size" in described.text
    plain = requests.put(server.url, data=render(), timeout=60).json()
    asked = {name: "True"}
    for send in (requests.put, requests.post):
        reply = send(server.url, data=render(), headers=asked, timeout=60)
        assert reply.json().keys() == plain.keys()
        assert reply.json()["caption"] == plain["caption"]
    for address in (f"{server.url}/1.0", f"{server.inference}/captioner/predict"):
        form = asked | {"Content-Type": "application/x-www-form-urlencoded"}
        empty = requests.post(address, data=b"", headers=form, timeout=60)
        assert empty.status_code == 415
        assert empty.json()["error"]["code"] == "unsupported_media_type"
    fields = {"data": render(), name: b"True"}
    form = requests.post(server.url, files=fields, timeout=60).json()
    assert "card" not in form
    assert "attention" not in form
    query = requests.put(f"{server.url}?{name}=True&customized=true", data=render(), timeout=60)
    assert query.json().keys() == plain.keys()
    url = f"{server.inference}/explanations/captioner"
    explained = requests.put(url, data=render(), headers={name: "False"}, timeout=60)
    assert explained.json().keys() == plain.keys() | {"tokens", "attention"}


def test_json_as_curl_sends_it_by_default(server: RunningServer, render, tmp_path: Path) -> None:
    """Without a type: a form, of -d, and none at all, of -T."""
    # A file that needs padding in base64: TorchServe hands on no form that has no "=" in it.
    photos = [(photo := render(color)) + bytes(4 - len(photo) % 3) for color in ("red", "blue")]
    data = [base64.b64encode(photo).decode() for photo in photos]
    assert all("+" in each and each.endswith("=") for each in data)
    wanted = [requests.put(server.url, data=p, timeout=60).json()["caption"] for p in photos]
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES", "data": data}
    bodies = {
        "/v1/models/captioner:predict": {"instances": [{"b64": each} for each in data]},
        "/v2/models/captioner/infer": {"id": "seven", "inputs": [tensor]},
        "/predictions/captioner": {"image": {"b64": data[0]}},
    }
    for path, body in bodies.items():
        (tmp_path / "body.json").write_text(json.dumps(body))
        for how in (["-d", "@body.json"], ["-X", "POST", "-T", "body.json"]):
            done = subprocess.run(
                ["curl", "-sS", "-m", "60", *how, f"{server.inference}{path}"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.stdout.endswith("}\n"), (path, how, done)
            reply = json.loads(done.stdout)
            if "predictions" in reply:
                assert [each["caption"] for each in reply["predictions"]] == wanted
            elif "outputs" in reply:
                assert reply["outputs"][0]["data"] == wanted
            else:
                assert reply["caption"] == wanted[0]


def test_a_line_of_the_log_for_each_request(server: RunningServer, render) -> None:
    good = requests.put(server.url, data=render(), timeout=60)
    bad = requests.put(server.url, data=b"no photo: SECRET", timeout=60)
    ids = {reply.headers["x-request-id"]: reply for reply in (good, bad)}

    def found() -> dict[str, dict[str, Any]]:
        content = {}
        for path in (server.folder / "logs").glob("*.log*"):
            text = path.read_text(errors="replace")
            assert "SECRET" not in text
            for line in re.findall(r"request (\{.*\})$", text, re.MULTILINE):
                content[json.loads(line)["request_id"]] = json.loads(line)
        return content

    for _ in range(600):  # TorchServe writes what a worker says a little later
        if ids.keys() <= found().keys():
            break
        time.sleep(0.1)
    lines = found()
    outcomes = {200: "ok", 400: "invalid_image"}
    for request_id, reply in ids.items():
        line = lines[request_id]
        assert (line["status"], line["version"]) == (reply.status_code, "1.0")
        assert line["outcome"] == outcomes[reply.status_code]
        assert line["batch"]["ms"]["total"] > 0
