"""The metrics of the server for Prometheus, under the names that they have with TorchServe."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from captioner.operations.store import MODEL
from captioner.web.messages import Observation
from captioner.web.observations import listed_metrics

HOST = "Hostname"  # a label that TorchServe adds to every metric of a model
MICRO = 1e6
KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class ServerMetrics:
    """The observations of a server's workers, and the durations of its requests."""

    def __init__(self) -> None:
        # They would be a second series for each, which TorchServe does not have.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._host = socket.gethostname()
        self._metrics = {
            each.name: KINDS[each.kind](
                each.name, each.name, [*each.labels, HOST], registry=self._registry
            )
            for each in listed_metrics()
        }
        self._requests, self._seconds, self._queued = (
            self._total(name, "model_name", "model_version", "hostname")
            for name in (
                "ts_inference_requests_total",
                "ts_inference_latency_microseconds",
                "ts_queue_latency_microseconds",
            )
        )
        self._statuses = {
            kind: self._total(f"Requests{kind}XX", "Level", HOST) for kind in (2, 4, 5)
        }
        for metric in self._statuses.values():
            metric.labels("Host", self._host)  # so that it is there before it has counted

    def observe(self, observations: Iterable[Observation]) -> None:
        """Add what a worker has observed."""
        for name, value, labels in observations:
            metric = self._metrics[name].labels(*labels, self._host)
            if isinstance(metric, Histogram):
                metric.observe(value)
            elif isinstance(metric, Gauge):
                metric.set(value)
            else:
                metric.inc(value)

    def time(self, version: str, queued: float, whole: float) -> None:
        """Count a request, the seconds that it waited for a worker, and those until its reply."""
        labels = (MODEL, version, self._host)
        self._requests.labels(*labels).inc()
        self._queued.labels(*labels).inc(MICRO * queued)
        self._seconds.labels(*labels).inc(MICRO * whole)

    def count(self, status: int) -> None:
        """Count a reply by its status."""
        if metric := self._statuses.get(status // 100):
            metric.labels("Host", self._host).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def _total(self, name: str, *labels: str) -> Gauge:
        """Return a metric that only grows; a `Counter` would add ``_total`` to its name."""
        return Gauge(name, name, labels, registry=self._registry)
