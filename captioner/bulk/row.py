"""A row of the table of captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

COLUMNS = ("photo", "caption", "confidence", "log_prob", "error", "model")
ALTERNATIVES, TOKENS = "alternatives", "tokens"  # columns that options ask for
DIGITS = 4  # of confidences and log-probabilities; further ones depend on the machine


class ScoredCaption(Protocol):
    """A caption of the model or of a server's reply."""

    @property
    def log_prob(self) -> float: ...

    @property
    def confidence(self) -> float | None: ...


@dataclass(frozen=True)
class Row:
    """The caption of one photo, or why it has none.

    Attributes
    ----------
    photo
        Its name.
    caption
        None if there is none, or none of the least confidence that was asked for.
    confidence, log_prob
        Of the caption, also of one that is left out for its confidence; see `model.Caption`.
    error
        Why there is no caption; None if there is one.
    model
        The SHA-256 digest of the checkpoint that captioned the photo; None if none did.
    more
        The values of the columns that options ask for.
    """

    photo: str
    caption: str | None = None
    confidence: float | None = None
    log_prob: float | None = None
    error: str | None = None
    model: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the photo could not be captioned."""
        return self.log_prob is None

    def to_dict(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the values of some columns, as text that is valid in UTF-8 and rounded numbers."""
        return {
            "photo": encodable(self.photo),
            "caption": self.caption,
            "confidence": rounded(self.confidence),
            "log_prob": rounded(self.log_prob),
            "error": None if self.error is None else encodable(self.error),
            "model": self.model,
        } | {name: self.more.get(name) for name in columns[len(COLUMNS) :]}


@dataclass(frozen=True)
class RowOptions:
    """The options that decide what rows hold beside a caption.

    Attributes
    ----------
    alternatives
        Whether there is a column of the captions after the best.
    tokens
        Whether there is a column of the words and their log-probabilities.
    min_confidence
        The least confidence, 0..1, of a caption that is kept; None keeps all.
    """

    alternatives: bool = False
    tokens: bool = False
    min_confidence: float | None = None

    def __post_init__(self) -> None:
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ValueError(f"--min-confidence is {self.min_confidence}; it must be in 0..1")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of a table's columns, in order."""
        asked = {ALTERNATIVES: self.alternatives, TOKENS: self.tokens}
        return (*COLUMNS, *(name for name, wanted in asked.items() if wanted))

    def is_confident(self, caption: ScoredCaption) -> bool:
        """Return whether a caption is confident enough to be kept.

        Raises
        ------
        ValueError
            A least confidence is asked for, and the captioner has no confidences.
        """
        if self.min_confidence is None:
            return True
        if caption.confidence is None:
            raise ValueError(
                "--min-confidence needs a captioner with confidences; `captioner evaluate"
                " --calibrate` gives a checkpoint its own"
            )
        return caption.confidence >= self.min_confidence

    def row(
        self,
        photo: str,
        text: str,
        best: ScoredCaption,
        others: Sequence[tuple[str, ScoredCaption]],
        tokens: Sequence[tuple[str, float]],
        model: str | None,
    ) -> Row:
        """Return the row of a photo that was captioned.

        Parameters
        ----------
        text, best
            The best caption's text and its figures.
        others
            The same of the captions after it, best first.
        tokens
            The words of the best caption and its end, with their log-probabilities.
        """
        kept, more = self.is_confident(best), dict[str, Any]()
        if self.alternatives:
            confident = [other for other in others if self.is_confident(other[1])]
            more[ALTERNATIVES] = [_alternative(*other) for other in confident]
        if self.tokens:
            shown = tokens if kept else ()
            more[TOKENS] = [{"word": word, "log_prob": rounded(value)} for word, value in shown]
        error = None
        if not kept:
            error = f"confidence {best.confidence:.4f} is below {self.min_confidence}"
        caption = text if kept else None
        return Row(photo, caption, best.confidence, best.log_prob, error, model, more)


def is_failure(values: Mapping[str, Any]) -> bool:
    """Return whether a row of a table, by its columns, is of a photo without any caption."""
    return values["log_prob"] is None


def encodable(text: str) -> str:
    r"""Return a text in which bytes that are not UTF-8 are written like ``\xe9``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def rounded(number: float | None) -> float | None:
    """Return a figure as a table has it."""
    return None if number is None else round(float(number), DIGITS)


def _alternative(text: str, caption: ScoredCaption) -> dict[str, Any]:
    confidence, log_prob = rounded(caption.confidence), rounded(caption.log_prob)
    return {"caption": text, "confidence": confidence, "log_prob": log_prob}
