"""Photos decoded and encoded once; batches in which a photo travels with all of its captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from model import image
from model.encoder import Encoder
from model.word_map import WordMap, tokenize
from training.datasets import Example, InvalidDataset
from training.progress import progress

ENCODING_BATCH = 64
DECODING_THREADS = 4


@dataclass(frozen=True)
class Batch:
    """B photos, encoded, with their N captions."""

    grid: torch.Tensor  # shape = (B, P, D)
    captions: torch.Tensor  # ids, padded, shape = (N, T)
    lengths: torch.Tensor  # with ``<start>`` and ``<end>``, shape = (N,)
    image_of: torch.Tensor  # row of ``grid``, shape = (N,)


@dataclass(frozen=True)
class EncodedSplit:
    """The photos of a split as grids in half precision, with their captions."""

    grids: torch.Tensor  # float16, shape = (photos, P, D)
    captions: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.captions)


@torch.no_grad()
def encode_split(
    encoder: Encoder, examples: Sequence[Example], image_size: int, device: torch.device
) -> EncodedSplit:
    """Run a frozen encoder over every photo of a split, once for the whole training."""
    encoder.eval()
    grids = []
    batches = decoded_batches([example.path for example in examples], image_size)
    total = -(-len(examples) // ENCODING_BATCH)
    for photos in progress(batches, total, f"encoding {len(examples)} {examples[0].split} photos"):
        grids.append(encoder(photos.to(device)).half().cpu())
    return EncodedSplit(torch.cat(grids), [example.captions for example in examples])


def decoded_batches(
    paths: Sequence[Path], image_size: int, batch_size: int = ENCODING_BATCH
) -> Iterator[torch.Tensor]:
    """Photos in order, uint8, shape = (B, 3, image_size, image_size); threads decode ahead."""

    def decoded(path: Path) -> torch.Tensor:
        try:
            return image.decode(path.read_bytes(), image_size)
        except (OSError, image.InvalidImage) as error:
            raise InvalidDataset(f"{path}: {error}") from error

    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        starts = range(0, len(paths), batch_size)
        ahead = [pool.submit(decoded, path) for path in paths[:batch_size]]
        for start in starts:
            current = ahead
            following = paths[start + batch_size : start + 2 * batch_size]
            ahead = [pool.submit(decoded, path) for path in following]
            yield torch.stack([future.result() for future in current])


class TrainingBatches:
    """Batches of a split in an order drawn anew for every epoch.

    Parameters
    ----------
    batch_size
        B, photos in a batch.
    max_words
        Longer captions are left out of training.
    """

    def __init__(
        self, split: EncodedSplit, word_map: WordMap, batch_size: int, max_words: int = 50
    ) -> None:
        self.split, self.word_map, self.batch_size = split, word_map, batch_size
        self.ids = [
            [torch.tensor(word_map.encode(w)) for w in map(tokenize, texts) if len(w) <= max_words]
            for texts in split.captions
        ]

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """Every photo once, with all of its captions."""
        order = torch.randperm(len(self.split), generator=generator)
        for start in range(0, len(order), self.batch_size):
            photos = order[start : start + self.batch_size]
            captions = [ids for photo in photos.tolist() for ids in self.ids[photo]]
            counts = torch.tensor([len(self.ids[photo]) for photo in photos.tolist()])
            if not captions:
                continue
            yield Batch(
                grid=self.split.grids[photos].float(),
                captions=pad_sequence(captions, batch_first=True, padding_value=self.word_map.pad),
                lengths=torch.tensor([len(ids) for ids in captions]),
                image_of=torch.arange(len(photos)).repeat_interleave(counts),
            )
