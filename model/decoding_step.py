"""One decoding step: attend to the grid, read a word, update the LSTM (Xu et al. 2015, 3.1.2).

The step is written once. It computes with `Products`, which are made of weights that still learn by
`model.decoder` and of weights arranged for speed by `model.inference.prepared`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

Function = Callable[[torch.Tensor], torch.Tensor]


class Products(NamedTuple):
    """The products of a step with its weights.

    Everything that reads the hidden state is one product. The LSTM reads a word's embedding e and
    the attended features z: ``W_ih [e; z] = W_e e + W_z z``.
    """

    dtype: torch.dtype  # of the products' arguments
    project: Function  # encoder_att: (..., D) to (..., A)
    hidden: Function  # [-decoder_att; f_beta; W_hh] with all biases: (..., H) to (..., A + D + 4H)
    attended: Function  # W_z: (..., D) to (..., 4H)
    word: Function  # W_e e: tokens (...) to (..., 4H)
    energy: Function  # full_att: (..., A) to (...)


class Memory(NamedTuple):
    """The part of a search that no step changes; the beams of a photo share it."""

    grid: torch.Tensor  # shape = (B, P, D)
    projected: torch.Tensor  # the grid brought to the attention size, shape = (B, P, A)
    products: Products

    def select(self, images: torch.Tensor | slice) -> Memory:
        """Return the memory of some of the images."""
        return Memory(self.grid[images], self.projected[images], self.products)


class Attended(NamedTuple):
    """The part of a step that comes before it reads its word."""

    alpha: torch.Tensor  # shape = (B, K, P)
    gates: torch.Tensor  # what attended features and hidden state add, (B, K, 4H); or (R, 4H)


class DecoderState(NamedTuple):
    """The part of a search that every step changes.

    A step attends before it reads its word. Until then, beams that continue the same words have the
    same state, and on a CPU that state is computed once: as one of R rows, which ``row`` names for
    each beam. A state that has attended already (see `attend`) is not computed in rows.
    """

    hidden: torch.Tensor  # shape = (B, K, H); with ``row``, (R, H)
    cell: torch.Tensor  # the same shape
    row: torch.Tensor | None = None  # each beam's row, ascending over photos, shape = (B, K)
    attended: Attended | None = None

    def select(self, images: torch.Tensor, beams: torch.Tensor) -> DecoderState:
        """Return the state of chosen ``beams`` (b, k) of chosen ``images`` (b,), ascending."""
        assert self.row is None
        beam = (self.hidden.shape[1] * images).unsqueeze(1) + beams

        def of(chosen: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
            # By one index, which torch finds faster than by two.
            rows = part.flatten(0, 1).index_select(0, chosen.flatten())
            return rows.view(*chosen.shape, *part.shape[2:])

        if self.attended:
            attended = Attended(*(of(beam, part) for part in self.attended))
            return DecoderState(of(beam, self.hidden), of(beam, self.cell), attended=attended)
        if beams.device.type != "cpu":  # a GPU would make the host wait for the number of rows
            return DecoderState(of(beam, self.hidden), of(beam, self.cell))
        kept, row = torch.unique(beam, return_inverse=True)
        return DecoderState(of(kept, self.hidden), of(kept, self.cell), row)

    def rows_to_beams(self, x: torch.Tensor) -> torch.Tensor:
        """Repeat the values of rows, (R, N), for each of their beams, (B, K, N)."""
        return x if self.row is None else F.embedding(self.row, x)

    def beams_to_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Take values that the beams of a row share, (B, K, N), once for each row, (R, N)."""
        if self.row is None:
            return x
        row = self.row.flatten()
        some = row.new_empty(len(self.hidden)).scatter_(0, row, torch.arange(len(row)))
        return x.flatten(0, 1).index_select(0, some)


def attend(state: DecoderState, memory: Memory) -> Attended:
    """Attend to the grid with a state."""
    products = memory.products
    sizes = [memory.projected.shape[-1], memory.grid.shape[-1], 4 * state.hidden.shape[-1]]
    from_hidden = products.hidden(state.hidden.to(products.dtype))
    opposite, gate, recurrent = from_hidden.split_with_sizes(sizes, dim=-1)
    if state.row is None:
        alpha = attention_weights(products.energy, memory.projected, opposite)
    else:
        ends = (state.row.amax(dim=1) + 1).tolist()
        alpha = attention_weights_by_row(products.energy, memory.projected, opposite, ends)
        alpha = state.rows_to_beams(alpha)
    seen = alpha.to(memory.grid.dtype) @ memory.grid
    attended = (gate.sigmoid() * state.beams_to_rows(seen)).to(products.dtype)
    return Attended(alpha, products.attended(attended) + recurrent)


def decoding_step(
    tokens: torch.Tensor, state: DecoderState, memory: Memory
) -> tuple[DecoderState, torch.Tensor]:
    """Attend to the grid with the old state, unless it has, then read one word.

    Parameters
    ----------
    tokens
        Previous words, shape = (B, K).

    Returns
    -------
    The state to score the next word from, (B, K, H), and alpha, shape = (B, K, P).
    """
    alpha, attended = state.attended or attend(state, memory)
    gates = memory.products.word(tokens).to(state.cell.dtype) + state.rows_to_beams(attended)
    # The order of `nn.LSTMCell`: input gate, forget gate, candidate, output gate.
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f.sigmoid() * state.rows_to_beams(state.cell) + i.sigmoid() * g.tanh()
    return DecoderState(o.sigmoid() * cell.tanh(), cell), alpha


def attention_weights(
    energy: Function, projected: torch.Tensor, opposite: torch.Tensor
) -> torch.Tensor:
    """Return alpha, the share of each position, ``softmax(full_att(relu(projected + query)))``.

    Without gradients it takes one operation less, and fewer for the query's opposite:
    ``w relu(p + q) = w max(p, -q) + w q``. The second term, like the bias, is the same at every
    position and does not change the softmax.

    Parameters
    ----------
    energy
        ``full_att``
    projected
        ``encoder_att(grid)``, shape = (B, P, A).
    opposite
        ``-decoder_att(hidden)``, the opposite of the query, shape = (B, K, A).

    Returns
    -------
    shape = (B, K, P)
    """
    projected, opposite = projected.unsqueeze(1), opposite.unsqueeze(2)  # together (B, K, P, A)
    if torch.is_grad_enabled():
        return energy((projected - opposite).relu_()).softmax(dim=-1)
    return energy(torch.maximum(projected, opposite)).softmax(dim=-1)


def attention_weights_by_row(
    energy: Function, projected: torch.Tensor, opposite: torch.Tensor, ends: list[int]
) -> torch.Tensor:
    """Compute `attention_weights` for the queries of a `DecoderState`'s rows, (R, A), to (R, P).

    It goes photo by photo, so that large results stay in the CPU's cache.

    Parameters
    ----------
    ends
        Where the rows of each photo end; those of the next one begin there.
    """
    each = zip(projected, opposite.unsqueeze(1).tensor_split(ends[:-1]), strict=True)
    return torch.cat([energy(torch.maximum(p, q)) for p, q in each]).softmax(dim=-1)
