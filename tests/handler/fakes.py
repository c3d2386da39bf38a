"""TorchServe's context and metrics, as far as the handler uses them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from handler.captioner_handler import CaptionerHandler
from handler.metrics import Metrics

HANDLER = Path(__file__).resolve().parents[2] / "handler"
ABOUT = {"name": "captioner", "version": "1.2", "digest": "d1"}


class FakeMetrics:
    """``context.metrics``, which keeps the values added to the metrics in metrics.yaml."""

    def __init__(self) -> None:
        listed = yaml.safe_load((HANDLER / "metrics.yaml").read_text())["model_metrics"]
        self.added: dict[str, list[tuple[float, list[str]]]] = {}
        self.cache = {
            kind: {metric["name"]: self.metric(**metric) for metric in metrics}
            for kind, metrics in listed.items()
        }

    def metric(self, name: str, unit: str, dimensions: list[str]) -> Any:
        added = self.added.setdefault(name, [])

        def add_or_update(value: float, labels: list[str]) -> None:
            assert len(labels) == len(dimensions)
            added.append((value, labels))

        return SimpleNamespace(add_or_update=add_or_update)

    def values(self, name: str) -> list[float]:
        return [value for value, _ in self.added[name]]


class FakeContext:
    """TorchServe's context with the methods that the handler calls."""

    def __init__(self, headers: list[dict[str, Any]] | int = 1, folder: Path | None = None) -> None:
        self.headers = [{}] * headers if isinstance(headers, int) else headers
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.model_yaml_config: dict[str, Any] = {}
        self.model_name = "captioner"
        self.manifest = {"model": {"modelName": "packaged-as", "modelVersion": "1.2"}}
        self.metrics = FakeMetrics()
        self.status: dict[int, int] = {}
        self.content_type: dict[int, str] = {}
        self.response_headers: dict[int, dict[str, str]] = {}

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return self.headers[idx]

    def get_request_id(self, idx: int) -> str:
        return f"request-{idx}"

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        assert phrase.isascii()
        self.status[idx] = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_type[idx] = value

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.response_headers.setdefault(idx, {})[key] = value


def answers(
    handler: CaptionerHandler,
    data: list[dict[str, Any]],
    headers: list[dict[str, Any]] | None = None,
) -> tuple[list[Any], FakeContext]:
    """Answer a batch; return each reply, parsed if it is JSON, and what the context was set to."""
    context = FakeContext(headers or len(data))
    handler.metrics = Metrics(context.metrics, "captioner", "1.2")
    bodies = handler.handle(data, context)
    assert len(bodies) == len(data) == len(context.content_type)
    return [json.loads(b) if isinstance(b, str) else b for b in bodies], context
