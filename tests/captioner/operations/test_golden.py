from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path

import pytest
import torch

from captioner.operations import golden
from captioner.paths import ROOT
from model import Captioner, DecodingOptions

SHIPPED = ROOT / "checkpoints" / "flickr8k"
OPTIONS = DecodingOptions()


def golden_captions(folder: Path) -> list[tuple[bytes, str]]:
    return [
        (base64.b64decode(each["photo"]), each["caption"])
        for each in json.loads(golden.golden_json(folder, OPTIONS))
    ]


@pytest.mark.slow
def test_captions_do_not_hang_on_precision_or_company() -> None:
    known = golden_captions(SHIPPED)
    assert len(known) == golden.MAX_PHOTOS
    for precision in ("float32", "mixed"):
        captioner = Captioner.load(SHIPPED, precision=precision)
        photos = [photo for photo, _ in known]
        for batches in ([photos], [[photo] for photo in photos], [photos + photos[::-1]]):
            for batch in batches:
                found = captioner.caption(batch, OPTIONS)
                wanted = [dict(known)[photo] for photo in batch]
                assert [captions[0].text for captions in found] == wanted


def test_the_steadiest_if_none_stays_the_same(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def captions(_captioner: Captioner, grid: torch.Tensor, _options: object) -> list[str]:
        call = next(calls)
        said = [f"other in call {call}"] * len(grid)
        if call < golden.TRIALS:
            said[3] = "the same in all but the last"
        return said

    monkeypatch.setattr(golden, "_captions", captions)
    ((photo, _),) = golden_captions(tiny_checkpoint)
    assert photo == list(golden._photos())[3]


def test_the_same_bytes_every_time(tiny_checkpoint: Path) -> None:
    assert golden.golden_json(tiny_checkpoint, OPTIONS) == golden.golden_json(
        tiny_checkpoint, OPTIONS
    )
