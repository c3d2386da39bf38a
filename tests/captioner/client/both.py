"""The two clients behind one interface, and what the scripted server answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from captioner.client import AsyncCaptionClient, CaptionClient

PHOTO = b"\xff\xd8 not a real photo"
MODEL = {"name": "captioner", "version": "1.0", "digest": "ab" * 32}
PLAIN = {"caption": "a dog", "confidence": 0.5, "log_prob": -1.5, "model": MODEL, "request_id": "7"}
FULL = PLAIN | {
    "alternatives": [
        {"caption": "a cat", "confidence": None, "log_prob": -2.5, "later": 1},
        {"caption": "a cow", "log_prob": -3.5},
    ],
    "tokens": [{"word": "a", "log_prob": -0.5}, {"word": "<end>", "log_prob": -1, "later": 1}],
    "attention": {"grid": [1, 2], "maps": [{"word": "a", "weights": [[0.25, 0.75]]}], "later": 1},
    "timing_ms": {"decoding": 1, "encoding": 2.5, "search": 3, "total": 7, "later": 1},
    "image": {"width": 640, "height": 480, "format": "JPEG", "later": 1},
    "later": {"than": "this client"},
}
CAPTIONERS_ERROR = {
    "error": {"code": "invalid_image", "message": "not an image"},
    "request_id": "9",
}
TORCHSERVES_ERROR = {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: x"}


class EitherClient:
    """Calls one of the clients as if both were synchronous; records waits instead of waiting."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.waits: list[float] = []
        self._runner = asyncio.Runner() if kind == "async" else None

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        self._client: Any
        if self._runner:
            self._client = AsyncCaptionClient(sleep=sleep, **settings)
        else:
            self._client = CaptionClient(sleep=self.waits.append, **settings)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if not self._runner:
            return method  # type: ignore[no-any-return]
        runner = self._runner
        return lambda *photos, **options: runner.run(method(*photos, **options))

    def end(self) -> None:
        if self._runner:
            self._runner.run(self._client.aclose())
            self._runner.close()
        else:
            self._client.close()


def one_after_another(*answers: Any) -> Callable[[Any], Any]:
    """Return a script for the server: each request gets the next of the answers."""
    left = iter(answers)
    return lambda asked: next(left)
