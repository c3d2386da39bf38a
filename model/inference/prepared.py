"""A network prepared for inference: the same function as a trained network's, computed faster.

Preparing copies: the network that is given stays as it is and can be trained on.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from model.config import ModelConfig
from model.decoder import Decoder
from model.decoding_step import DecoderState, Memory, Products, decoding_step
from model.encoder import Encoder, feature_map
from model.inference.folding import fold
from model.inference.products import Product, TwofoldProduct, has_fast_bf16
from model.network import ShowAttendTell


@dataclass(frozen=True)
class PreparedNetwork:
    """The parts of a `ShowAttendTell` that captioning uses; nothing in it learns."""

    config: ModelConfig
    encoder: Encoder
    decoder: PreparedDecoder


@torch.no_grad()
def prepare(
    network: ShowAttendTell, encoder_dtype: torch.dtype, decoder_dtype: torch.dtype
) -> PreparedNetwork:
    """Return a network that writes the same captions, faster.

    Parameters
    ----------
    encoder_dtype, decoder_dtype
        The types in which the encoder convolves and the decoder multiplies.
    """
    return PreparedNetwork(
        config=network.config,
        encoder=prepare_encoder(network.encoder, encoder_dtype),
        decoder=PreparedDecoder(network.decoder, decoder_dtype),
    )


@torch.no_grad()
def prepare_encoder(encoder: Encoder, dtype: torch.dtype) -> Encoder:
    """Return a frozen encoder that convolves in ``dtype``, its BatchNorms folded where possible.

    Its `Encoder.first` modules keep the type that they have.
    """
    if encoder.image_size % 32 == 0:
        backbone = fold(encoder.backbone, feature_map, dtype, encoder.first)
    else:
        backbone = copy.deepcopy(encoder.backbone).to(dtype)
    # Everything but the backbone is copied: `deepcopy` takes that one for copied already.
    prepared = copy.deepcopy(encoder, {id(encoder.backbone): backbone})
    prepared.eval().requires_grad_(False)
    prepared.put_channels_last()
    return prepared


class PreparedDecoder:
    """A `Decoder` for searching alone, its weights arranged once for products in ``dtype``.

    Scores, softmax and the state of the LSTM stay in the type of the decoder's parameters; what
    scores are products of is rounded where that is faster, see `TwofoldProduct`.
    """

    def __init__(self, decoder: Decoder, dtype: torch.dtype) -> None:
        weights = decoder.step_weights()
        project = decoder.attention.encoder_att
        table = F.linear(decoder.embedding.weight, weights.word)  # W_e e has no more than V values
        self._products = Products(
            dtype=dtype,
            project=Product(project.weight.to(dtype), project.bias),
            hidden=Product(weights.hidden.to(dtype), weights.hidden_bias),
            attended=Product(weights.attended.to(dtype)),
            word=partial(F.embedding, weight=table.to(dtype)),
            energy=partial(torch.matmul, other=decoder.attention.full_att.weight[0].clone()),
        )
        first = decoder.init_h, decoder.init_c
        self._init = Product(
            torch.cat([each.weight for each in first]), torch.cat([each.bias for each in first])
        )
        twofold = dtype == torch.bfloat16 and has_fast_bf16(decoder.fc.weight)
        kind = TwofoldProduct if twofold else Product
        self._scores = kind(decoder.fc.weight, decoder.fc.bias)

    def memory(self, grid: torch.Tensor) -> Memory:
        """Compute everything that the steps share, from the grid (B, P, D)."""
        read = grid.to(self._products.dtype)
        projected = self._products.project(read).to(grid.dtype)  # CPUs add float32 faster
        # Torch's products of many matrices in bfloat16 lay these out anew in every call.
        kept = grid if grid.device.type == "cpu" else read
        return Memory(kept, projected, self._products)

    def init_state(self, grid: torch.Tensor) -> DecoderState:
        """Return the first state, from the mean of the grid (B, P, D); one beam an image."""
        mean = grid.mean(dim=1, keepdim=True)
        hidden, cell = self._init(mean).chunk(2, dim=-1)
        return DecoderState(hidden, cell)

    def step(
        self, tokens: torch.Tensor, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, torch.Tensor]:
        """Run `decoding_step`: from previous words (B, K) to the next state and alpha (B, K, P)."""
        return decoding_step(tokens, state, memory)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return unnormalised word scores, (..., H) to (..., V)."""
        return self._scores(hidden)
