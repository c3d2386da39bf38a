"""Ask a version that does not serve yet what callers ask the one that does, and compare.

The handler of the version that serves puts copies of what it answered into the spool; here they
are taken out again. Callers wait for none of this.
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
from handler import shadow as spooled
from handler.shadow import ENDING, FOLDER, SETTINGS, Copy, Settings
from model.files import write_whole

log = logging.getLogger("captioner")

POLL_SECONDS = 0.1
TELL_SECONDS = 10.0
MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Shadowing:
    """How much of the traffic a new version is asked too, how long, and what must come of it.

    Parameters
    ----------
    share
        Of the photos, chosen at random.
    minutes
        Between the golden photos and the switch.
    agreement
        The share of them whose caption must be the same; None demands nothing.
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


class Pair(NamedTuple):
    """One photo as both versions answered it; milliseconds are of its batch, in the handler."""

    old: str
    new: str
    old_ms: float
    new_ms: float
    batch: int  # photos in the old one; the new version is asked one by one


@dataclass
class Comparison:
    """What came of it."""

    old: str  # version
    new: str
    pairs: list[Pair] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def photos(self) -> int:
        return len(self.pairs) + len(self.errors)

    @property
    def same(self) -> int:
        return sum(pair.old == pair.new for pair in self.pairs)

    def table(self) -> str:
        if not self.photos:
            return "no request came while shadowing: nothing to compare"
        lines = [("shadowed", self.old, self.new), ("photos", str(self.photos), str(self.photos))]
        lines.append(("errors", "", str(len(self.errors))))
        if self.pairs:
            old, new = [p.old_ms for p in self.pairs], [p.new_ms for p in self.pairs]
            lines += [
                ("same caption", "", f"{self.same / len(self.pairs):.2f}"),
                ("median, ms", f"{statistics.median(old):.1f}", f"{statistics.median(new):.1f}"),
                ("p95, ms", f"{_p95(old):.1f}", f"{_p95(new):.1f}"),
                ("photos in a batch", f"{statistics.mean(p.batch for p in self.pairs):.1f}", "1.0"),
            ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = [
            f"{name:{widths[0]}}  {old:>{widths[1]}}  {new:>{widths[2]}}"
            for name, old, new in lines
        ]
        if self.pairs:
            told.append("(ms: in the handler, of the batch that a photo was in)")
        told += self._examples()
        return "\n".join(told)

    def _examples(self) -> list[str]:
        differ = dict.fromkeys((pair.old, pair.new) for pair in self.pairs if pair.old != pair.new)
        if not differ:
            return []
        examples = [f"  {old} -> {new}" for old, new in list(differ)[:MOST_EXAMPLES]]
        return ["captions that differ, such as", *examples]

    def check(self, wanted: Shadowing) -> None:
        """Raise `ValueError` unless the new version answered everything and agrees as demanded."""
        if self.errors:
            raise ValueError(
                f"it answered {len(self.errors)} of {self.photos} shadowed photos with an error,"
                f" the first with: {self.errors[0]}"
            )
        if wanted.agreement is None:
            return
        if not self.pairs:
            raise ValueError(
                f"no request came in {wanted.minutes:g} min of shadowing, so nothing shows that"
                " the captions agree; shadow longer, or demand no agreement"
            )
        if self.same < wanted.agreement * len(self.pairs):
            raise ValueError(
                f"{self.same} of {len(self.pairs)} shadowed photos have the same caption, a share"
                f" of {self.same / len(self.pairs):.4f}; {wanted.agreement:g} is demanded"
            )


def shadow(
    client: CaptionClient,
    store: Path,
    versions: tuple[str, str],
    wanted: Shadowing,
    now: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Ask a new version for a while what the old one is asked.

    One photo at a time: the new version's worker has the cores from live traffic.

    Parameters
    ----------
    client
        Of the new version; one without retries, which would hide errors.
    store
        The folder that the server loads archives from.
    versions
        The old one and the new one.

    Raises
    ------
    OSError
        The spool cannot be made, read or removed.
    ValueError
        What lies in it is no copy of an answer.
    """
    found = Comparison(*versions)
    seconds = 60 * wanted.minutes
    ends, tell = now() + seconds, now() + TELL_SECONDS
    with _spool(store / FOLDER, _settings(found.old, wanted.share, seconds)) as folder:
        while (moment := now()) < ends:
            if moment >= tell:
                # Workers go by the wall clock, which may have been set meanwhile.
                settings = _settings(found.old, wanted.share, ends - moment)
                write_whole(folder / SETTINGS, settings.to_bytes())
                log.info(
                    "%d photos shadowed, %d with the same caption; %.0f s to go",
                    *(found.photos, found.same, ends - moment),
                )
                tell = moment + TELL_SECONDS
            path = next(folder.glob(f"*{ENDING}"), None)
            if path is None:
                time.sleep(POLL_SECONDS)
            else:
                copy = Copy.read(path)
                path.unlink()
                _ask(client, copy, found)
    return found


def check_shadowable(archive: Path, version: str) -> None:
    """Raise `ValueError` unless the version of an archive can hand over what it is asked."""
    name = f"handler/{Path(spooled.__file__).name}"
    with zipfile.ZipFile(archive) as opened:
        if name not in opened.namelist():
            raise ValueError(
                f"version {version}, which serves, was packaged before there was shadowing; deploy"
                " without it this time"
            )


def clear(store: Path) -> None:
    """Remove the spool, if there is one; of a deploy that was killed, too."""
    folder = store / FOLDER
    gone = folder.with_name(f"{FOLDER}.gone")
    _remove(gone)
    # By another name first, so that no worker puts a file into what is being removed.
    with suppress(FileNotFoundError):
        folder.rename(gone)
    _remove(gone)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _spool(folder: Path, settings: Settings) -> Iterator[Path]:
    """For its owner only, as photos are private."""
    clear(folder.parent)
    try:
        folder.mkdir(mode=0o700)
        write_whole(folder / SETTINGS, settings.to_bytes())
        yield folder
    finally:
        clear(folder.parent)


def _settings(version: str, share: float, seconds: float) -> Settings:
    """Return what a worker is to copy for so many seconds from now on."""
    return Settings(version, share, time.time() + seconds)


def _ask(client: CaptionClient, copy: Copy, found: Comparison) -> None:
    try:
        reply = client.caption(copy.photo, **copy.options, return_timing=True)
    except CaptionError as error:
        found.errors.append(str(error))
        return
    new_ms = reply.timing_ms["total"]
    pair = Pair(copy.caption, reply.caption, copy.milliseconds, new_ms, copy.batch)
    found.pairs.append(pair)


def _p95(values: Sequence[float]) -> float:
    """The nearest rank."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
