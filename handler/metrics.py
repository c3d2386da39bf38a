"""What Prometheus is told; the names and their labels are in metrics.yaml, which both ends read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)

REQUESTS = "captioner_requests_total"


class Metrics:
    """TorchServe's metrics of one worker, labelled with the version: it calls the default so.

    Parameters
    ----------
    cache
        ``context.metrics``. A server that was started with other metrics is told nothing.
    """

    def __init__(self, cache: Any, name: str, version: str) -> None:
        self._metrics = {key: one for kind in cache.cache.values() for key, one in kind.items()}
        self._labels = [version, name, "Model"]
        if REQUESTS not in self._metrics:
            logger.warning("no metrics of captions: the server's metrics_config does not list them")

    def observe(self, name: str, values: Iterable[float]) -> None:
        """Add to a histogram.

        Its buckets are those of Prometheus's Java client, up to 10, and cannot be changed: it is
        for seconds and for what is at most 10.
        """
        if metric := self._metrics.get(name):
            for value in values:
                metric.add_or_update(value, self._labels)

    def add(self, name: str, number: int) -> None:
        """Add to a counter that has no label of its own."""
        if metric := self._metrics.get(name):
            metric.add_or_update(number, self._labels)

    def count(self, name: str, values: Iterable[str]) -> None:
        """Add each value to a counter of which it is the first label."""
        if metric := self._metrics.get(name):
            for value, number in Counter(values).items():
                metric.add_or_update(number, [value, *self._labels])
