"""The baseline: network, training and search of the image-captioning tutorial, written plainly.

Unlike this project, the tutorial encodes a photo for each of its captions, captions one photo at a
time, pools the grid to 14 x 14 whatever the backbone's size, projects the grid at every step, and
computes all in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.inputs import decode_fully
from model.config import ModelConfig
from model.encoder import Encoder
from model.network import ShowAttendTell
from model.word_map import WordMap

ENCODED_SIZE = 14
MAX_STEPS = 50


class TutorialDecoder(nn.Module):
    """The tutorial's ``DecoderWithAttention`` with its names, in the sizes of a `ModelConfig`."""

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

    def init_state(self, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return h and c of grids (N, P, D), each of shape = (N, H)."""
        mean = grid.mean(dim=1)
        return self.init_h(mean), self.init_c(mean)

    def step(
        self, grid: torch.Tensor, embedding: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read a word (N, E) and attend to the grid (N, P, D); return h, c (N, H), alpha (N, P)."""
        seen = self.encoder_att(grid) + self.decoder_att(h).unsqueeze(1)
        alpha = self.full_att(seen.relu()).squeeze(2).softmax(dim=1)
        attended = (grid * alpha.unsqueeze(2)).sum(dim=1)
        gated = self.f_beta(h).sigmoid() * attended
        h, c = self.decode_step(torch.cat([embedding, gated], dim=1), (h, c))
        return h, c, alpha

    def forward(
        self, grid: torch.Tensor, captions: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[int], torch.Tensor]:
        """Return scores (B, T, V), sorted captions, decode lengths and alphas (B, T, P)."""
        lengths, order = lengths.sort(descending=True)
        grid, captions = grid[order], captions[order]
        embeddings = self.embedding(captions)
        h, c = self.init_state(grid)
        decode_lengths = (lengths - 1).tolist()
        scores = torch.zeros(len(grid), max(decode_lengths), self.vocabulary_size)
        alphas = torch.zeros(len(grid), max(decode_lengths), grid.shape[1])
        for t in range(max(decode_lengths)):
            n = sum(length > t for length in decode_lengths)
            h, c, alpha = self.step(grid[:n], embeddings[:n, t], h[:n], c[:n])
            scores[:n, t] = self.fc(self.dropout(h))
            alphas[:n, t] = alpha
        return scores, captions, decode_lengths, alphas


def pooled(grid: torch.Tensor) -> torch.Tensor:
    """Pool grids (B, P, D) of any size to 14 x 14, shape = (B, 196, D)."""
    side = round(grid.shape[1] ** 0.5)
    square = grid.transpose(1, 2).reshape(len(grid), -1, side, side)
    return F.adaptive_avg_pool2d(square, ENCODED_SIZE).flatten(2).transpose(1, 2).contiguous()


class TutorialTraining:
    """The tutorial's training loop, one batch at a time, the encoder frozen."""

    def __init__(self, encoder: Encoder, config: ModelConfig) -> None:
        self.encoder = encoder
        self.decoder = TutorialDecoder(config, encoder.feature_size).train()
        self.optimizer = torch.optim.Adam(self.decoder.parameters(), lr=4e-4)
        self.criterion = nn.CrossEntropyLoss()

    def step(self, photos: torch.Tensor, captions: torch.Tensor, lengths: torch.Tensor) -> float:
        """Train on captions (B, T), each with its photo (B, 3, H, W); return the loss."""
        with torch.no_grad():
            grid = pooled(self.encoder(photos))
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


class TutorialCaptioner:
    """The tutorial's ``caption.py`` on the weights of a network that `model.checkpoint` loaded.

    Unlike the tutorial's it keeps no gradients, and it returns a caption for a photo none of whose
    hypotheses ends.
    """

    def __init__(self, network: ShowAttendTell, word_map: WordMap) -> None:
        self.image_size = network.config.image_size
        self.encoder = network.encoder
        self.device = network.encoder.image_mean.device
        self.decoder = TutorialDecoder(network.config, network.encoder.feature_size).eval()
        self.decoder.to(self.device).load_state_dict(
            {
                name.removeprefix("attention."): tensor
                for name, tensor in network.decoder.state_dict().items()
            }
        )
        self.word_map = word_map

    def caption(self, data: bytes, beam_size: int) -> str:
        """Caption one photo, given as the bytes of its file."""
        return self.word_map.decode(self.search(self.encode(data), beam_size))

    @torch.no_grad()
    def encode(self, data: bytes) -> torch.Tensor:
        """Decode the photo in full and encode it, shape = (196, D)."""
        photo = decode_fully(data, self.image_size).to(self.device)
        return pooled(self.encoder(photo.unsqueeze(0)))[0]

    @torch.no_grad()
    def search(self, grid: torch.Tensor, beam_size: int) -> list[int]:
        """Return the words of the best caption of a pooled grid (196, D), without start and end."""
        k, words, decoder = beam_size, len(self.word_map), self.decoder
        features = grid.unsqueeze(0).expand(k, -1, -1)
        previous = torch.full((k, 1), self.word_map.start, device=grid.device)
        sequences = previous
        scores_so_far = grid.new_zeros(k, 1)
        alphas_so_far = grid.new_ones(k, 1, grid.shape[0])
        complete: list[list[int]] = []
        complete_alphas: list[list[list[float]]] = []
        complete_scores: list[torch.Tensor] = []
        h, c = decoder.init_state(features)

        for step in range(1, MAX_STEPS + 1):
            embedding = decoder.embedding(previous).squeeze(1)
            h, c, alpha = decoder.step(features, embedding, h, c)
            scores = scores_so_far + decoder.fc(h).log_softmax(dim=1)
            # At first all hypotheses are the same, so only one counts.
            row = scores[0] if step == 1 else scores.view(-1)
            best, places = row.topk(k)
            beams, following = places // words, places % words
            sequences = torch.cat([sequences[beams], following.unsqueeze(1)], dim=1)
            alphas_so_far = torch.cat([alphas_so_far[beams], alpha[beams].unsqueeze(1)], dim=1)

            running = [i for i, word in enumerate(following) if word != self.word_map.end]
            ended = list(set(range(k)) - set(running))
            if ended:
                complete.extend(sequences[ended].tolist())
                complete_alphas.extend(alphas_so_far[ended].tolist())
                complete_scores.extend(best[ended])
            k -= len(ended)
            if k == 0:
                break
            sequences, alphas_so_far = sequences[running], alphas_so_far[running]
            kept = beams[running]
            h, c, features = h[kept], c[kept], features[kept]
            scores_so_far = best[running].unsqueeze(1)
            previous = following[running].unsqueeze(1)

        if not complete:
            return list(map(int, sequences[int(scores_so_far.argmax())][1:]))
        return complete[complete_scores.index(max(complete_scores))][1:-1]
