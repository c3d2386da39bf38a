"""Ask a version that does not serve yet the same as callers ask the served one, and compare.

The handler of the served version puts copies of the photos that it answered into a spool folder;
here they are taken out again. Callers wait for none of this.
"""

from __future__ import annotations

import logging
import math
import shutil
import statistics
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from captioner.client import CaptionClient, CaptionError
from captioner.operations.interrupts import aside
from handler import shadow as handler_side
from handler.shadow import ENDING, FOLDER, SETTINGS, Copy, Settings
from model.files import write_whole

log = logging.getLogger("captioner")

POLL_SECONDS = 0.1
PROGRESS_SECONDS = 10.0  # between two lines of progress
MAX_EXAMPLES = 5  # of captions that differ


@dataclass(frozen=True)
class ShadowOptions:
    """The share of the traffic that a new version is asked too, the time, and the demanded result.

    Parameters
    ----------
    share
        The share of the photos that the new version is asked, chosen at random, 0..1.
    minutes
        The time between the golden photos and the switch.
    agreement
        The share of those photos whose caption must be the same, 0..1; None demands nothing.
    """

    share: float
    minutes: float = 5.0
    agreement: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(
                f"the share to shadow is {self.share}; it must be above 0 and at most 1"
            )
        if not 0 < self.minutes < math.inf:
            raise ValueError(f"the minutes to shadow are {self.minutes}; they must be above 0")
        if self.agreement is not None and not 0 <= self.agreement <= 1:
            raise ValueError(f"the agreement is {self.agreement}; it must be in 0..1")


class CaptionPair(NamedTuple):
    """The captions of one photo by both versions, and the time of the batch that it was in."""

    old: str
    new: str
    old_ms: float  # in the handler
    new_ms: float
    batch: int  # photos in the old version's batch; the new version is asked one by one


@dataclass
class Comparison:
    """The answers of two versions to the same photos."""

    old: str  # version
    new: str
    pairs: list[CaptionPair] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # of the new version

    @property
    def photos(self) -> int:
        """The number of photos that the new version was asked."""
        return len(self.pairs) + len(self.errors)

    @property
    def same(self) -> int:
        """The number of photos with the same caption by both versions."""
        return sum(pair.old == pair.new for pair in self.pairs)

    def table(self) -> str:
        """Return counts, times and examples as lines of text."""
        if not self.photos:
            return "no request came while shadowing: nothing to compare"
        rows = [
            ("shadowed", self.old, self.new),
            ("photos", str(self.photos), str(self.photos)),
            ("errors", "", str(len(self.errors))),
        ]
        if self.pairs:
            rows += self._figures()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{name:{widths[0]}}  {old:>{widths[1]}}  {new:>{widths[2]}}" for name, old, new in rows
        ]
        if self.pairs:
            lines.append("(ms: in the handler, of the batch that a photo was in)")
        return "\n".join([*lines, *self._examples()])

    def _figures(self) -> list[tuple[str, str, str]]:
        old, new = [p.old_ms for p in self.pairs], [p.new_ms for p in self.pairs]
        batch = statistics.mean(pair.batch for pair in self.pairs)
        return [
            ("same caption", "", f"{self.same / len(self.pairs):.2f}"),
            ("median, ms", f"{statistics.median(old):.1f}", f"{statistics.median(new):.1f}"),
            ("p95, ms", f"{_percentile_95(old):.1f}", f"{_percentile_95(new):.1f}"),
            ("photos in a batch", f"{batch:.1f}", "1.0"),
        ]

    def _examples(self) -> list[str]:
        differ = dict.fromkeys((pair.old, pair.new) for pair in self.pairs if pair.old != pair.new)
        if not differ:
            return []
        examples = [f"  {old} -> {new}" for old, new in list(differ)[:MAX_EXAMPLES]]
        return ["captions that differ, such as", *examples]

    def check(self, options: ShadowOptions) -> None:
        """Raise `ValueError` if the new version failed on a photo or agrees less than demanded."""
        if self.errors:
            raise ValueError(
                f"it answered {len(self.errors)} of {self.photos} shadowed photos with an error,"
                f" the first with: {self.errors[0]}"
            )
        if options.agreement is None:
            return
        if not self.pairs:
            raise ValueError(
                f"no request came in {options.minutes:g} min of shadowing, so nothing shows that"
                " the captions agree; shadow longer, or demand no agreement"
            )
        if self.same < options.agreement * len(self.pairs):
            raise ValueError(
                f"{self.same} of {len(self.pairs)} shadowed photos have the same caption, a share"
                f" of {self.same / len(self.pairs):.4f}; {options.agreement:g} is demanded"
            )


