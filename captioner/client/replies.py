"""The reply to a photo, as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Known = TypeVar("Known", bound="DataclassInstance")


@dataclass(frozen=True)
class ServedModel:
    """The model that captioned the photo; a field is empty where the server does not name it."""

    name: str = ""
    version: str = ""
    digest: str = ""  # SHA-256 of the checkpoint, in hexadecimal digits


@dataclass(frozen=True)
class Alternative:
    """Another caption of the same photo."""

    caption: str
    log_prob: float
    confidence: float | None = None


@dataclass(frozen=True)
class Token:
    """A word of the caption, or ``<end>``, and its log-probability given those before it."""

    word: str
    log_prob: float


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one word: rows from the photo's top, summing to 1, shape = (h, w)."""

    word: str
    weights: list[list[float]]


@dataclass(frozen=True)
class Attention:
    """The attention maps of all words over one grid, (h, w)."""

    grid: tuple[int, int]
    maps: tuple[AttentionMap, ...]


@dataclass(frozen=True)
class PhotoInfo:
    """Size of the photo in pixels, once turned upright, and its format, such as ``JPEG``."""

    width: int
    height: int
    format: str


@dataclass(frozen=True)
class Reply:
    """A caption, and whatever else was asked for.

    Attributes
    ----------
    confidence
        0..1; None if the checkpoint is not calibrated.
    log_prob
        Natural logarithm of the caption's probability.
    alternatives
        The captions after the best, best first; empty unless ``num_captions`` was above 1.
    tokens
        The words, then ``<end>``; empty unless ``return_tokens``.
    attention
        None unless ``return_attention``.
    timing_ms
        Milliseconds that the photo's batch took, for ``decoding``, ``encoding``, ``search`` and
        ``total``; empty unless ``return_timing``.
    image
        None unless ``return_image``.
    """

    caption: str
    confidence: float | None
    log_prob: float
    model: ServedModel
    request_id: str
    alternatives: tuple[Alternative, ...] = ()
    tokens: tuple[Token, ...] = ()
    attention: Attention | None = None
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    image: PhotoInfo | None = None


def read_reply(content: Any, request_id: str = "") -> Reply:
    """Make a record of a reply's JSON; fields that a newer server adds are left out.

    Parameters
    ----------
    content
        The parsed JSON.
    request_id
        The request's name in the headers, for a reply that does not hold it.

    Raises
    ------
    ValueError, LookupError, TypeError or AttributeError
        The content is not a captioner's reply.
    """
    attention, image = content.get("attention"), content.get("image")
    return Reply(
        caption=content["caption"],
        confidence=content.get("confidence"),
        log_prob=content["log_prob"],
        model=_record(ServedModel, content.get("model") or {}),
        request_id=content.get("request_id") or request_id,
        alternatives=tuple(_record(Alternative, a) for a in content.get("alternatives") or ()),
        tokens=tuple(_record(Token, token) for token in content.get("tokens") or ()),
        attention=_attention(attention) if attention else None,
        timing_ms=dict(content.get("timing_ms") or {}),
        image=_record(PhotoInfo, image) if image else None,
    )


def _attention(content: Mapping[str, Any]) -> Attention:
    h, w = content["grid"]
    return Attention((h, w), tuple(_record(AttentionMap, each) for each in content["maps"]))


def _record(kind: type[Known], content: Mapping[str, Any]) -> Known:
    """Make a record from those entries of ``content`` that are its fields."""
    return kind(**{f.name: content[f.name] for f in fields(kind) if f.name in content})
