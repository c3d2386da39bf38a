"""Requests in JSON that several tests send."""

from __future__ import annotations

import base64
import json
from typing import Any

from handler.caption_request import CaptionRequest
from handler.options import RequestOptions
from handler.parsing import parse

PHOTO, OTHER = b"\xff\xd8 one photo", b"another"
B64, OTHER_B64 = (base64.b64encode(photo).decode() for photo in (PHOTO, OTHER))
DEFAULTS = RequestOptions()
JSON = {"Content-Type": "application/json; charset=utf-8"}
TENSOR = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [B64]}
BODIES = [
    {"image": {"b64": B64}, "options": {"beam_size": 2}},
    {"instances": [{"b64": B64}, {"b64": OTHER_B64}]},
    {"id": "seven", "inputs": [TENSOR]},
]


def json_request(body: object, headers: dict[str, Any] | None = None) -> CaptionRequest:
    """Read a body as bytes and as a value that TorchServe has parsed; both must give the same."""
    read = parse({"body": body}, JSON | (headers or {}), DEFAULTS)
    raw = parse({"body": bytearray(json.dumps(body).encode())}, JSON | (headers or {}), DEFAULTS)
    assert read == raw
    return raw
