"""Captioners teach: they caption photos that nobody has captioned, and say which words are likely.

What they teach is written once, into the folder of prepared photos; a training reads it there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from model import checkpoint
from model.beam_search import beam_search
from model.decoding_options import DecodingOptions
from model.files import check_place, locked
from model.inference.devices import choose_device, choose_precision
from model.inference.prepared import PreparedDecoder
from model.word_map import tokenize
from training.data.grids import PhotoGrids
from training.data.prepared import TAUGHT, Prepared
from training.data.problems import InvalidDataset
from training.data.taught import UNREADABLE, Lesson, Taught, Teacher
from training.distillation.ensemble import Ensemble, Member
from training.distillation.likely_words import likely_words
from training.network.notices import inherited_notices
from training.reporting.progress import progress

log = logging.getLogger("captioner")

BATCH = 64  # photos taught together
PART = 16  # batches between two points that killed work can go on from
MIN_BEAMS = 10  # of the search for captions; more where more captions are wanted
LENGTH_PENALTY = 0.7  # of that search; long captions have more to teach


def teach(
    data: str | Path,
    teachers: Sequence[Path],
    captions: int = 5,
    words: int = 16,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
) -> Taught:
    """Write what captioners teach about the training photos of a prepared folder, if it is not yet.

    If a call is killed, the same call goes on where that one was.

    Parameters
    ----------
    teachers
        Their checkpoint folders.
    captions
        Number of captions to find for each photo that nobody has captioned, 1..20: those of the
        ensemble's search that have most in common with all that it held likely.
    words
        Number of likely words to keep for each place of a caption, at least 1.
    device, precision
        See `model.inference.devices`.
    overwrite
        Replace what others have taught, or with other options.

    Raises
    ------
    ValueError
        The folder or a checkpoint cannot be used, or the folder is taught by others already.
    """
    if not teachers:
        raise ValueError("teachers is empty; name the checkpoint of one at least")
    for name, value, high in (("captions", captions, 20), ("words", words, 1000)):
        if not 1 <= value <= high:
            raise ValueError(f"{name} is {value}; it must be in 1..{high}")
    prepared = Prepared.open(data)
    prepared.rows("train")  # raises if there is none
    lesson = Lesson(
        prepared.digest,
        tuple(
            Teacher(path.resolve().name, checkpoint.digest(path), inherited_notices(path))
            for path in teachers
        ),
        0 if prepared.captioned else captions,
        words,
    )
    check_place(prepared.folder / TAUGHT)
    busy = InvalidDataset(f"{prepared.folder} is in use by another process; wait for it")
    with locked(prepared.folder, busy):
        if not overwrite and (prepared.folder / TAUGHT).exists():
            return _taught_already(prepared, lesson)
        where = choose_device(device)
        ensemble = _Teachers(prepared, teachers, where, choose_precision(precision, where)[1])
        _taught(prepared, lesson, ensemble).save(prepared.folder / TAUGHT)
        # Besides the parts, files that a process may have left which was killed while writing.
        for path in (*prepared.folder.glob("taught-*.part"), *prepared.folder.glob(".taught*")):
            path.unlink()
    return Taught.load(prepared)


def _taught_already(prepared: Prepared, lesson: Lesson) -> Taught:
    """Return what was taught; raises `ValueError` if it was another lesson."""
    taught = Taught.load(prepared)
    if taught.lesson != lesson:
        raise ValueError(
            f"{prepared.folder / TAUGHT} is there already, by other teachers or with other options"
            f" ({taught}); add --overwrite to replace it"
        )
    log.info("%s is taught by these already", prepared.folder)
    return taught


class _Teachers:
    """The ensemble of the teachers, and the grids of the photos for each of them."""

    def __init__(
        self,
        prepared: Prepared,
        folders: Sequence[Path],
        device: torch.device,
        decoder_dtype: torch.dtype,
    ) -> None:
        self._device = device
        self._grids: list[PhotoGrids] = []
        members = []
        for folder in folders:
            network, word_map = checkpoint.load(folder, device)
            prepared.require_size(network.config.image_size)
            self._grids.append(PhotoGrids(network.encoder, prepared, device))
            decoder = PreparedDecoder(network.decoder, decoder_dtype)
            members.append(
                Member(decoder, word_map, self._grids[-1].of_rows([0]).to(device).float())
            )
        self.ensemble = Ensemble(members)

    def grid(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the grids of some photos for all teachers, as the ensemble takes them."""
        grids = [each.of_rows(rows).to(self._device).float() for each in self._grids]
        return Ensemble.pack(grids)


def _taught(prepared: Prepared, lesson: Lesson, teachers: _Teachers) -> Taught:
    """Return what the teachers teach about all training photos, some photos after the others."""
    rows = prepared.rows("train")
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    parts = _parts_before(prepared.folder, lesson)
    done = PART * len(parts)
    if done:
        log.info("going on after the first %d photos", done * BATCH)
    part: list[Taught] = []
    for batch in progress(batches[done:], len(batches), f"teaching {len(rows)} photos", done):
        part.append(_of_batch(prepared, lesson, teachers, batch))
        if len(part) == PART:
            parts.append(Taught.joined(part))
            parts[-1].save(_part(prepared.folder, len(parts) - 1))
            part = []
    return Taught.joined([*parts, *part])


def _part(folder: Path, number: int) -> Path:
    return folder / f"taught-{number}.part"


def _parts_before(folder: Path, lesson: Lesson) -> list[Taught]:
    """Return the parts of the lesson that a killed call has written."""
    parts: list[Taught] = []
    with suppress(*UNREADABLE):  # the first that is missing or damaged is the next to write
        part = Taught.read(_part(folder, 0))
        while part.lesson == lesson and len(part.counts) == PART * BATCH:
            parts.append(part)
            part = Taught.read(_part(folder, len(parts)))
    return parts


def _of_batch(
    prepared: Prepared, lesson: Lesson, teachers: _Teachers, rows: Sequence[int]
) -> Taught:
    """Return what the teachers teach about some photos."""
    ensemble, grid = teachers.ensemble, teachers.grid(rows)
    found: dict[int, tuple[str, ...]] = {}
    if lesson.captions:
        found = dict(zip(rows, _found(ensemble, grid, lesson.captions), strict=True))
    texts = [found.get(row, prepared.photos[row].captions) for row in rows]
    captions = [[tokenize(text) for text in each] for each in texts]
    vocabulary = ensemble.word_map.words
    kept = min(lesson.words, len(vocabulary))
    likely = likely_words(ensemble, grid, ensemble.word_map, captions, kept)
    return Taught(
        lesson,
        tuple(vocabulary),
        found,
        np.array([sum(len(words) + 1 for words in each) for each in captions]),
        likely.ids.numpy().astype(np.min_scalar_type(len(vocabulary))),
        likely.probabilities.numpy().astype(np.float16),
    )


def _found(ensemble: Ensemble, grid: torch.Tensor, count: int) -> Iterator[tuple[str, ...]]:
    """Yield the captions that the ensemble finds for each photo, by consensus, each text once."""
    beams = max(MIN_BEAMS, min(2 * count, 20))
    search = DecodingOptions(beams, count, length_penalty=LENGTH_PENALTY)
    for hypotheses in beam_search(ensemble, grid, ensemble.word_map, search):
        texts = [ensemble.word_map.decode(hypothesis.tokens) for hypothesis in hypotheses]
        with_words = tuple(text for text in dict.fromkeys(texts) if tokenize(text))
        if not with_words:
            raise ValueError("the teachers know no words that captions are split into here")
        yield with_words
