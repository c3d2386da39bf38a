from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from handler.captioner_handler import CaptionerHandler
from model import DecodingOptions
from tests.handler.fakes import ABOUT, answers


def test_the_description_of_a_model(handler: CaptionerHandler, render) -> None:
    (handler.service.folder / "README.md").write_text("# Card\n")
    captioner = handler.service.captioner
    config = replace(captioner.network.config, notices=("Shapes: for research.",))
    captioner.network.config = config
    headers: list[dict[str, Any]] = [{"describe": "True"}, {}]
    (description, reply), context = answers(handler, [{}, {"body": render()}], headers)
    assert "caption" in reply
    assert not context.status
    assert description["card"] == "# Card\n"
    assert description["notices"] == ["Shapes: for research."]
    assert description["model"] == ABOUT
    assert description["options"]["beam_size"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 20,
        "default": DecodingOptions().beam_size,
    }
    assert "AVIF" in description["formats"]
    assert description["limits"]["photos_a_request"] == 32
    assert json.dumps(description)
