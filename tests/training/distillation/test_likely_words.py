"""The likely words at every place of captions, against teacher forcing in training."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pad_packed_sequence, pad_sequence

from model.inference.prepared import PreparedDecoder
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.distillation.likely_words import likely_words

CAPTIONS = [
    [["a", "red", "circle"]],
    [["blue"], ["a", "green", "square", "a", "unknown"], []],
    [["a", "circle"], ["square"]],
]
COUNT = 4


@pytest.mark.parametrize("as_served", [False, True])
def test_they_are_those_of_teacher_forcing(
    network: ShowAttendTell, word_map: WordMap, as_served: bool
) -> None:
    decoder = network.double().decoder
    generator = torch.Generator().manual_seed(5)
    size = network.encoder.feature_size
    grid = torch.randn(3, 9, size, generator=generator, dtype=torch.float64)
    ids = [torch.tensor(word_map.encode(words)) for each in CAPTIONS for words in each]
    forced = decoder(
        grid,
        pad_sequence(ids, batch_first=True),
        torch.tensor([len(each) for each in ids]),
        torch.tensor([0, 1, 1, 1, 2, 2]),
    )
    padded, lengths = pad_packed_sequence(forced.scores, batch_first=True)
    back = forced.sort_order.argsort()
    wanted = torch.cat([padded[row, : lengths[row]].softmax(-1) for row in back.tolist()])

    tried = PreparedDecoder(decoder, torch.float64) if as_served else decoder
    found = likely_words(tried, grid, word_map, CAPTIONS, COUNT)
    assert found.ids.shape == (sum(len(each) - 1 for each in ids), COUNT)
    probabilities, places = wanted.topk(COUNT)
    torch.testing.assert_close(found.probabilities, probabilities)
    assert torch.equal(found.ids, places)
