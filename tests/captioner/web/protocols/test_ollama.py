"""Streams, chats and lists of models, as Ollama's server/routes.go and api/types.go have them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from model import Captioner
from tests.captioner.web.fakes import SECONDS, RunningApp
from tests.captioner.web.protocols.cases import base64_of, of_ollama_chat, of_ollama_generate
from tests.captioner.web.protocols.conftest import Serve


def ask(app: RunningApp, path: str, body: Any) -> requests.Response:
    return requests.post(app.url + path, json=body, timeout=SECONDS)


def test_a_stream_is_the_text_and_the_end(serve: Serve, captioner: Captioner, render) -> None:
    """It is what a request without ``stream`` gets."""
    ((caption, *_),) = captioner.caption([render()])
    images = [base64_of(render())]
    cases = {"/api/generate": of_ollama_generate(images), "/api/chat": of_ollama_chat(images)}
    with serve() as app:
        for path, body in cases.items():
            del body["stream"]
            reply = ask(app, path, body)
            assert reply.headers["content-type"] == "application/x-ndjson"
            text, end = (json.loads(line) for line in reply.text.splitlines())
            whole = ask(app, path, {**body, "stream": False}).json()
            assert [text["done"], end["done"], whole["done"]] == [False, True, True]
            assert end["done_reason"] == whole["done_reason"] == "stop"
            assert end["model"] == body["model"]
            assert end["total_duration"] > 0
            assert end["eval_count"] == len(caption.text.split())
            texts = [each.get("response", each.get("message")) for each in (text, end, whole)]
            if path == "/api/chat":
                assert {each["role"] for each in texts} == {"assistant"}
                texts = [each["content"] for each in texts]
            assert texts == [caption.text, "", caption.text]


def test_a_chat_is_asked_for_the_photos_since_the_last_reply(
    serve: Serve, captioner: Captioner, render
) -> None:
    red, blue = render("red"), render("blue")
    (_, (wanted, *_)) = captioner.caption([red, blue])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [base64_of(red)]},
        {"role": "assistant", "content": "a red circle"},
        {"role": "user", "content": "And this?", "images": [base64_of(blue)]},
        {"role": "user", "content": "In one sentence."},
    ]
    body = {"model": "captioner", "stream": False, "messages": messages}
    with serve() as app:
        assert ask(app, "/api/chat", body).json()["message"]["content"] == wanted.text
        messages.append({"role": "assistant", "content": "a blue circle"})
        messages.append({"role": "user", "content": "Are you sure?"})
        refused = ask(app, "/api/chat", body)
    assert refused.status_code == 400
    assert "holds no photo" in refused.json()["error"]


def test_a_request_to_load_the_model(serve: Serve) -> None:
    with serve() as app:
        generate = ask(app, "/api/generate", {"model": "captioner"}).json()
        chat = ask(app, "/api/chat", {"model": "captioner", "messages": []}).json()
        prompt = ask(app, "/api/generate", {"model": "captioner", "prompt": "Hello?"})
        assert app.script.batches == []
    assert generate["done_reason"] == chat["done_reason"] == "load"
    assert (generate["response"], chat["message"]["content"]) == ("", "")
    assert prompt.status_code == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ""}, "model is missing"),
        ({"format": "json"}, "format is 'json'"),
        ({"format": {"type": "object"}}, "a caption is plain text"),
        ({"stream": "no"}, "stream is 'no'"),
        ({"messages": "Hello"}, "messages is 'Hello'"),
        ({"messages": ["Hello"]}, "messages[0] must be a JSON object"),
    ],
)
def test_what_is_no_request(serve: Serve, render, change: dict[str, Any], message: str) -> None:
    with serve() as app:
        reply = ask(app, "/api/chat", of_ollama_chat([base64_of(render())]) | change)
    assert reply.status_code == 400
    assert message in reply.json()["error"]


def test_what_clients_ask_first(serve: Serve) -> None:
    with serve() as app:
        version = requests.get(f"{app.url}/api/version", timeout=SECONDS).json()["version"]
        assert all(part.isdecimal() for part in version.split("."))  # as Open WebUI reads it
        for path in ("/api/tags", "/api/ps"):
            (model,) = requests.get(app.url + path, timeout=SECONDS).json()["models"]
            assert model["name"] == model["model"] == "captioner:latest"
            assert model["digest"] == "d1"
        for asked in ({"model": "captioner:latest"}, {"name": "captioner"}):
            assert "vision" in ask(app, "/api/show", asked).json()["capabilities"]
        unknown = ask(app, "/api/show", {"model": "llava"})
        assert unknown.status_code == 404
        assert "'llava'" in unknown.json()["error"]


def test_lists_need_the_key(serve: Serve) -> None:
    with serve(key="secret") as app:
        for path in ("/api/tags", "/api/ps"):
            reply = requests.get(app.url + path, timeout=SECONDS)
            assert reply.status_code == 401
            assert "Authorization" in reply.json()["error"]
        assert ask(app, "/api/show", {"model": "captioner"}).status_code == 401
        assert requests.get(f"{app.url}/api/version", timeout=SECONDS).ok
