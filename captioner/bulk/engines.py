"""Engines that caption photos: a captioner in this process, or a served one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from captioner.bulk.photo import Photo
from captioner.bulk.reading import Content, Unreadable
from captioner.bulk.row import Row, RowOptions

if TYPE_CHECKING:
    from captioner.client import CaptionClient, Reply
    from model import Caption, Captioner, DecodingOptions, InvalidImage

# Replies that are about one photo: it was refused, or a worker died of it.
STATUSES_OF_ONE_PHOTO = (413, 415, 500, 507)


class Engine(Protocol):
    """Something that captions photos."""

    @property
    def model(self) -> str | None:
        """The digest of its checkpoint; None if only its replies say it."""

    @property
    def place(self) -> str:
        """The kind of place where it computes: ``cpu``, ``cuda``, ``a server``."""

    @property
    def options(self) -> RowOptions:
        """The options that its rows follow."""

    def rows(self, photos: Iterable[tuple[Photo, Content]]) -> Iterator[Row]:
        """Yield the row of each photo, in order, and take few photos ahead."""


@dataclass(frozen=True)
class LocalEngine:
    """A captioner in this process; ``model`` is the digest of its checkpoint."""

    captioner: Captioner
    decoding: DecodingOptions
    options: RowOptions
    model: str

    @property
    def place(self) -> str:
        return self.captioner.device.type

    def rows(self, photos: Iterable[tuple[Photo, Content]]) -> Iterator[Row]:
        from model import InvalidImage

        waiting: deque[str] = deque()

        def images() -> Iterator[bytes | InvalidImage]:
            for photo, content in photos:
                waiting.append(photo.name)
                if isinstance(content, Unreadable):
                    yield InvalidImage(content.reason)
                else:
                    yield content

        for found in self.captioner.caption_stream(images(), self.decoding):
            name = waiting.popleft()
            if isinstance(found, InvalidImage):
                yield Row(name, error=str(found))
            else:
                yield self._row(name, found)

    def _row(self, name: str, captions: list[Caption]) -> Row:
        from handler.replies import tokens

        best, *others = captions
        words = [(each["word"], each["log_prob"]) for each in tokens(best)]
        alternatives = [(other.text, other) for other in others]
        return self.options.row(name, best.text, best, alternatives, words, self.model)


@dataclass(frozen=True)
class ServerEngine:
    """A served captioner.

    Attributes
    ----------
    decoding
        The values of the decoding options, which the server checks.
    """

    client: CaptionClient
    decoding: Mapping[str, Any]
    options: RowOptions
    model: None = None
    place: str = "a server"

    def rows(self, photos: Iterable[tuple[Photo, Content]]) -> Iterator[Row]:
        """Yield the row of each photo; raises `CaptionError` for an error that all would meet."""
        waiting: deque[tuple[str, str | None]] = deque()  # names, and why they are not asked about

        def readable() -> Iterator[bytes]:
            for photo, content in photos:
                if isinstance(content, Unreadable):
                    waiting.append((photo.name, content.reason))
                else:
                    waiting.append((photo.name, None))
                    yield content

        asked = dict(self.decoding)
        if self.options.tokens:
            asked["return_tokens"] = True
        for outcome in self.client.caption_stream(readable(), **asked):
            yield from _unread(waiting)
            name, _ = waiting.popleft()
            yield self._row(name, outcome)
        yield from _unread(waiting)

    def _row(self, name: str, outcome: Reply | Exception) -> Row:
        from captioner.client import CaptionError

        if isinstance(outcome, CaptionError):
            if outcome.code != "invalid_image" and outcome.status not in STATUSES_OF_ONE_PHOTO:
                raise outcome
            return Row(name, error=outcome.message)
        if isinstance(outcome, Exception):
            raise outcome
        words = [(token.word, token.log_prob) for token in outcome.tokens]
        others = [(other.caption, other) for other in outcome.alternatives]
        digest = outcome.model.digest or None
        return self.options.row(name, outcome.caption, outcome, others, words, digest)


def _unread(waiting: deque[tuple[str, str | None]]) -> Iterator[Row]:
    """Yield the rows of the photos that could not be read, up to the next that was asked about."""
    while waiting and waiting[0][1] is not None:
        name, reason = waiting.popleft()
        yield Row(name, error=reason)
