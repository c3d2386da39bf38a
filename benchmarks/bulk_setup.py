"""What the parts of `captioner bench bulk` share: numbers, folders of photos, commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.options import Options

SMALL_PHOTO = (64, 48)  # pixels; memory and kills do not depend on them, and they are soon decoded


@dataclass(frozen=True)
class Counts:
    """The numbers of photos of each measurement, and of kills."""

    speed: int = 5000
    different: int = 250  # among them; drawing one takes as long as captioning it
    few: int = 1000  # for the memory
    many: int = 20_000
    killed: int = 600
    kills: int = 20
    part_size: int = 10  # of the killed ones, by Ray
    parts: int = 20  # of those for the speed, by Ray; many, so that none is waited for long


QUICK = Counts(speed=40, different=8, few=40, many=80, killed=160, kills=2, parts=4)


@dataclass(frozen=True)
class Setup:
    """What each part gets: the options, the numbers, and a folder of its own for what it writes."""

    options: Options
    counts: Counts
    folder: Path

    @cached_property
    def photos(self) -> list[bytes]:
        """Photos, drawn or from ``--photos``."""
        from benchmarks.inputs import photos  # here, because --help should not wait for torch

        return photos(min(self.counts.different, self.counts.speed), self.options.photos)

    @cached_property
    def small_photos(self) -> list[bytes]:
        """Photos that are soon decoded, drawn."""
        from benchmarks.inputs import synthetic_photo

        return [synthetic_photo(seed, SMALL_PHOTO) for seed in range(self.counts.different)]

    def source(self, name: str, drawn: Sequence[bytes], count: int) -> Path:
        """Return a folder of so many names of the photos; it is made once."""
        folder = self.folder / name
        if folder.exists():
            return folder
        folder.mkdir()
        paths = [folder / f"{i:05}.jpg" for i in range(count)]
        for i, path in enumerate(paths):
            if i < len(drawn):
                path.write_bytes(drawn[i])
            else:
                path.hardlink_to(paths[i % len(drawn)])
        return folder

    def killed_photos(self) -> Path:
        """Return the folder of the photos that are captioned while something fails."""
        return self.source("killed", self.small_photos, self.counts.killed)

    def command(self, source: Path, table: Path | str, *options: str) -> list[str]:
        """Return the arguments of Python that caption a folder into a table."""
        checkpoint = str(self.options.checkpoint)
        program = ["-m", "benchmarks.child_process", "bulk"]
        return [*program, checkpoint, str(source), str(table), *options]
