"""Requests of each protocol with the photos of a test, and what its clients read of the replies."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


def base64_of(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def data_url(photo: bytes) -> str:
    return f"data:image/jpeg;base64,{base64_of(photo)}"


def of_photoprism(images: list[str]) -> Body:
    """A request as PhotoPrism's ``NewApiRequestImages`` makes it, with suffix and stream."""
    return {
        "id": "b0db2187-7a09-438c-8649-a9c6c0f7b8a1",
        "model": "captioner",
        "version": "latest",
        "prompt": "Describe the main subject.",
        "suffix": "",
        "stream": False,
        "images": images,
    }


def of_ollama_generate(images: list[str]) -> Body:
    prompt = "What is in this picture?"
    return {"model": "captioner", "prompt": prompt, "stream": False, "images": images}


def of_ollama_chat(images: list[str]) -> Body:
    messages = [{"role": "user", "content": "What is this?", "images": images}]
    return {"model": "captioner:latest", "messages": messages, "stream": False}


def of_openai(images: list[str]) -> Body:
    parts: list[Body] = [{"type": "text", "text": "What is in this image?"}]
    parts += [{"type": "image_url", "image_url": {"url": each}} for each in images]
    return {"model": "captioner", "messages": [{"role": "user", "content": parts}]}


def of_openai_response(images: list[str]) -> Body:
    """A request as PhotoPrism's ``openAIJSON`` makes it."""
    system: Body = {"type": "input_text", "text": "Return concise captions."}
    parts: list[Body] = [{"type": "input_text", "text": "Describe the picture in one sentence."}]
    parts += [{"type": "input_image", "image_url": each, "detail": "low"} for each in images]
    return {
        "model": "captioner",
        "input": [
            {"role": "system", "type": "message", "content": [system]},
            {"role": "user", "type": "message", "content": parts},
        ],
        "max_output_tokens": 512,
        "temperature": 0.1,
        "top_p": 0.9,
    }


@dataclass(frozen=True)
class Protocol:
    """One address: how a photo is written there, its requests, captions and messages of errors."""

    path: str
    photo: Callable[[bytes], str]
    request: Callable[[list[str]], Body]
    captions: Callable[[Body], list[str]]
    message: Callable[[Body], str]


def _captions_of_photoprism(reply: Body) -> list[str]:
    result = reply["result"]
    return [each["text"] for each in result.get("captions", [result["caption"]])]


PROTOCOLS = {
    "photoprism": Protocol(
        "/api/v1/vision/caption",
        data_url,
        of_photoprism,
        _captions_of_photoprism,
        lambda reply: reply["error"],
    ),
    "ollama generate": Protocol(
        "/api/generate",
        base64_of,
        of_ollama_generate,
        lambda reply: reply["response"].split("\n"),
        lambda reply: reply["error"],
    ),
    "ollama chat": Protocol(
        "/api/chat",
        base64_of,
        of_ollama_chat,
        lambda reply: reply["message"]["content"].split("\n"),
        lambda reply: reply["error"],
    ),
    "openai": Protocol(
        "/v1/chat/completions",
        data_url,
        of_openai,
        lambda reply: reply["choices"][0]["message"]["content"].split("\n"),
        lambda reply: reply["error"]["message"],
    ),
    "openai response": Protocol(
        "/v1/responses",
        data_url,
        of_openai_response,
        lambda reply: reply["output"][0]["content"][0]["text"].split("\n"),
        lambda reply: reply["error"]["message"],
    ),
}
