"""An engine without a network, and photos that count how often they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from captioner.bulk.photo import Photo
from captioner.bulk.reading import Content, Unreadable
from captioner.bulk.resumption import TablePlan, open_table
from captioner.bulk.row import Row, RowOptions
from captioner.bulk.run import Counts, caption_all


@dataclass
class EchoEngine:
    """Captions a photo with its own bytes, as text; a photo of ``bad`` cannot be captioned."""

    options: RowOptions = field(default_factory=RowOptions)
    model: str | None = "ab" * 32
    place: str = "a test"

    def rows(self, photos: Iterable[tuple[Photo, Content]]) -> Iterator[Row]:
        for photo, content in photos:
            if isinstance(content, Unreadable):
                yield Row(photo.name, error=content.reason)
            elif content == b"bad":
                yield Row(photo.name, error="not an image")
            else:
                text = content.decode()
                best = SimpleNamespace(log_prob=-len(text) / 3, confidence=1 / len(text))
                other = SimpleNamespace(log_prob=-9.0, confidence=0.25)
                words = [(word, -0.5) for word in [*text.split(), "<end>"]]
                others = [(f"no {text}", other)]
                yield self.options.row(photo.name, text, best, others, words, self.model)


@dataclass
class CountedPhotos:
    """Photos that know how many of them were listed and read."""

    contents: Sequence[bytes]
    listed: int = 0
    read: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[Photo]:
        for number in range(len(self.contents)):
            self.listed += 1
            yield Photo(f"photos/{number:04}.jpg", partial(self._read, number))

    def _read(self, number: int) -> bytes:
        self.read.append(number)
        return self.contents[number]


def photos(count: int) -> CountedPhotos:
    """Return photos of which every seventh is bad."""
    return CountedPhotos([b"bad" if i % 7 == 3 else f"photo {i}".encode() for i in range(count)])


def write_table(
    path: Path,
    listing: Iterable[Photo],
    engine: EchoEngine | None = None,
    settings: dict[str, object] | None = None,
    **plan: bool,
) -> Counts:
    """Caption photos into a table."""
    engine = engine or EchoEngine()
    wanted = TablePlan(path, engine.options.columns, settings or {"--beam-size": 5}, **plan)
    with open_table(wanted) as sink:
        return caption_all(listing, engine, sink)
