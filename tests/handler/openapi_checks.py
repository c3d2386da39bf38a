"""Generated requests and the checks of their replies, both by handler/openapi.yaml."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from typing import Any

import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from captioner.paths import ROOT
from tests.hostile import valid_photos

DOCUMENT = ROOT / "handler" / "openapi.yaml"
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# TorchServe answers a malformed form with status 500 itself; the request reaches no worker.
BAD_FORM = "ErrorDataDecoderException"


def document() -> dict[str, Any]:
    """Return the parsed OpenAPI document."""
    return dict(yaml.safe_load(DOCUMENT.read_text()))


def check_against_server(base_url: str, max_examples: int = 20, seconds: float = 60) -> int:
    """Fail unless a server answers valid and invalid requests as the document says.

    Parameters
    ----------
    base_url
        Such as ``http://127.0.0.1:8080``; the model is named ``captioner``.
    max_examples
        Number of valid requests for each operation, and of invalid ones.
    seconds
        Time in which a reply must come.

    Returns
    -------
    Number of replies with status 200; the other requests were refused as the document says
    """
    _register_photos()
    answered = 0
    with requests.Session() as session:

        def ask(case: Case) -> int:
            response = case.call(base_url=base_url, session=session, timeout=seconds)
            checks = CHECKS
            if response.status_code == 500 and response.json().get("type") == BAD_FORM:
                checks = [check for check in CHECKS if check is not not_a_server_error]
            case.validate_response(response, checks=checks)
            return response.status_code

        for found in schemathesis.openapi.from_dict(document()).get_all_operations():
            operation = found.ok()
            right = _statuses(operation.as_strategy(GenerationMode.POSITIVE), ask, max_examples)
            assert right[200], f"{operation.label} answered {dict(right)}"
            answered += right[200]
            if operation.body:
                wrong = operation.as_strategy(GenerationMode.NEGATIVE)
                answered += _statuses(wrong, ask, max_examples)[200]
    return answered


def _statuses(
    cases: st.SearchStrategy[Case], ask: Callable[[Case], int], max_examples: int
) -> Counter[int]:
    """Count the statuses of the replies; the cases are the same every time."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=max_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Case) -> None:
        statuses[ask(case)] += 1

    check()
    return statuses


def _register_photos() -> None:
    """Send a photo, in two of three cases, where the document says binary."""
    photos = st.one_of(
        st.sampled_from([*valid_photos().values()]),
        st.sampled_from([*valid_photos().values()]),
        st.binary(max_size=99),
    )
    schemathesis.openapi.format("binary", photos)
    schemathesis.openapi.format("byte", photos.map(lambda photo: base64.b64encode(photo).decode()))
    # Generated versions hardly ever exist: the served one must be among them.
    schemathesis.openapi.format("version", st.sampled_from(["1.0", "1.0", "7", "1.0.3"]))
    for media_type in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(media_type, photos)
