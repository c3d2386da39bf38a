"""Requests and replies of the real TorchServe, which serves an archive that `package` wrote."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.captioner.contract import (
    check_captions,
    check_header_of_caller,
    check_json_as_curl_sends_it,
)
from tests.captioner.operations.servers import RunningServer
from tests.handler.openapi_checks import check_against_server

pytestmark = pytest.mark.slow


def test_from_archive_to_caption(server: RunningServer, render) -> None:
    assert '{"caption": ' in server.printed
    assert f"curl -T photo.jpg {server.url}" in server.printed

    check_captions(server.inference, server.checkpoint, render)


def test_the_openapi_document_is_what_is_served(server: RunningServer) -> None:
    check_against_server(server.inference)


@pytest.mark.parametrize("name", ["describe", "Describe", "explain", "Explain", "EXPLAIN"])
def test_a_callers_header_orders_no_other_kind_of_reply(
    server: RunningServer, render, name: str
) -> None:
    """Those headers are how TorchServe marks what came to its other addresses."""
    described = requests.get(f"{server.models}/captioner?customized=true", timeout=60)
    assert "beam_size" in described.text
    check_header_of_caller(server.inference, render, name)
    form = {name: "True", "Content-Type": "application/x-www-form-urlencoded"}
    address = f"{server.inference}/captioner/predict"
    empty = requests.post(address, data=b"", headers=form, timeout=60)
    assert empty.status_code == 415


def test_json_as_curl_sends_it_by_default(server: RunningServer, render, tmp_path: Path) -> None:
    check_json_as_curl_sends_it(server.inference, tmp_path, render)


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
