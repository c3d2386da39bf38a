"""Metrics for Prometheus; TorchServe reads their names and labels from metrics.yaml as well."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from handler.service import AnsweredBatch

logger = logging.getLogger(__name__)

REQUESTS = "captioner_requests_total"


class Metrics:
    """The captioner's metrics of one worker.

    They are labelled with the version of the model, which TorchServe's own metrics call "default"
    if a request names none.

    Parameters
    ----------
    cache
        ``context.metrics``. Metrics that the server was not configured with are left out.
    """

    def __init__(self, cache: Any, name: str, version: str) -> None:
        self._metrics = {key: one for kind in cache.cache.values() for key, one in kind.items()}
        self._labels = [version, name, "Model"]
        if REQUESTS not in self._metrics:
            logger.warning("no metrics of captions: the server's metrics_config does not list them")

    def report(self, batch: AnsweredBatch) -> None:
        """Count the requests, photos, captions and seconds of a batch."""
        self._count(REQUESTS, (each.reply.outcome for each in batch.requests))
        photos = list(batch.photos())
        if not photos:
            return
        words = [len(captions[0].words) for _, captions in photos if isinstance(captions, list)]
        self._count("captioner_captions_total", map(str, words))
        self._add("captioner_words_total", sum(words))
        self._add("captioner_photos_total", len(photos))
        self._add("captioner_batches_total", 1)
        self._observe("captioner_batch_seconds", [batch.seconds])
        for part, seconds in asdict(batch.timings).items():
            self._observe(f"captioner_{part}_seconds", [seconds])
        self._observe("captioner_beams", [options.beam_size for options, _ in photos])

    def _observe(self, name: str, values: Iterable[float]) -> None:
        """Add values to a histogram.

        The buckets are those of Prometheus's Java client and cannot be changed. The last one ends
        at 10, so a histogram suits seconds, and numbers that are at most about 10.
        """
        if metric := self._metrics.get(name):
            for value in values:
                metric.add_or_update(value, self._labels)

    def _add(self, name: str, number: int) -> None:
        """Add a number to a counter without a label of its own."""
        if metric := self._metrics.get(name):
            metric.add_or_update(number, self._labels)

    def _count(self, name: str, values: Iterable[str]) -> None:
        """Count each value in a counter whose first label is the value."""
        if metric := self._metrics.get(name):
            for value, number in Counter(values).items():
                metric.add_or_update(number, [value, *self._labels])
