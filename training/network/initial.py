"""The network that a training begins with, and its words."""

from __future__ import annotations

from dataclasses import replace

import torch

from model import checkpoint
from model.config import ModelConfig
from model.network import ShowAttendTell
from model.word_map import WordMap, tokenize
from training.config import TrainingConfig
from training.data.mixture import Mixture
from training.data.prepared import Prepared
from training.network.encoder_weights import load_encoder_weights, normalisation
from training.network.notices import notices
from training.stage_options import NetworkOptions


def initial_network(config: TrainingConfig, mixture: Mixture) -> tuple[ShowAttendTell, WordMap]:
    """Return a new network for the words of the training captions, or the one to start from.

    A network to start from gets the words that it does not know yet, and any network the notices
    of its data and of the weights that it begins with.

    Raises
    ------
    ValueError
        The checkpoint or the encoder's weights cannot be read, or the photos have another size.
    """
    torch.manual_seed(config.seed)
    captions = (  # of people; those that teachers found add no words
        text
        for part in mixture.parts
        for texts in part.prepared.captions("train")
        for text in texts
    )
    words = WordMap.build(map(tokenize, captions), config.minimum_count)
    prepared = mixture.parts[0].prepared  # the others have photos of the same size
    if config.start_from is not None:
        network, words = checkpoint.with_more_words(*checkpoint.load(config.start_from), words)
        prepared.require_size(network.config.image_size)
    else:
        network = _new_network(config.network, prepared, len(words))
    network.config = replace(network.config, notices=notices(config, mixture))
    return network, words


def _new_network(options: NetworkOptions, prepared: Prepared, words: int) -> ShowAttendTell:
    if prepared.image_size != options.image_size:  # before anything is fetched
        raise ValueError(
            f"{prepared.folder} was prepared with image_size {prepared.image_size}, the network"
            f" wants {options.image_size}; give --network.image_size {prepared.image_size}, or"
            f" prepare it again with --image-size {options.image_size}"
        )
    network = ShowAttendTell(
        ModelConfig(
            vocabulary_size=words,
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
    return network
