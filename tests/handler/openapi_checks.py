"""A running server asked by requests made up from handler/openapi.yaml."""

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
# TorchServe takes the blame for a form that it cannot take apart; no worker hears of it.
BAD_FORM = "ErrorDataDecoderException"


def document() -> dict[str, Any]:
    """The OpenAPI document, parsed."""
    return dict(yaml.safe_load(DOCUMENT.read_text()))


def check_against_server(base_url: str, max_examples: int = 20, seconds: float = 60) -> int:
    """Fail unless the server answers as it is written, right requests and wrong ones alike.

    Parameters
    ----------
    base_url
        Such as ``http://127.0.0.1:8080``; the model is named ``captioner``.
    max_examples
        Requests of each operation, and as many wrong ones.
    seconds
        That a reply may take.

    Returns
    -------
    Replies of status 200; the rest were refused as is written
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
    cases: st.SearchStrategy[Case], ask: Callable[[Case], int], most: int
) -> Counter[int]:
    """What was answered, the same cases every time."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=most,
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
    """Where the document says a photo, send one, most of the time."""
    photos = st.one_of(
        st.sampled_from([*valid_photos().values()]),
        st.sampled_from([*valid_photos().values()]),
        st.binary(max_size=99),
    )
    schemathesis.openapi.format("binary", photos)
    schemathesis.openapi.format("byte", photos.map(lambda photo: base64.b64encode(photo).decode()))
    # Versions are made up by the pattern; the one that there is has to be among them.
    schemathesis.openapi.format("version", st.sampled_from(["1.0", "1.0", "7", "1.0.3"]))
    for media_type in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(media_type, photos)
