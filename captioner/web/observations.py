"""The metrics that metrics.yaml lists, and what a worker observes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from captioner.paths import PACKAGES
from captioner.web.messages import Observation


class ListedMetric(NamedTuple):
    """A metric of a model in metrics.yaml; its kind is counter, gauge or histogram."""

    kind: str
    name: str
    labels: tuple[str, ...]


def listed_metrics() -> list[ListedMetric]:
    """Return the metrics of a model that metrics.yaml lists."""
    content: dict[str, Any] = yaml.safe_load((PACKAGES / "handler" / "metrics.yaml").read_text())
    return [
        ListedMetric(kind, each["name"], tuple(each["dimensions"]))
        for kind, metrics in content["model_metrics"].items()
        for each in metrics
    ]


class Observations:
    """Keeps what `handler.metrics.Metrics` observes, for the server; stands for TorchServe's cache.

    Attributes
    ----------
    cache
        The metrics by their names, by kind.
    """

    def __init__(self) -> None:
        self._observed: list[Observation] = []
        self.cache: dict[str, dict[str, _Metric]] = {}
        for metric in listed_metrics():
            kind = self.cache.setdefault(metric.kind, {})
            kind[metric.name] = _Metric(metric.name, self._observed)

    def take(self) -> list[Observation]:
        """Return what was observed since the last call."""
        taken = list(self._observed)
        self._observed.clear()
        return taken


@dataclass(frozen=True)
class _Metric:
    name: str
    observed: list[Observation]

    def add_or_update(self, value: float, labels: Sequence[str]) -> None:
        self.observed.append(Observation(self.name, value, tuple(labels)))