def shadow(
    client: CaptionClient,
    store: Path,
    versions: tuple[str, str],
    options: ShadowOptions,
    now: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Ask a new version for a while the same as callers ask the old one.

    Photos are asked one at a time, because the live traffic needs the cores.

    Parameters
    ----------
    client
        A client of the new version, without retries, which would hide errors.
    store
        The folder that the server loads archives from.
    versions
        The old version and the new one.
    now
        A clock in seconds, in place of `time.monotonic`.

    Raises
    ------
    OSError
        The spool cannot be made, read or removed.
    ValueError
        A file in the spool is not a copy of an answer.
    """
    comparison = Comparison(*versions)
    seconds = 60 * options.minutes
    end, next_line = now() + seconds, now() + PROGRESS_SECONDS
    with _spool(store / FOLDER, _settings(comparison.old, options.share, seconds)) as folder:
        while (moment := now()) < end:
            if moment >= next_line:
                # Workers go by the wall clock, which may have been set meanwhile.
                settings = _settings(comparison.old, options.share, end - moment)
                write_whole(folder / SETTINGS, settings.to_bytes())
                log.info(
                    "%d photos shadowed, %d with the same caption; %.0f s to go",
                    *(comparison.photos, comparison.same, end - moment),
                )
                next_line = moment + PROGRESS_SECONDS
            path = next(folder.glob(f"*{ENDING}"), None)
            if path is None:
                time.sleep(POLL_SECONDS)
            else:
                copy = Copy.read(path)
                path.unlink()
                _ask(client, copy, comparison)
    return comparison


def check_shadowable(archive: Path, version: str) -> None:
    """Raise `ValueError` unless the code in a version's archive can copy what it answers."""
    name = f"handler/{Path(handler_side.__file__).name}"
    with zipfile.ZipFile(archive) as opened:
        if name not in opened.namelist():
            raise ValueError(
                f"version {version}, which serves, was packaged before there was shadowing; deploy"
                " without it this time"
            )


def remove_spool(store: Path) -> None:
    """Remove the spool of a model store, if there is one; a killed deploy may have left it."""
    folder = store / FOLDER
    doomed = folder.with_name(f"{FOLDER}.gone")
    _remove(doomed)
    # By another name first, so that no worker puts a file into the folder that is being removed.
    with suppress(FileNotFoundError):
        folder.rename(doomed)
    _remove(doomed)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _spool(folder: Path, settings: Settings) -> Iterator[Path]:
    """Make the spool, for its owner only because photos are private, and remove it at the end."""
    remove_spool(folder.parent)
    try:
        folder.mkdir(mode=0o700)
        write_whole(folder / SETTINGS, settings.to_bytes())
        yield folder
    finally:
        remove_spool(folder.parent)


def _settings(version: str, share: float, seconds: float) -> Settings:
    """Return what a worker shall copy for so many seconds from now on."""
    return Settings(version, share, time.time() + seconds)


def _ask(client: CaptionClient, copy: Copy, comparison: Comparison) -> None:
    """Ask the new version for the caption of a copied photo, and note the result."""
    try:
        reply = aside(client.caption, copy.photo, **copy.options, return_timing=True)
    except CaptionError as error:
        comparison.errors.append(str(error))
        return
    new_ms = reply.timing_ms["total"]
    pair = CaptionPair(copy.caption, reply.caption, copy.milliseconds, new_ms, copy.batch)
    comparison.pairs.append(pair)


def _percentile_95(values: Sequence[float]) -> float:
    """Return the 95th percentile by the nearest rank."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
