"""Soft attention over the grid and an LSTM that writes the caption (Xu et al. 2015, section 3.1.2).

Parameters carry the names of the PyTorch image-captioning tutorial, so its weights convert by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from model.config import ModelConfig
from model.inference.products import Product

Function = Callable[[torch.Tensor], torch.Tensor]


class Products(NamedTuple):
    """The parameters as `Decoder.step` uses them.

    All that reads the hidden state is one product. The LSTM reads a word and what was attended to:
    ``W_ih [e; z] = W_e e + W_z z``.
    """

    dtype: torch.dtype  # of what they take
    project: Function  # encoder_att: (..., D) to (..., A)
    hidden: Function  # [decoder_att; f_beta; W_hh] and biases: (..., H) to (..., A + D + 4H)
    attended: Function  # W_z: (..., D) to (..., 4H)
    word: Function  # W_e e: tokens (...) to (..., 4H)
    scores: Function  # fc: (..., H) to (..., V)


class Memory(NamedTuple):
    """What no step changes; the beams of a photo share what attention looks at."""

    grid: torch.Tensor  # shape = (B, P, D)
    projected: torch.Tensor  # the grid brought to the attention size, shape = (B, P, A)
    products: Products

    def select(self, images: torch.Tensor | slice) -> Memory:
        return Memory(self.grid[images], self.projected[images], self.products)


class DecoderState(NamedTuple):
    """What every step changes.

    A step reads its word last, so until then beams that go on from the same words can be one row.
    """

    hidden: torch.Tensor  # shape = (B, K, H); with ``row``, (R, H)
    cell: torch.Tensor  # as hidden
    row: torch.Tensor | None = None  # of each beam, one photo's after another's, shape = (B, K)

    def select(self, images: torch.Tensor, beams: torch.Tensor) -> DecoderState:
        """Of ``images`` (b,), the ``beams`` (b, k)."""
        assert self.row is None
        if beams.device.type != "cpu":  # a GPU would make the host wait for the number of rows
            images = images.unsqueeze(1)
            return DecoderState(self.hidden[images, beams], self.cell[images, beams])
        width = self.hidden.shape[1]
        beam = width * torch.arange(len(images)).unsqueeze(1) + beams
        kept, row = torch.unique(beam, return_inverse=True)
        hidden, cell = (part[images[kept // width], kept % width] for part in self[:2])
        return DecoderState(hidden, cell, row)

    def of_beams(self, x: torch.Tensor) -> torch.Tensor:
        """What rows have, for every beam, shape = (B, K, ...)."""
        if self.row is None:
            return x
        return x.index_select(0, self.row.flatten()).view(*self.row.shape, *x.shape[1:])

    def of_rows(self, x: torch.Tensor) -> torch.Tensor:
        """What beams have, (B, K, ...), and those of a row have in common, once for every row."""
        if self.row is None:
            return x
        row = self.row.flatten()
        some = row.new_empty(len(self.hidden)).scatter_(0, row, torch.arange(len(row)))
        return x.flatten(0, 1).index_select(0, some)


class TeacherForced(NamedTuple):
    """What `Decoder.forward` returns; rows by decreasing length, N captions, T = longest - 1."""

    scores: (
        PackedSequence  # word scores, one row a word that is predicted, data (sum of lengths, V)
    )
    captions: torch.Tensor  # sorted, shape = (N, T + 1)
    decode_lengths: list[int]  # caption lengths without ``<start>``, decreasing
    alphas: torch.Tensor  # zero past a caption's end, shape = (N, T, P)
    sort_order: torch.Tensor  # row i is caption sort_order[i] of the input, shape = (N,)


class Attention(nn.Module):
    """``alpha = softmax(full_att(relu(encoder_att(grid) + decoder_att(hidden))))``."""

    def __init__(self, feature_size: int, hidden_size: int, attention_size: int) -> None:
        super().__init__()
        self.encoder_att = nn.Linear(feature_size, attention_size)
        self.decoder_att = nn.Linear(hidden_size, attention_size)
        self.full_att = nn.Linear(attention_size, 1)

    def forward(self, projected: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """From ``encoder_att(grid)`` (B, P, A), ``decoder_att(hidden)`` (B, K, A) to (B, K, P)."""
        joint = projected.unsqueeze(1) + query.unsqueeze(2)  # (B, K, P, A)
        energy: torch.Tensor = self.full_att(joint.relu_()).squeeze(-1)
        return energy.softmax(dim=-1)

    def of_rows(
        self, projected: torch.Tensor, query: torch.Tensor, rows_of: list[int]
    ) -> torch.Tensor:
        """As `forward`, from the queries of `DecoderState`'s rows, (R, A), to (R, P).

        Photo by photo, because what is large then stays in a CPU's cache, and in half the steps:
        ``w relu(p + q) = w max(p, -q) + w q``, whose second term is the same at every place, as the
        bias is, and so does not change the softmax.
        """
        weight = self.full_att.weight[0]
        each = zip(projected, torch.split(query.neg().unsqueeze(1), rows_of), strict=True)
        return torch.cat([torch.maximum(p, q) @ weight for p, q in each]).softmax(dim=-1)


class Decoder(nn.Module):
    """One LSTM cell that attends to the grid before every word.

    Parameters
    ----------
    config
        A, E, H, V and dropout.
    feature_size
        D.
    """

    def __init__(self, config: ModelConfig, feature_size: int) -> None:
        super().__init__()
        hidden_size, embedding_size = config.hidden_size, config.embedding_size
        self.attention = Attention(feature_size, hidden_size, config.attention_size)
        self.embedding = nn.Embedding(config.vocabulary_size, embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.input_dropout = nn.Dropout(0.0)  # of the grid and the words; a stage of training's
        self.decode_step = nn.LSTMCell(embedding_size + feature_size, hidden_size)
        self.init_h = nn.Linear(feature_size, hidden_size)
        self.init_c = nn.Linear(feature_size, hidden_size)
        self.f_beta = nn.Linear(hidden_size, feature_size)
        self.fc = nn.Linear(hidden_size, config.vocabulary_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.fc.weight, -0.1, 0.1)
        nn.init.zeros_(self.fc.bias)
        self._prepared: Products | None = None

    def prepare(self, dtype: torch.dtype) -> None:
        """Arrange the weights once, for products in ``dtype``; for inference.

        Scores, softmax and the state of the LSTM stay in the parameters' type.
        """
        hidden, bias, attended, word = self._step_weights()
        project = self.attention.encoder_att
        table = F.linear(self.embedding.weight, word)  # W_e e has no more than V values
        self._prepared = Products(
            dtype,
            Product(project.weight.to(dtype), project.bias.to(dtype)),
            Product(hidden.to(dtype), bias.to(dtype)),
            Product(attended.to(dtype)),
            partial(F.embedding, weight=table.to(dtype)),
            Product(self.fc.weight, self.fc.bias),
        )
        arranged = (project, self.attention.decoder_att, self.f_beta, self.fc, self.embedding)
        for module in (*arranged, self.decode_step):
            module.to("meta")  # gives its memory back

    def _products(self, dtype: torch.dtype) -> Products:
        """Of weights that learn."""
        hidden, bias, attended, word = (weight.to(dtype) for weight in self._step_weights())
        project = self.attention.encoder_att
        return Products(
            dtype,
            partial(F.linear, weight=project.weight.to(dtype), bias=project.bias.to(dtype)),
            partial(F.linear, weight=hidden, bias=bias),
            partial(F.linear, weight=attended),
            lambda tokens: F.linear(self.input_dropout(self.embedding(tokens)).to(dtype), word),
            self.fc,
        )

    def _step_weights(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weight and bias of `Products.hidden`, weights of ``attended`` and of ``word``."""
        query, cell = self.attention.decoder_att, self.decode_step
        hidden = torch.cat([query.weight, self.f_beta.weight, cell.weight_hh])
        bias = torch.cat([query.bias, self.f_beta.bias, cell.bias_hh + cell.bias_ih])
        word, attended = cell.weight_ih.tensor_split([self.embedding.embedding_dim], dim=1)
        return hidden, bias, attended, word

    def memory(self, grid: torch.Tensor) -> Memory:
        """Everything that can be computed before the first step, from the grid (B, P, D)."""
        products = self._prepared or self._products(_product_dtype(grid))
        read = grid.to(products.dtype)
        projected = products.project(read)
        if self._prepared:  # a CPU adds and rectifies faster in float32
            projected = projected.to(grid.dtype)
        return Memory(read, projected, products)

    def init_state(self, grid: torch.Tensor) -> DecoderState:
        """From the mean of the grid (B, P, D), one beam an image: (B, 1, H)."""
        mean = grid.mean(dim=1, keepdim=True)
        return DecoderState(self.init_h(mean), self.init_c(mean))

    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, torch.Tensor]:
        """Read one word and look at the grid.

        Parameters
        ----------
        tokens
            Previous words, shape = (B, K).

        Returns
        -------
        The state to score the next word from, (B, K, H), and alpha, shape = (B, K, P).
        """
        products = memory.products
        sizes = [memory.projected.shape[-1], memory.grid.shape[-1], 4 * state.hidden.shape[-1]]
        from_hidden = products.hidden(state.hidden.to(products.dtype))
        query, gate, recurrent = torch.split(from_hidden, sizes, dim=-1)
        if state.row is None:
            alpha = self.attention(memory.projected, query)
        else:
            rows_of = state.row.amax(dim=1) - state.row.amin(dim=1) + 1  # how many each photo has
            alpha = self.attention.of_rows(memory.projected, query, rows_of.tolist())
            alpha = state.of_beams(alpha)
        attended = gate.sigmoid() * state.of_rows(alpha.to(products.dtype) @ memory.grid)
        # As `nn.LSTMCell`: input, forget and output gate around a candidate.
        gates = products.word(tokens).to(state.cell.dtype)
        gates = gates + state.of_beams(products.attended(attended) + recurrent)
        i, f, g, o = gates.chunk(4, dim=-1)
        cell = f.sigmoid() * state.of_beams(state.cell) + i.sigmoid() * g.tanh()
        return DecoderState(o.sigmoid() * cell.tanh(), cell), alpha

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Unnormalised word scores, (..., H) to (..., V)."""
        words = self._prepared.scores if self._prepared else self.fc
        scores: torch.Tensor = words(self.dropout(hidden))
        return scores

    def forward(
        self,
        grid: torch.Tensor,
        captions: torch.Tensor,
        caption_lengths: torch.Tensor,
        image_of: torch.Tensor | None = None,
    ) -> TeacherForced:
        """Teacher forcing: every step reads the true previous word.

        Captions are sorted by decreasing length; step t runs only the N_t that have a word left.

        Parameters
        ----------
        grid
            shape = (B, P, D)
        captions
            Ids from ``<start>`` to ``<end>``, then padding, shape = (N, longest).
        caption_lengths
            ``<start>`` and ``<end>`` included, each at least 2, shape = (N,).
        image_of
            Row of ``grid`` that a caption belongs to, shape = (N,); by default N = B, in order.
        """
        lengths, sort_order = caption_lengths.sort(descending=True, stable=True)
        decode_lengths: list[int] = (lengths - 1).tolist()
        rows = sort_order if image_of is None else image_of[sort_order]
        captions = captions[sort_order, : decode_lengths[0] + 1]
        grid = self.input_dropout(grid)  # the same of a photo for all of its captions
        memory = self.memory(grid).select(rows)
        state = self.init_state(grid)
        state = DecoderState(state.hidden[rows], state.cell[rows])

        hidden, alphas, batch_sizes = [], [], []
        for t in range(decode_lengths[0]):
            n = sum(length > t for length in decode_lengths)
            state = DecoderState(state.hidden[:n], state.cell[:n])
            state, alpha = self.step(captions[:n, t : t + 1], state, memory.select(slice(n)))
            hidden.append(state.hidden.squeeze(1))
            alphas.append(alpha.squeeze(1))
            batch_sizes.append(n)

        sizes = torch.tensor(batch_sizes)
        scores = PackedSequence(self.scores(torch.cat(hidden)), sizes)
        padded, _ = pad_packed_sequence(PackedSequence(torch.cat(alphas), sizes), batch_first=True)
        return TeacherForced(scores, captions, decode_lengths, padded, sort_order)


def _product_dtype(like: torch.Tensor) -> torch.dtype:
    # Under autocast the weights are cast once, here, and not in every step.
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
