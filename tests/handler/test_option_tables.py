"""Documents and settings agree with the fields of the options: names, ranges, defaults, help."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest
import yaml

from captioner.paths import ROOT
from handler.options import OPTIONS, RequestOptions, option_schemas
from model import DecodingOptions
from model.decoding_options import Option
from tests.handler.openapi_checks import document

ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", re.MULTILINE)


def test_openapi_describes_exactly_the_options() -> None:
    described = document()["components"]["schemas"]["Options"]
    assert described["additionalProperties"] is False
    assert list(described["properties"]) == list(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_openapi_describes_an_option_as_its_field_does(option: Option) -> None:
    described = document()["components"]["schemas"]["Options"]["properties"][option.name]
    text = " ".join(described.pop("description").split())
    schema = option_schemas()[option.name] | {"default": option.default}
    if option.at_most:  # a schema cannot say that one option limits another: the text does
        schema["maximum"] = option.maximum
        assert f"at most `{option.at_most}`" in text
    assert described == schema
    assert text.lower().startswith(option.help.lower()), f"begin it with: {option.help}"


def test_one_document_has_the_table_of_options() -> None:
    tables = [_rows(path.read_text()) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]]
    expected = [(o.name, _range(o), json.dumps(o.default)) for o in OPTIONS.values()]
    assert [rows for rows in tables if rows] == [expected]


def test_settings_of_the_archive_are_the_defaults() -> None:
    config = yaml.safe_load((ROOT / "handler" / "model-config.yaml").read_text())
    assert config["handler"]["decoding"] == asdict(DecodingOptions())
    assert RequestOptions().decoding == DecodingOptions()


def _rows(text: str) -> list[tuple[str, ...]]:
    """Return name, range and default in each row of a table of options."""
    return [row.groups() for row in ROW.finditer(text) if row[1] in OPTIONS]


def _range(option: Option) -> str:
    if option.type is bool:
        return "true, false"
    return f"{option.minimum}..{f'`{option.at_most}`' if option.at_most else option.maximum}"
