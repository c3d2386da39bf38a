"""Captions and probabilities that captioners teach about photos of a prepared folder, in a file."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from model.files import write_whole
from model.word_map import tokenize
from training.data.photo import Photo
from training.data.prepared import TAUGHT, Prepared
from training.data.problems import InvalidDataset

VERSION = 1  # of the file
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


class Teacher(NamedTuple):
    """A captioner that teaches."""

    name: str  # of its checkpoint folder
    digest: str  # see `model.checkpoint.digest`
    notices: tuple[str, ...]  # what it may be used for, and with it what it teaches


class Lesson(NamedTuple):
    """By whom a folder is taught, and how much: the same lesson gives the same file."""

    photos: str  # digest of the prepared folder
    teachers: tuple[Teacher, ...]
    captions: int  # found for a photo that has none; 0 if all have captions
    words: int  # K, kept at each place of a caption


@dataclass(frozen=True)
class Taught:
    """The teachers' captions, and their probabilities of the words of all training captions.

    A place is a word of a caption, or its end. The places of the training photos follow each other
    in the order of their rows, captions and words.
    """

    lesson: Lesson
    vocabulary: tuple[str, ...]  # the words that ids stand for
    found: dict[int, tuple[str, ...]]  # row -> captions, of the training photos that had none
    counts: NDArray[np.int64]  # the places of each training photo, in the order of their rows
    ids: NDArray[np.unsignedinteger]  # the K likeliest words of each place, shape = (places, K)
    probabilities: NDArray[np.float16]  # of those words; what is left to 1 belongs to the others
    digest: str = ""  # of the file

    @classmethod
    def load(cls, prepared: Prepared) -> Self:
        """Read what a prepared folder was taught.

        Raises
        ------
        InvalidDataset
            It was not taught, or the file is damaged or belongs to other photos or captions.
        """
        path = prepared.folder / TAUGHT
        if not path.is_file():
            raise InvalidDataset(
                f"{prepared.folder} is not taught yet; run `captioner teach {prepared.folder}"
                " --teacher CHECKPOINT` first"
            )
        try:
            taught = cls.read(path)
        except UNREADABLE as error:
            raise InvalidDataset(f"{path} cannot be read: {error}; {_again(prepared)}") from error
        taught._check(prepared)
        return taught

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `save` has written; raises an error of `UNREADABLE` for a damaged file."""
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return cls._of_arrays(json.loads(arrays["about"].tobytes()), arrays, digest)

    @classmethod
    def _of_arrays(cls, about: dict[str, Any], arrays: Any, file_digest: str) -> Self:
        if about["version"] != VERSION:
            raise ValueError("another version of `captioner teach` has written it")
        teachers = tuple(
            Teacher(name, digest, tuple(notices)) for name, digest, notices in about["teachers"]
        )
        return cls(
            Lesson(about["photos"], teachers, about["captions"], about["words"]),
            tuple(about["vocabulary"]),
            {int(row): tuple(texts) for row, texts in about["found"].items()},
            arrays["counts"],
            arrays["ids"],
            arrays["probabilities"],
            file_digest,
        )

    def _check(self, prepared: Prepared) -> None:
        """Raise `InvalidDataset` unless the places are those of the folder's training captions."""
        path = prepared.folder / TAUGHT
        if self.lesson.photos != prepared.digest:
            raise InvalidDataset(f"{path} belongs to other photos; {_again(prepared)}")
        photos = self.photos(prepared)
        wanted = [places(photos[row]) for row in prepared.rows("train")]
        whole = len(self.ids) == len(self.probabilities) == sum(wanted)
        if self.counts.tolist() != wanted or not whole:
            raise InvalidDataset(
                f"{path} does not fit the words of the captions; {_again(prepared)}"
            )

    def photos(self, prepared: Prepared) -> list[Photo]:
        """Return the photos of the folder; those without captions have the ones that were found."""
        return [
            replace(photo, captions=self.found.get(row, photo.captions))
            for row, photo in enumerate(prepared.photos)
        ]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return what parts teach, one after the other; all belong to one lesson."""
        found: dict[int, tuple[str, ...]] = {}
        for part in parts:
            found |= part.found
        counts, ids, probabilities = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("counts", "ids", "probabilities")
        )
        return cls(parts[0].lesson, parts[0].vocabulary, found, counts, ids, probabilities)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        about = {
            "version": VERSION,
            **self.lesson._asdict(),
            "vocabulary": self.vocabulary,
            "found": self.found,
        }
        text = np.frombuffer(json.dumps(about, ensure_ascii=False).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(
            buffer, about=text, counts=self.counts, ids=self.ids, probabilities=self.probabilities
        )
        write_whole(path, buffer.getvalue())

    def __str__(self) -> str:
        names = ", ".join(teacher.name for teacher in self.lesson.teachers)
        captions = sum(map(len, self.found.values()))
        found = f"{captions} captions found for {len(self.found)} photos, " if captions else ""
        return f"{found}{len(self.ids)} words taught by {names}"


def places(photo: Photo) -> int:
    """Return the number of words to predict in all captions of a photo, with their ends."""
    return sum(len(tokenize(text)) + 1 for text in photo.captions)


def _again(prepared: Prepared) -> str:
    return f"run `captioner teach {prepared.folder} --overwrite` with its teachers again"
