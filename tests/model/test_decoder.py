from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_packed_sequence

from model.decoder import DecoderState
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


def test_only_the_effective_batch_runs(network: ShowAttendTell) -> None:
    rows: list[int] = []
    network.double().decoder.decode_step.register_forward_hook(
        lambda module, inputs, output: rows.append(len(inputs[0]))
    )
    network.decoder(make_grid(network, 3), CAPTIONS, LENGTHS)
    assert rows == [3, 3, 2, 1, 1]


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


def test_whole_network_trains_only_the_decoder_while_frozen(network: ShowAttendTell) -> None:
    photos = torch.zeros(3, 3, 96, 96, dtype=torch.uint8)
    forced = network(photos, CAPTIONS, LENGTHS)
    forced.scores.data.sum().backward()
    assert all(p.grad is None for p in network.encoder.parameters())
    assert all(p.grad is not None for p in network.decoder.parameters())
