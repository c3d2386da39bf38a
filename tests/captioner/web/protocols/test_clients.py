"""The Python clients of Ollama and OpenAI."""

from __future__ import annotations

import ollama
import openai
import pytest

from model import Captioner
from tests.captioner.web.fakes import SECONDS
from tests.captioner.web.protocols.cases import data_url, of_openai, of_openai_response
from tests.captioner.web.protocols.conftest import Serve


@pytest.fixture
def caption(captioner: Captioner, render) -> str:
    """The caption of the photo that every test sends."""
    ((best, *_),) = captioner.caption([render()])
    return best.text


def test_ollamas_client(serve: Serve, render, caption: str) -> None:
    photo = render()
    messages = [{"role": "user", "content": "What is this?", "images": [photo]}]
    key = {"Authorization": "Bearer secret"}
    with (
        serve(key="secret") as app,
        ollama.Client(app.url, timeout=SECONDS, headers=key) as client,
    ):
        (model,) = client.list().models
        name = model.model
        assert name
        assert client.show(name).capabilities == ["completion", "vision"]
        assert [each.model for each in client.ps().models] == [name]
        assert client.generate(name, "Describe it.", images=[photo]).response == caption
        parts = [*client.generate(name, "Describe it.", images=[photo], stream=True)]
        assert "".join(each.response for each in parts) == caption
        assert parts[-1].done
        assert client.chat(name, messages).message.content == caption
        chunks = [*client.chat(name, messages, stream=True)]
        assert "".join(each.message.content or "" for each in chunks) == caption
        with pytest.raises(ollama.ResponseError, match="there is no model 'llava'") as error:
            client.generate("llava", images=[photo])
        assert error.value.status_code == 404


def test_openais_client(serve: Serve, render, caption: str) -> None:
    messages = of_openai([data_url(render())])["messages"]
    address = of_openai(["https://example.org/photo.jpg"])["messages"]
    with (
        serve(key="secret") as app,
        openai.OpenAI(base_url=f"{app.url}/v1", api_key="secret", timeout=SECONDS) as client,
    ):
        (model,) = client.models.list()
        assert client.models.retrieve(model.id).owned_by == "captioner"
        create = client.chat.completions.create
        assert create(model=model.id, messages=messages).choices[0].message.content == caption
        with create(model=model.id, messages=messages, stream=True) as stream:
            deltas = [each.choices[0].delta.content or "" for each in stream]
        assert "".join(deltas) == caption
        with pytest.raises(openai.BadRequestError, match="fetches none"):
            create(model=model.id, messages=address)
        with pytest.raises(openai.NotFoundError, match="'gpt-5'"):
            create(model="gpt-5", messages=messages)
        with pytest.raises(openai.AuthenticationError, match="Authorization"):
            client.with_options(api_key="other").chat.completions.create(
                model=model.id, messages=messages
            )


def test_openais_client_asks_for_a_response(serve: Serve, render, caption: str) -> None:
    photo = data_url(render())
    asked = of_openai_response([photo])["input"]
    labels = {"format": {"type": "json_schema", "name": "labels", "schema": {"type": "object"}}}
    with (
        serve() as app,
        openai.OpenAI(base_url=f"{app.url}/v1", api_key="any", timeout=SECONDS) as client,
    ):
        create = client.responses.create
        assert create(model="captioner", input=asked).output_text == caption
        with create(model="captioner", input=asked, stream=True) as stream:
            deltas = [each.delta for each in stream if each.type == "response.output_text.delta"]
        assert deltas == [caption]
        with client.responses.stream(model="captioner", input=asked) as events:
            assert events.get_final_response().output_text == caption
        with pytest.raises(openai.BadRequestError, match="a caption is plain text"):
            create(model="captioner", input=asked, text=labels)
        with pytest.raises(openai.NotFoundError, match="'gpt-5-mini'"):
            create(model="gpt-5-mini", input=asked)
