"""The image-captioning tutorial's network and training step, written plainly: the baseline.

What it does and we do not: an encoding a caption, the grid pooled to 14x14 whatever the backbone
gives, the grid projected at every step, float32 throughout.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from model.config import ModelConfig
from model.encoder import Encoder

ENCODED_SIZE = 14


class TutorialDecoder(nn.Module):
    """``DecoderWithAttention`` with its names, sizes from a `ModelConfig`."""

    def __init__(self, config: ModelConfig, feature_size: int) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.vocabulary_size = config.vocabulary_size
        self.encoder_att = nn.Linear(feature_size, config.attention_size)
        self.decoder_att = nn.Linear(hidden, config.attention_size)
        self.full_att = nn.Linear(config.attention_size, 1)
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.decode_step = nn.LSTMCell(config.embedding_size + feature_size, hidden)
        self.init_h = nn.Linear(feature_size, hidden)
        self.init_c = nn.Linear(feature_size, hidden)
        self.f_beta = nn.Linear(hidden, feature_size)
        self.fc = nn.Linear(hidden, config.vocabulary_size)

    def forward(
        self, grid: torch.Tensor, captions: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[int], torch.Tensor]:
        """Scores (B, T, V), sorted captions, decode lengths, alphas (B, T, P)."""
        lengths, order = lengths.sort(descending=True)
        grid, captions = grid[order], captions[order]
        embeddings = self.embedding(captions)
        mean = grid.mean(dim=1)
        h, c = self.init_h(mean), self.init_c(mean)
        decode_lengths = (lengths - 1).tolist()
        scores = torch.zeros(len(grid), max(decode_lengths), self.vocabulary_size)
        alphas = torch.zeros(len(grid), max(decode_lengths), grid.shape[1])
        for t in range(max(decode_lengths)):
            n = sum(length > t for length in decode_lengths)
            seen = self.encoder_att(grid[:n]) + self.decoder_att(h[:n]).unsqueeze(1)
            alpha = self.full_att(seen.relu()).squeeze(2).softmax(dim=1)
            attended = (grid[:n] * alpha.unsqueeze(2)).sum(dim=1)
            gated = self.f_beta(h[:n]).sigmoid() * attended
            read = torch.cat([embeddings[:n, t], gated], dim=1)
            h, c = self.decode_step(read, (h[:n], c[:n]))
            scores[:n, t] = self.fc(self.dropout(h))
            alphas[:n, t] = alpha
        return scores, captions, decode_lengths, alphas


class TutorialTraining:
    """The tutorial's training loop, one batch at a time, the encoder frozen."""

    def __init__(self, encoder: Encoder, config: ModelConfig) -> None:
        self.encoder = encoder
        self.pool = nn.AdaptiveAvgPool2d(ENCODED_SIZE)
        self.decoder = TutorialDecoder(config, encoder.feature_size).train()
        self.optimizer = torch.optim.Adam(self.decoder.parameters(), lr=4e-4)
        self.criterion = nn.CrossEntropyLoss()

    def step(self, photos: torch.Tensor, captions: torch.Tensor, lengths: torch.Tensor) -> float:
        """One batch; every caption brings its photo: photos (B, 3, H, W), captions (B, T)."""
        with torch.no_grad():
            features = self.encoder(photos)
            side = round(features.shape[1] ** 0.5)
            grid = self.pool(features.transpose(1, 2).unflatten(2, (side, side)))
            grid = grid.flatten(2).transpose(1, 2).contiguous()
        scores, captions, decode_lengths, alphas = self.decoder(grid, captions, lengths)
        packed = pack_padded_sequence(scores, decode_lengths, batch_first=True).data
        targets = pack_padded_sequence(captions[:, 1:], decode_lengths, batch_first=True).data
        loss = self.criterion(packed, targets) + ((1 - alphas.sum(dim=1)) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        for parameter in self.decoder.parameters():
            if parameter.grad is not None:
                parameter.grad.clamp_(-5.0, 5.0)
        self.optimizer.step()
        return float(loss.item())
