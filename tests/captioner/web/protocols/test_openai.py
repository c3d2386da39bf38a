"""Completions, streams, errors and lists of models in the form of OpenAI's API reference."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from model import Captioner
from tests.captioner.web.fakes import SECONDS, RunningApp
from tests.captioner.web.protocols.cases import data_url, of_openai
from tests.captioner.web.protocols.conftest import Serve

PATH = "/v1/chat/completions"


def ask(app: RunningApp, body: Any) -> requests.Response:
    return requests.post(app.url + PATH, json=body, timeout=SECONDS)


def test_a_completion(serve: Serve, captioner: Captioner, render) -> None:
    ((caption, *_),) = captioner.caption([render()])
    with serve() as app:
        reply = ask(app, of_openai([data_url(render())]))
    completion = reply.json()
    assert completion["id"] == f"chatcmpl-{reply.headers['x-request-id']}"
    assert (completion["object"], completion["model"]) == ("chat.completion", "captioner")
    (choice,) = completion["choices"]
    assert choice["message"]["role"] == "assistant"
    assert (choice["message"]["content"], choice["finish_reason"]) == (caption.text, "stop")
    words = len(caption.text.split())
    assert completion["usage"]["completion_tokens"] == completion["usage"]["total_tokens"] == words


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_is_one_event_and_the_end(
    serve: Serve, captioner: Captioner, render, usage: bool
) -> None:
    ((caption, *_),) = captioner.caption([render()])
    body = of_openai([data_url(render())]) | {"stream": True}
    if usage:
        body["stream_options"] = {"include_usage": True}
    with serve() as app:
        reply = ask(app, body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(each.removeprefix("data: ")) for each in events]
    assert {each["object"] for each in chunks} == {"chat.completion.chunk"}
    assert len({each["id"] for each in chunks}) == 1
    text, end, *others = chunks
    assert text["choices"][0]["delta"] == {"role": "assistant", "content": caption.text}
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "stop")
    assert [each["usage"]["prompt_tokens"] for each in others] == [0] * usage


def test_photos_are_those_since_the_last_reply(serve: Serve, captioner: Captioner, render) -> None:
    red, blue = render("red"), render("blue")
    (_, (wanted, *_)) = captioner.caption([red, blue])
    body = of_openai([data_url(red)])
    body["messages"] += [{"role": "assistant", "content": "a red circle"}]
    body["messages"] += of_openai([data_url(blue)])["messages"]
    body["messages"] += [{"role": "user", "content": "Describe it."}]
    with serve() as app:
        content = ask(app, body).json()["choices"][0]["message"]["content"]
    assert content == wanted.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model is missing"),
        ({"response_format": {"type": "json_object"}}, "a caption is plain text"),
        ({"n": 2}, "n is 2; it must be 1"),
        ({"messages": None}, "holds no photo"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, "holds no photo"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "the type 'file'"),
        ({"messages": [{"role": "user", "content": [7]}]}, "the type None"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "image_url is None",
        ),
    ],
)
def test_errors_have_openais_form(
    serve: Serve, render, change: dict[str, Any], message: str
) -> None:
    with serve() as app:
        reply = ask(app, of_openai([data_url(render())]) | change)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert message in error.pop("message")
    assert error == {"type": "invalid_request_error", "param": None, "code": "invalid_request"}


def test_codes_that_clients_know(serve: Serve, render) -> None:
    body = of_openai([data_url(render())])
    with serve(key="secret") as app:
        assert ask(app, body).json()["error"]["code"] == "invalid_api_key"
    with serve() as app:
        assert ask(app, body | {"model": "gpt-5"}).json()["error"]["code"] == "model_not_found"


def test_the_list_of_models_is_kserves_too(serve: Serve) -> None:
    with serve() as app:
        listed = requests.get(f"{app.url}/v1/models", timeout=SECONDS).json()
        assert listed["models"] == ["captioner"]
        assert listed["object"] == "list"
        assert [each["id"] for each in listed["data"]] == ["captioner:latest"]
        for name in ("captioner", "captioner:latest", "captioner:1.0"):
            model = requests.get(f"{app.url}/v1/models/{name}", timeout=SECONDS).json()
            assert (model["id"], model["object"]) == (name, "model")
            assert (model["name"], model["ready"]) == ("captioner", True)
        unknown = requests.get(f"{app.url}/v1/models/gpt-5", timeout=SECONDS)
        assert unknown.status_code == 404
        assert unknown.json()["error"]["code"] == "model_not_found"


def test_a_model_that_is_not_ready(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as app:
        monkeypatch.setattr("captioner.web.pool.Pool.ready", False)
        reply = requests.get(f"{app.url}/v1/models/captioner", timeout=SECONDS)
    assert (reply.status_code, reply.json()["ready"]) == (503, False)
