"""Captions do not depend on the device, and a search seldom makes the host wait for a GPU."""

from __future__ import annotations

import copy
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from model import Captioner, DecodingOptions
from model.beam_search import beam_search
from model.config import ModelConfig
from model.decoder import Decoder
from model.inference.prepared import PreparedDecoder
from model.network import ShowAttendTell
from model.word_map import WordMap

SEARCHES = [
    DecodingOptions(beam_size=5, length_penalty=0.7),
    DecodingOptions(beam_size=1, max_length=12),
    DecodingOptions(beam_size=6, num_captions=4, consensus=False),
]


@pytest.mark.parametrize("options", SEARCHES)
def test_a_batch_has_the_captions_of_each_photo_alone_on_a_cpu(
    network: ShowAttendTell,
    word_map: WordMap,
    render,
    options: DecodingOptions,
    device: torch.device,
) -> None:
    network.double()
    alone = Captioner(copy.deepcopy(network), word_map)
    together = Captioner(network.to(device), word_map)
    photos = [render(color, shape) for color in ("red", "blue") for shape in ("circle", "square")]
    found = together.caption(photos, options)
    assert len({each.text for captions in found for each in captions}) > 1
    for photo, captions in zip(photos, found, strict=True):
        (expected,) = alone.caption([photo], options)
        assert [each.text for each in captions] == [each.text for each in expected]
        for one, other in zip(captions, expected, strict=True):
            assert one.word_log_probs == pytest.approx(other.word_log_probs, abs=1e-9)
            torch.testing.assert_close(one.attention, other.attention)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_search_runs_several_steps_on_a_gpu_before_the_host_waits(
    config: ModelConfig, word_map: WordMap, prepared: bool
) -> None:
    """Fake tensors know their device and have no values: whatever needs a value raises."""
    # Copies of fake tensors would belong to copies of the mode.
    with FakeTensorMode(), mock.patch("copy.deepcopy", lambda each: each):
        with torch.device("cuda"):
            decoder: Decoder | PreparedDecoder = Decoder(config, feature_size=40).eval()
            grid = torch.randn(3, 9, 40)
        if prepared:
            decoder = PreparedDecoder(decoder, torch.bfloat16)
        with (
            mock.patch.object(decoder, "step", wraps=decoder.step) as step,
            pytest.raises(DataDependentOutputException),
        ):
            beam_search(decoder, grid, word_map, DecodingOptions(beam_size=3))
    assert step.call_count >= 4
