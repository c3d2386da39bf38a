from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from torch.nn.utils.rnn import pad_packed_sequence

from model.decoder import Decoder
from model.decoding_step import (
    DecoderState,
    attend,
    attention_weights,
    attention_weights_by_row,
)
from model.inference.prepared import PreparedDecoder
from model.network import ShowAttendTell

CAPTIONS = torch.tensor(
    [
        [8, 1, 9, 0, 0, 0],
        [8, 1, 2, 5, 4, 9],
        [8, 3, 6, 9, 0, 0],
    ]
)
LENGTHS = torch.tensor([3, 6, 4])


def make_grid(network: ShowAttendTell, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    size = network.encoder.feature_size
    return torch.randn(count, 9, size, generator=generator, dtype=torch.float64)


def test_stepping_equals_forward(network: ShowAttendTell, device: torch.device) -> None:
    network.double().to(device)
    decoder, grid = network.decoder, make_grid(network, 3).to(device)
    forced = decoder(grid, CAPTIONS.to(device), LENGTHS.to(device))
    scores, lengths = pad_packed_sequence(forced.scores, batch_first=True)
    assert lengths.tolist() == forced.decode_lengths == [5, 3, 2]
    assert forced.sort_order.tolist() == [1, 2, 0]
    assert forced.captions.tolist() == CAPTIONS[[1, 2, 0]].tolist()

    for row, original in enumerate(forced.sort_order.tolist()):
        photo = grid[original : original + 1]
        memory, state = decoder.memory(photo), decoder.init_state(photo)
        for t in range(forced.decode_lengths[row]):
            token = CAPTIONS[original, t].view(1, 1).to(device)
            state, alpha = decoder.step(token, state, memory)
            torch.testing.assert_close(decoder.scores(state.hidden)[0, 0], scores[row, t])
            torch.testing.assert_close(alpha[0, 0], forced.alphas[row, t])
        assert not forced.alphas[row, forced.decode_lengths[row] :].any()


def test_alphas_sum_to_one(network: ShowAttendTell) -> None:
    forced = network.double().decoder(make_grid(network, 3), CAPTIONS, LENGTHS)
    for row, length in enumerate(forced.decode_lengths):
        torch.testing.assert_close(
            forced.alphas[row, :length].sum(-1), torch.ones(length, dtype=torch.float64)
        )
    assert (forced.alphas >= 0).all()


def test_padding_is_never_read(network: ShowAttendTell) -> None:
    grid = make_grid(network, 3)
    garbage = CAPTIONS.clone()
    garbage[CAPTIONS == 0] = 7
    network.double()
    plain, other = (network.decoder(grid, c, LENGTHS) for c in (CAPTIONS, garbage))
    assert torch.equal(plain.scores.data, other.scores.data)


def test_captions_share_their_photo(network: ShowAttendTell) -> None:
    """One row of the grid for several captions is the same as a copy of it for each."""
    network.double()
    grid, image_of = make_grid(network, 2), torch.tensor([1, 0, 1])
    shared = network.decoder(grid, CAPTIONS, LENGTHS, image_of)
    copied = network.decoder(grid[image_of], CAPTIONS, LENGTHS)
    torch.testing.assert_close(shared.scores.data, copied.scores.data)
    torch.testing.assert_close(shared.alphas, copied.alphas)


def test_input_dropout_is_of_the_grid_and_of_every_word_while_training(
    network: ShowAttendTell,
) -> None:
    decoder, grid = network.double().decoder, make_grid(network, 3)
    decoder.input_dropout.p = 0.5
    shapes = []

    def check(dropout: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        shapes.append(inputs[0].shape)
        kept = output != 0
        scaled = inputs[0] * (2 if dropout.training else 1)
        torch.testing.assert_close(output[kept], scaled[kept])
        assert dropout.training == (not kept.all())

    decoder.input_dropout.register_forward_hook(check)
    decoder.train()(grid, CAPTIONS, LENGTHS)
    words = [(n, 1, decoder.embedding.embedding_dim) for n in (3, 3, 2, 1, 1)]
    assert shapes == [grid.shape, *words]
    decoder.eval()(grid, CAPTIONS, LENGTHS)
    assert shapes == [grid.shape, *words] * 2


def test_only_the_effective_batch_runs(network: ShowAttendTell) -> None:
    rows: list[int] = []
    network.double().decoder.embedding.register_forward_hook(
        lambda module, inputs, output: rows.append(len(inputs[0]))
    )
    network.decoder(make_grid(network, 3), CAPTIONS, LENGTHS)
    assert rows == [3, 3, 2, 1, 1]


def plain_step(
    decoder: Decoder, token: int, hidden: torch.Tensor, cell: torch.Tensor, grid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute one beam of one photo as the paper writes it: hidden (H,), cell (H,), grid (P, D)."""
    attention = decoder.attention
    energy = attention.full_att(
        torch.relu(attention.encoder_att(grid) + attention.decoder_att(hidden))
    )
    alpha = torch.softmax(energy.squeeze(1), dim=0)
    attended = torch.sigmoid(decoder.f_beta(hidden)) * (alpha @ grid)
    read = torch.cat([decoder.embedding.weight[token], attended])
    after = decoder.decode_step(read.unsqueeze(0), (hidden.unsqueeze(0), cell.unsqueeze(0)))
    return after[0][0], after[1][0], alpha


@pytest.mark.parametrize("prepared", [False, True])
def test_a_step_computes_what_the_paper_says(
    network: ShowAttendTell, device: torch.device, prepared: bool
) -> None:
    decoder = network.double().to(device).decoder
    grid = make_grid(network, 2).to(device)
    first = decoder.init_state(grid)
    state = DecoderState(*(part + torch.rand(2, 3, 1).to(part) for part in first[:2]))
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
    expected = [
        [
            plain_step(decoder, int(tokens[b, k]), state.hidden[b, k], state.cell[b, k], grid[b])
            for k in range(3)
        ]
        for b in range(2)
    ]
    if prepared:
        decoder = PreparedDecoder(decoder, torch.float64)
    with torch.set_grad_enabled(not prepared):
        after, alpha = decoder.step(tokens, state, decoder.memory(grid))
    for b in range(2):
        for k in range(3):
            found = (after.hidden[b, k], after.cell[b, k], alpha[b, k])
            torch.testing.assert_close(found, expected[b][k])


@pytest.mark.parametrize("learning", [True, False])
def test_attention_by_row_is_the_same(network: ShowAttendTell, learning: bool) -> None:
    """The beams of the second photo share one row, those of the first have one each."""
    attention = network.double().decoder.attention

    def energy(x: torch.Tensor) -> torch.Tensor:
        return attention.full_att(x).squeeze(-1)

    projected = torch.randn(2, 9, attention.encoder_att.out_features, dtype=torch.float64)
    rows = torch.randn(4, projected.shape[-1], dtype=torch.float64)
    with torch.set_grad_enabled(learning):
        beams = rows[torch.tensor([[0, 1, 2], [3, 3, 3]])]
        every_beam = attention_weights(energy, projected, beams)
    by_row = attention_weights_by_row(energy, projected, rows, [3, 4])
    torch.testing.assert_close(by_row, torch.cat([every_beam[0], every_beam[1, :1]]))


def test_bfloat16_products_leave_scores_and_state_in_float32(network: ShowAttendTell) -> None:
    grid = make_grid(network, 2).float()
    decoder = network.decoder
    tokens = torch.tensor([[1], [2]])
    with torch.inference_mode():
        plain, _ = decoder.step(tokens, decoder.init_state(grid), decoder.memory(grid))
        decoder = PreparedDecoder(decoder, torch.bfloat16)
        memory = decoder.memory(grid)
        state, alpha = decoder.step(tokens, decoder.init_state(grid), memory)
        scores = decoder.scores(state.hidden)
    assert memory.products.dtype == torch.bfloat16
    assert {memory.grid.dtype, state.hidden.dtype, state.cell.dtype, alpha.dtype, scores.dtype} == {
        torch.float32
    }
    assert 0 < (state.hidden - plain.hidden).abs().max() < 0.02


def test_beams_are_independent_rows(network: ShowAttendTell, device: torch.device) -> None:
    decoder = network.double().to(device).decoder
    grid = make_grid(network, 2).to(device)
    memory, first = decoder.memory(grid), decoder.init_state(grid)
    beams = torch.zeros(2, 3, dtype=torch.long, device=device)
    state = first.select(torch.arange(2, device=device), beams)
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)
    together, _ = decoder.step(tokens, state, memory)
    for b in range(2):
        for k in range(3):
            photo = memory.select(slice(b, b + 1))
            start = DecoderState(first.hidden[b : b + 1], first.cell[b : b + 1])
            alone, _ = decoder.step(tokens[b, k].view(1, 1), start, photo)
            torch.testing.assert_close(alone.hidden[0, 0], together.hidden[b, k])


def test_beams_that_go_on_from_the_same_words_share_a_row(
    network: ShowAttendTell, device: torch.device
) -> None:
    decoder = network.double().to(device).decoder
    grid, size = make_grid(network, 3).to(device), network.config.hidden_size
    hidden, cell = torch.rand(2, 3, 4, size, dtype=torch.float64, device=device)
    images, beams = torch.tensor([0, 2]), torch.tensor([[3, 1, 3, 3], [0, 0, 2, 1]])
    tokens = torch.tensor([[1, 2, 3, 4], [4, 5, 6, 1]], device=device)
    memory = decoder.memory(grid).select(images.to(device))
    shared = DecoderState(hidden, cell).select(images.to(device), beams.to(device))
    apart = DecoderState(*(part[images[:, None], beams] for part in (hidden, cell)))
    if device.type == "cpu":
        assert len(shared.hidden) == len(shared.cell) == 2 + 3
    torch.testing.assert_close(shared.rows_to_beams(shared.cell), apart.cell)
    for found, expected in zip(
        decoder.step(tokens, shared, memory), decoder.step(tokens, apart, memory), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_a_state_that_has_attended_goes_on_the_same(
    network: ShowAttendTell, device: torch.device
) -> None:
    decoder = network.double().to(device).decoder
    grid, size = make_grid(network, 3).to(device), network.config.hidden_size
    state = DecoderState(*torch.rand(2, 3, 4, size, dtype=torch.float64, device=device))
    images = torch.tensor([0, 2], device=device)
    beams = torch.tensor([[3, 1, 3, 3], [0, 0, 2, 1]], device=device)
    tokens = torch.tensor([[1, 2, 3, 4], [4, 5, 6, 1]], device=device)
    memory = decoder.memory(grid)
    later = memory.select(images)
    attended = state._replace(attended=attend(state, memory)).select(images, beams)
    expected = decoder.step(tokens, state.select(images, beams), later)
    with patch("model.decoding_step.attend", side_effect=AssertionError("it attends again")):
        found = decoder.step(tokens, attended, later)
    torch.testing.assert_close((*found[0][:2], found[1]), (*expected[0][:2], expected[1]))


def test_whole_network_trains_only_the_decoder_while_frozen(network: ShowAttendTell) -> None:
    photos = torch.zeros(3, 3, 96, 96, dtype=torch.uint8)
    forced = network(photos, CAPTIONS, LENGTHS)
    forced.scores.data.sum().backward()
    assert all(p.grad is None for p in network.encoder.parameters())
    assert all(p.grad is not None for p in network.decoder.parameters())
