from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

from handler.captioner_handler import CaptionerHandler
from handler.metrics import Metrics
from model import DecodingOptions
from tests.handler.fakes import FakeContext, answers


def test_metrics_of_a_batch(handler: CaptionerHandler, render) -> None:
    batch = [{"body": render()}, {"body": b"no"}, {"body": b"no"}, {"body": render("blue")}]
    headers = [{"x-caption-beam-size": "2"}, {}, {}, {}]
    replies, context = answers(handler, batch, headers)
    metrics = context.metrics
    labels = ["1.2", "captioner", "Model"]
    assert sorted(metrics.added["captioner_requests_total"]) == [
        (2, ["invalid_image", *labels]),
        (2, ["ok", *labels]),
    ]
    assert metrics.values("captioner_batches_total") == [1]
    assert metrics.values("captioner_photos_total") == [4]
    assert sorted(metrics.values("captioner_beams")) == [2, *[DecodingOptions().beam_size] * 3]
    words = [len(reply["caption"].split()) for reply in (replies[0], replies[3])]
    assert metrics.values("captioner_words_total") == [sum(words)]
    assert sorted(metrics.added["captioner_captions_total"]) == sorted(
        (number, [str(length), *labels]) for length, number in Counter(words).items()
    )
    for part in ("decoding", "encoding", "search", "batch"):
        (seconds,) = metrics.values(f"captioner_{part}_seconds")
        assert seconds > 0


def test_a_server_with_other_metrics_answers_all_the_same(
    handler: CaptionerHandler, render
) -> None:
    handler.metrics = Metrics(SimpleNamespace(cache={}), "captioner", "1.2")
    (reply,) = handler.handle([{"body": render()}], FakeContext())
    assert json.loads(reply)["caption"]
