"""What a training begins with: the network with its words, and the optimizer of a stage."""

from __future__ import annotations

from typing import Any

import torch

from model import checkpoint
from model.config import ModelConfig
from model.network import ShowAttendTell
from model.word_map import WordMap, tokenize
from training.config import StageOptions, TrainingConfig
from training.data.prepared import Prepared
from training.loop.encoder_weights import load_encoder_weights, normalisation


def new_network(config: TrainingConfig, prepared: Prepared) -> tuple[ShowAttendTell, WordMap]:
    """A new network for the words of the training captions, or one to start from."""
    torch.manual_seed(config.seed)
    captions = (text for row in prepared.splits["train"] for text in prepared.captions[row])
    words = WordMap.build(map(tokenize, captions), config.minimum_count)
    if config.start_from is not None:
        return checkpoint.with_more_words(*checkpoint.load(config.start_from), words)
    options = config.network
    if prepared.image_size != options.image_size:  # before anything is fetched
        raise ValueError(
            f"{prepared.folder} was prepared with image_size {prepared.image_size}, the network"
            f" wants {options.image_size}; give --network.image_size {prepared.image_size}, or"
            f" prepare it again with --image-size {options.image_size}"
        )
    network = ShowAttendTell(
        ModelConfig(
            vocabulary_size=len(words),
            encoder=options.encoder,
            image_size=options.image_size,
            encoded_size=options.encoded_size or None,
            attention_size=options.attention_size,
            embedding_size=options.embedding_size,
            hidden_size=options.hidden_size,
            dropout=options.dropout,
            **normalisation(options.encoder),
        )
    )
    load_encoder_weights(network.encoder, options.encoder_weights)
    return network, words


def new_optimizer(options: StageOptions, network: ShowAttendTell) -> torch.optim.Optimizer:
    """Groups: the decoder and, where it learns, the encoder; each remembers its peak rate."""
    groups: list[dict[str, Any]] = [
        {"params": list(network.decoder.parameters()), "peak": options.learning_rate}
    ]
    if upper := [p for p in network.encoder.parameters() if p.requires_grad]:
        groups.append({"params": upper, "peak": options.encoder_learning_rate})
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=options.learning_rate)
    return torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay)
