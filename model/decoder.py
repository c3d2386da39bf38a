"""The decoder: an LSTM with soft attention that writes the caption (Xu et al. 2015, section 3.1.2).

Parameters carry the names of the PyTorch image-captioning tutorial, so its weights convert by name.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from model.config import ModelConfig
from model.decoding_step import DecoderState, Memory, Products, decoding_step


class TeacherForced(NamedTuple):
    """The result of `Decoder.forward`: N captions by decreasing length, T = longest - 1."""

    scores: PackedSequence  # of the words to predict, a row for each, data (sum of lengths, V)
    captions: torch.Tensor  # sorted, shape = (N, T + 1)
    decode_lengths: list[int]  # caption lengths without ``<start>``, decreasing
    alphas: torch.Tensor  # zero past a caption's end, shape = (N, T, P)
    sort_order: torch.Tensor  # row i is caption sort_order[i] of the input, shape = (N,)


class StepWeights(NamedTuple):
    """The parameters that a step multiplies with, put together as `Products` wants them."""

    hidden: torch.Tensor  # shape = (A + D + 4H, H)
    hidden_bias: torch.Tensor  # shape = (A + D + 4H,)
    attended: torch.Tensor  # shape = (4H, D)
    word: torch.Tensor  # shape = (4H, E)


class Attention(nn.Module):
    """The three layers of the attention, as the tutorial names them; `decoding_step` runs them."""

    def __init__(self, feature_size: int, hidden_size: int, attention_size: int) -> None:
        super().__init__()
        self.encoder_att = nn.Linear(feature_size, attention_size)
        self.decoder_att = nn.Linear(hidden_size, attention_size)
        self.full_att = nn.Linear(attention_size, 1)


class Decoder(nn.Module):
    """One LSTM cell that attends to the grid before every word.

    Parameters
    ----------
    config
        Gives A, E, H, V and the dropout.
    feature_size
        The encoder's D.
    """

    def __init__(self, config: ModelConfig, feature_size: int) -> None:
        super().__init__()
        hidden_size, embedding_size = config.hidden_size, config.embedding_size
        self.attention = Attention(feature_size, hidden_size, config.attention_size)
        self.embedding = nn.Embedding(config.vocabulary_size, embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.input_dropout = nn.Dropout(0.0)  # of the grid and the words; a training stage sets it
        self.decode_step = nn.LSTMCell(embedding_size + feature_size, hidden_size)
        self.init_h = nn.Linear(feature_size, hidden_size)
        self.init_c = nn.Linear(feature_size, hidden_size)
        self.f_beta = nn.Linear(hidden_size, feature_size)
        self.fc = nn.Linear(hidden_size, config.vocabulary_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.fc.weight, -0.1, 0.1)
        nn.init.zeros_(self.fc.bias)

    def step_weights(self) -> StepWeights:
        """Put the parameters of a step together; gradients flow through."""
        query, cell = self.attention.decoder_att, self.decode_step
        word, attended = cell.weight_ih.tensor_split([self.embedding.embedding_dim], dim=1)
        return StepWeights(
            hidden=torch.cat([-query.weight, self.f_beta.weight, cell.weight_hh]),
            hidden_bias=torch.cat([-query.bias, self.f_beta.bias, cell.bias_hh + cell.bias_ih]),
            attended=attended,
            word=word,
        )

    def _products(self, dtype: torch.dtype) -> Products:
        weights = StepWeights(*(weight.to(dtype) for weight in self.step_weights()))
        project = self.attention.encoder_att
        return Products(
            dtype=dtype,
            project=partial(F.linear, weight=project.weight.to(dtype), bias=project.bias.to(dtype)),
            hidden=partial(F.linear, weight=weights.hidden, bias=weights.hidden_bias),
            attended=partial(F.linear, weight=weights.attended),
            word=lambda tokens: F.linear(self._embedded(tokens).to(dtype), weights.word),
            energy=lambda x: self.attention.full_att(x).squeeze(-1),
        )

    def _embedded(self, tokens: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.input_dropout(self.embedding(tokens))
        return embedded

    def memory(self, grid: torch.Tensor) -> Memory:
        """Compute everything that the steps share, from the grid (B, P, D)."""
        products = self._products(_product_dtype(grid))
        grid = grid.to(products.dtype)
        return Memory(grid, products.project(grid), products)

    def init_state(self, grid: torch.Tensor) -> DecoderState:
        """Return the first state, from the mean of the grid (B, P, D); one beam an image."""
        mean = grid.mean(dim=1, keepdim=True)
        return DecoderState(self.init_h(mean), self.init_c(mean))

    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, torch.Tensor]:
        """Run `decoding_step`: from previous words (B, K) to the next state and alpha (B, K, P)."""
        return decoding_step(tokens, state, memory)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return unnormalised word scores, (..., H) to (..., V)."""
        scores: torch.Tensor = self.fc(self.dropout(hidden))
        return scores

    def forward(
        self,
        grid: torch.Tensor,
        captions: torch.Tensor,
        caption_lengths: torch.Tensor,
        image_of: torch.Tensor | None = None,
    ) -> TeacherForced:
        """Run the decoder by teacher forcing: every step reads the true previous word.

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
            The row of ``grid`` that each caption belongs to, shape = (N,); by default N = B, in
            order.
        """
        lengths, sort_order = caption_lengths.sort(descending=True, stable=True)
        decode_lengths: list[int] = (lengths - 1).tolist()
        rows = sort_order if image_of is None else image_of[sort_order]
        captions = captions[sort_order, : decode_lengths[0] + 1]
        grid = self.input_dropout(grid)  # the captions of a photo share what is dropped
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
    """Return the type to compute in; under autocast weights are cast once, not in every step."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
