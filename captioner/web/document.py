"""The OpenAPI document of the web server: handler/openapi.yaml and what is added to it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from captioner.paths import PACKAGES

SHARED = PACKAGES / "handler" / "openapi.yaml"
ADDED = Path(__file__).with_name("openapi.yaml")
READINESS = "**Readiness.**"  # begins the part of the description that holds for TorchServe alone


@cache
def openapi_document() -> dict[str, Any]:
    """Return the document; callers must not change it."""
    document: dict[str, Any] = yaml.safe_load(SHARED.read_text())
    added: dict[str, Any] = yaml.safe_load(ADDED.read_text())
    info = document["info"]
    shared, found, _ = info["description"].partition(READINESS)
    assert found
    info["description"] = shared + added["readiness"]
    document["servers"] = [{"url": "/", "description": "This server"}]
    document["paths"]["/ping"]["get"]["description"] = added["ping"]
    document["paths"] |= added["paths"]
    return document
