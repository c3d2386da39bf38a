"""Requests and replies of every server of a captioner, TorchServe and the web app alike."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from captioner.paths import ROOT
from model import Captioner, DecodingOptions, checkpoint
from tests.conftest import RenderPhoto


def check_captions(inference: str, checkpoint_folder: Path, render: RenderPhoto) -> None:
    """Fail unless the captions are the checkpoint's, many at once, and bad photos are refused.

    Parameters
    ----------
    inference
        The address of the server, which serves the checkpoint as version 1.0.
    """
    url = f"{inference}/predictions/captioner"
    local = Captioner.load(checkpoint_folder)
    photos = [render(c, s) for c in ("red", "green", "white") for s in ("circle", "square")]
    wanted = [local.caption([photo])[0][0] for photo in photos]
    assert abs(wanted[0].log_prob - wanted[1].log_prob) > 0.02  # which tells the two apart

    # One photo, as curl -T and as a form.
    reply = requests.put(url, data=photos[0], timeout=60)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["caption"] == wanted[0].text
    assert reply.json()["log_prob"] == pytest.approx(wanted[0].log_prob, abs=0.01)
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert reply.json()["model"] == {
        "name": "captioner",
        "version": "1.0",
        "digest": checkpoint.digest(checkpoint_folder),
    }
    assert 0 < reply.json()["confidence"] < 1
    form = requests.post(url, files={"data": ("p.jpg", photos[1])}, timeout=60)
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
        return requests.post(url, data=body, headers=headers, timeout=60)

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
    assert requests.post(url, data=large, timeout=60).status_code == 400  # cut short
    larger = requests.post(url, data=bytes(33 * 2**20), timeout=60)
    assert (larger.status_code, larger.json()["error"]["code"]) == (413, "too_large")
    assert requests.post(url, data=bytes(65 * 2**20), timeout=60).status_code == 413


def check_json_as_curl_sends_it(inference: str, folder: Path, render: RenderPhoto) -> None:
    """Fail unless JSON is read without its type: a form, of curl -d, and none at all, of -T.

    Parameters
    ----------
    inference
        The address of the server.
    folder
        An empty folder.
    """
    # A file that needs padding in base64: TorchServe hands on no form that has no "=" in it.
    photos = [(photo := render(color)) + bytes(4 - len(photo) % 3) for color in ("red", "blue")]
    data = [base64.b64encode(photo).decode() for photo in photos]
    assert all("+" in each and each.endswith("=") for each in data)
    url = f"{inference}/predictions/captioner"
    wanted = [requests.put(url, data=p, timeout=60).json()["caption"] for p in photos]
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES", "data": data}
    bodies = {
        "/v1/models/captioner:predict": {"instances": [{"b64": each} for each in data]},
        "/v2/models/captioner/infer": {"id": "seven", "inputs": [tensor]},
        "/predictions/captioner": {"image": {"b64": data[0]}},
    }
    for path, body in bodies.items():
        (folder / "body.json").write_text(json.dumps(body))
        for how in (["-d", "@body.json"], ["-X", "POST", "-T", "body.json"]):
            done = subprocess.run(
                ["curl", "-sS", "-m", "60", *how, f"{inference}{path}"],
                cwd=folder,
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


def check_header_of_caller(inference: str, render: RenderPhoto, name: str) -> None:
    """Fail if a header or a field of that name orders another kind of reply.

    TorchServe marks by such headers what came to its other addresses.
    """
    url = f"{inference}/predictions/captioner"
    plain = requests.put(url, data=render(), timeout=60).json()
    asked = {name: "True"}
    for send in (requests.put, requests.post):
        reply = send(url, data=render(), headers=asked, timeout=60)
        assert reply.json().keys() == plain.keys()
        assert reply.json()["caption"] == plain["caption"]
    form = asked | {"Content-Type": "application/x-www-form-urlencoded"}
    empty = requests.post(f"{url}/1.0", data=b"", headers=form, timeout=60)
    assert empty.status_code == 415
    assert empty.json()["error"]["code"] == "unsupported_media_type"
    fields = {"data": render(), name: b"True"}
    refused = requests.post(url, files=fields, timeout=60).json()
    assert "card" not in refused
    assert "attention" not in refused
    query = requests.put(f"{url}?{name}=True&customized=true", data=render(), timeout=60)
    assert query.json().keys() == plain.keys()
    explanations = f"{inference}/explanations/captioner"
    explained = requests.put(explanations, data=render(), headers={name: "False"}, timeout=60)
    assert explained.json().keys() == plain.keys() | {"tokens", "attention"}


def documented_lines(document: str, heading: str) -> list[str]:
    """Return the lines of the first block for a shell under a heading, without comments.

    Parameters
    ----------
    document
        Its path below the repository.
    heading
        As it stands there, with its marks.
    """
    section = (ROOT / document).read_text().split(f"\n{heading}\n")[1]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block
    return [line for line in block[1].splitlines() if line and not line.startswith("#")]


def check_documented_line(line: str, folder: Path) -> None:
    """Fail unless a line of a document, with the addresses of a test's server, runs in a folder."""
    line = re.sub(r"^captioner ", f"{sys.executable} -m captioner ", line)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (line, done.stderr)
