"""Rows as lines for people: captions on standard output, errors on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from captioner.bulk.photo import Photo
from captioner.bulk.row import ALTERNATIVES, Row
from captioner.bulk.run import Counts


class LineSink:
    """Prints a row as soon as it comes; nothing is kept but the counts.

    Parameters
    ----------
    print_error
        Prints a message on standard error.
    verbose
        Whether log-probabilities are printed too.
    """

    def __init__(self, print_error: Callable[[str], None], verbose: bool = False) -> None:
        self._print_error = print_error
        self._verbose = verbose
        self._counts = Counts()

    def unwritten(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        return iter(photos)

    def write(self, row: Row) -> None:
        self._counts.add(row.failed)
        name = row.photo.replace("\n", "\\n")  # or it would be two lines
        with _beside_progress():
            if row.error is not None:
                self._print_error(f"{name}: {row.error}")
            if row.caption is not None:
                self._print(name, row.caption, row.confidence, row.log_prob)
            for other in row.more.get(ALTERNATIVES, ()):
                self._print(name, other["caption"], other["confidence"], other["log_prob"])

    def flush(self) -> None:
        """Nothing is held back."""

    def finish(self) -> Counts:
        return self._counts

    def _print(
        self, name: str, caption: str, confidence: float | None, log_prob: float | None
    ) -> None:
        figures = [] if confidence is None else [f"confidence {confidence:.2f}"]
        if self._verbose:
            figures.append(f"log-probability {log_prob:.2f}")
        shown = f" ({', '.join(figures)})" if figures else ""
        print(f"{name}: {caption}{shown}", flush=True)


def _beside_progress() -> AbstractContextManager[None]:
    """Return a context in which a bar on the terminal makes room for lines."""
    if not sys.stderr.isatty():
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode()
