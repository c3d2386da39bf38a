"""handler/openapi.yaml agrees with the handler's code; test_serve.py asks a running server."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis

from handler import budget
from handler.caption_request import MAX_PHOTO_BYTES, MAX_PHOTOS
from handler.errors import STATUSES
from handler.json_bodies import MAX_ID
from handler.options import HEADER, OPTIONS
from model import image
from tests.handler.openapi_checks import document

PREFIX = "#/components/schemas/Options/properties/"


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return document()


@pytest.fixture(scope="module")
def schemas(openapi: dict[str, Any]) -> dict[str, Any]:
    return dict(openapi["components"]["schemas"])


def test_the_document_is_valid(openapi: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(openapi)
    schema.validate()
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len({each.definition.raw["operationId"] for each in operations}) == len(operations) == 9


def test_every_option_is_a_header_and_a_field(openapi: dict[str, Any]) -> None:
    headers = {
        parameter["name"].lower().removeprefix(HEADER).replace("-", "_"): parameter["schema"]
        for parameter in openapi["components"]["parameters"].values()
        if parameter["in"] == "header"
    }
    fields = openapi["components"]["schemas"]["Form"]["properties"]
    assert headers.keys() == OPTIONS.keys()
    assert fields.keys() == {"data", *OPTIONS}
    for name in OPTIONS:
        assert headers[name] == fields[name] == {"$ref": f"{PREFIX}{name}"}
    for path, operations in openapi["paths"].items():
        if path != "/ping":
            refs = {parameter["$ref"] for parameter in operations["parameters"]}
            assert len(refs - {"#/components/parameters/Version"}) == len(OPTIONS)


def test_codes_of_errors_are_those_of_the_handler(openapi: dict[str, Any]) -> None:
    error = openapi["components"]["schemas"]["Error"]["properties"]["error"]
    assert error["properties"]["code"]["enum"] == sorted(STATUSES)
    for path, operations in openapi["paths"].items():
        for method in operations.keys() & {"post", "put"}:
            statuses = operations[method]["responses"].keys()
            assert {str(status) for status in STATUSES.values()} < statuses, path


def test_limits_and_formats_are_those_of_the_handler(
    openapi: dict[str, Any], schemas: dict[str, Any]
) -> None:
    assert schemas["KServeV1Request"]["properties"]["instances"]["maxItems"] == MAX_PHOTOS
    inputs = schemas["KServeV2Request"]["properties"]["inputs"]
    assert inputs["maxItems"] == inputs["items"]["properties"]["data"]["maxItems"] == MAX_PHOTOS
    formats = schemas["Reply"]["properties"]["image"]["properties"]["format"]["enum"]
    assert formats == [*image.FORMATS, "HEIC"]
    text = " ".join(openapi["info"]["description"].split())
    assert f"{MAX_PHOTO_BYTES // 2**20} MiB and {image.MAX_PIXELS // 10**6} million pixels" in text
    halves = {most // 10**6 for most in image.MAX_PIXELS_OF.values()}
    assert f"(WebP, AVIF and HEIC {halves.pop()} million)" in text
    assert not halves
    assert f"{budget.MAX_PIXELS // 10**6} million pixels together" in text
    assert f"{budget.MAX_SECONDS:g} seconds of one core to decode" in text
    too_large = openapi["components"]["responses"]["TooLarge"]["description"]
    words = " ".join(too_large.split())
    assert f"more than {budget.MAX_PIXELS // 10**6} million pixels" in words
    assert f"more than {budget.MAX_SECONDS:g} seconds of one core" in words
    assert schemas["KServeV2Request"]["properties"]["id"]["maxLength"] == MAX_ID
