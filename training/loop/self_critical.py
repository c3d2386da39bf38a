"""Self-critical training: the better of a photo's generated captions become likelier.

Policy gradient on CIDEr-D (Rennie et al. 2017, https://arxiv.org/abs/1612.00563). The captions are
what beam search finds (Cornia et al. 2020, https://arxiv.org/abs/1912.08226, section 3.3), the
baseline of each is the mean reward of the others (Luo 2020, https://arxiv.org/abs/2003.09971).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from model.beam_search import beam_search
from model.decoding_options import DecodingOptions
from model.network import ShowAttendTell
from model.word_map import WordMap
from training.data.batches import Batch
from training.loop.steps import Step, Totals
from training.scoring.cider import CiderD


class SelfCriticalStep(Step):
    """Policy gradient; reports the mean reward of a photo's captions.

    The reward counts ``<end>`` as a word, so that to stop in the wrong place costs as much as a
    wrong word: without it captions learn to end in "with a".
    """

    figure = "reward"

    def __init__(
        self,
        network: ShowAttendTell,
        word_map: WordMap,
        reward: CiderD,
        search: DecodingOptions,
    ) -> None:
        super().__init__(network)
        self.word_map, self.reward, self.search = word_map, reward, search

    def forward(self, batch: Batch, totals: Totals) -> tuple[torch.Tensor, torch.Tensor]:
        grid = self.grid(batch)
        found = self._search(grid)
        advantages, means = [], 0.0
        for photo, captions in zip(batch.photos, found, strict=True):
            words = ([self.word_map.words[i] for i in ids[1:]] for ids in captions)
            rewards = torch.tensor(self.reward.scores(photo.name, words), device=grid.device)
            others = max(1, len(rewards) - 1)
            advantages.append((rewards - rewards.mean()) * (len(rewards) / others))
            means += rewards.mean().item()
        counts = torch.tensor([len(captions) for captions in found], device=grid.device)
        minus_log_prob = self._minus_log_prob(grid, [c for each in found for c in each], counts)
        loss = (torch.cat(advantages) * minus_log_prob).sum() / (
            totals.photos * self.search.num_captions
        )
        return loss, torch.tensor(means / totals.photos)

    def _search(self, grid: torch.Tensor) -> list[list[list[int]]]:
        """Return the word ids of each photo's captions, from ``<start>`` to ``<end>``."""
        decoder, word_map = self.network.decoder, self.word_map
        training = decoder.training
        with torch.autocast(grid.device.type, enabled=False):  # as when serving
            found = beam_search(decoder.eval(), grid.detach(), word_map, self.search)
        decoder.train(training)
        return [
            [[word_map.start, *hypothesis.tokens, word_map.end] for hypothesis in each]
            for each in found
        ]

    def _minus_log_prob(
        self, grid: torch.Tensor, captions: list[list[int]], counts: torch.Tensor
    ) -> torch.Tensor:
        """Return -log p of each whole caption, shape = (N,).

        Parameters
        ----------
        counts
            Number of captions of each photo.
        """
        ids = [torch.tensor(each, device=grid.device) for each in captions]
        forced = self.network.decoder(
            grid,
            pad_sequence(ids, batch_first=True, padding_value=self.word_map.pad),
            torch.tensor([len(each) for each in captions], device=grid.device),
            torch.arange(len(counts), device=grid.device).repeat_interleave(counts),
        )
        lengths = torch.tensor(forced.decode_lengths)
        targets = pack_padded_sequence(forced.captions[:, 1:], lengths, batch_first=True)
        owners = forced.sort_order.unsqueeze(1).expand(-1, int(lengths[0]))
        owner = pack_padded_sequence(owners, lengths, batch_first=True).data
        scores = forced.scores.data
        scores = scores if scores.dtype == torch.float64 else scores.float()
        of_words = F.cross_entropy(scores, targets.data, reduction="none")
        return of_words.new_zeros(len(captions)).index_add(0, owner, of_words)
