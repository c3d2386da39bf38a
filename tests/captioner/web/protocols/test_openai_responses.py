"""Responses, their events and refusals in the form of OpenAI's API reference."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from model import Captioner
from tests.captioner.web.fakes import SECONDS, RunningApp
from tests.captioner.web.protocols.cases import data_url, of_openai_response
from tests.captioner.web.protocols.conftest import Serve

SCHEMA = {"type": "json_schema", "name": "photoprism_vision_labels_v1", "schema": {}}


def ask(app: RunningApp, body: Any) -> requests.Response:
    return requests.post(f"{app.url}/v1/responses", json=body, timeout=SECONDS)


def test_a_response(serve: Serve, captioner: Captioner, render) -> None:
    ((caption, *_),) = captioner.caption([render()])
    with serve() as app:
        reply = ask(app, of_openai_response([data_url(render())]))
    response = Response.model_validate(reply.json())  # as strict as the reference
    assert response.id == f"resp_{reply.headers['x-request-id']}"
    assert (response.model, response.status) == ("captioner", "completed")
    assert response.output_text == caption.text
    assert response.usage
    words = len(caption.text.split())
    assert response.usage.output_tokens == response.usage.total_tokens == words


def test_a_stream_tells_one_response(serve: Serve, captioner: Captioner, render) -> None:
    ((caption, *_),) = captioner.caption([render()])
    with serve() as app:
        reply = ask(app, of_openai_response([data_url(render())]) | {"stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    *blocks, rest = reply.text.split("\n\n")
    assert rest == ""
    named = [each.split("\n") for each in blocks]
    data = [json.loads(line.removeprefix("data: ")) for _, line in named]
    assert [name for name, _ in named] == [f"event: {each['type']}" for each in data]
    assert [each["sequence_number"] for each in data] == [*range(len(data))]
    adapter: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
    first, *between, last = map(adapter.validate_python, data)
    assert (first.type, last.type) == ("response.created", "response.completed")
    assert first.response.output == []
    assert last.response.output_text == caption.text
    assert first.response.id == last.response.id
    deltas = [each.delta for each in between if each.type == "response.output_text.delta"]
    assert deltas == [caption.text]


def test_photos_are_those_since_the_last_reply(serve: Serve, captioner: Captioner, render) -> None:
    red, blue = render("red"), render("blue")
    (_, (wanted, *_)) = captioner.caption([red, blue])
    with serve() as app:
        before = of_openai_response([data_url(red)])
        output = ask(app, before).json()["output"]  # a conversation hands it back as it came
        asked = before["input"] + output + of_openai_response([data_url(blue)])["input"]
        asked += [{"role": "user", "content": "Briefly."}]
        response = Response.model_validate(ask(app, before | {"input": asked}).json())
    assert response.output_text == wanted.text


@pytest.mark.parametrize("text", [None, {}, {"format": {"type": "text"}}, {"verbosity": "low"}])
def test_plain_text_may_be_asked_for(serve: Serve, render, text: Any) -> None:
    with serve() as app:
        assert ask(app, of_openai_response([data_url(render())]) | {"text": text}).ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model is missing"),
        ({"text": {"format": SCHEMA}}, "a caption is plain text, leave text.format out"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format is"),
        ({"text": "json"}, "text is 'json'"),
        ({"input": None}, "holds no photo"),
        ({"input": "Hello"}, "holds no photo"),
        ({"input": 7}, "input is 7"),
        ({"input": ["Hello"]}, "input[0] must be a JSON object"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "the type 'item_reference'"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "type 'input_file'"),
        ({"input": [{"role": "user", "content": [7]}]}, "the type None"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "image_url is None",
        ),
    ],
)
def test_errors_have_openais_form(
    serve: Serve, render, change: dict[str, Any], message: str
) -> None:
    with serve() as app:
        reply = ask(app, of_openai_response([data_url(render())]) | change)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert message in error.pop("message")
    assert error == {"type": "invalid_request_error", "param": None, "code": "invalid_request"}
