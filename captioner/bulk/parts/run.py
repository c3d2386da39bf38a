"""A run that writes a table in parts: what it was begun with, and which parts are missing.

The folder of a run holds ``run.json``, which whoever comes first writes, and a Parquet file for
each part that is done: that a part is there is all that says so. A part appears whole, and is
written once; a process that is killed costs the part that it was at.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioner.bulk.engines import Engine
from captioner.bulk.parts.division import Division, PartReader
from captioner.bulk.parts.folder import PartFolder
from captioner.bulk.parts.share import Share
from captioner.bulk.photo import Photo
from captioner.bulk.reading import read_ahead
from captioner.bulk.resumption import changed_settings
from captioner.bulk.row import Row
from captioner.bulk.run import Counts, Progress
from captioner.bulk.tables import Values, parquet_table

PART_SIZE = 2000  # photos
RUN_FILE = "run.json"
_PART_NAME = re.compile(r"part-(\d{5,})\.parquet")


def part_name(number: int) -> str:
    """Return the name of the file of a part, which is counted from 0."""
    return f"part-{number:05}.parquet"


@dataclass(frozen=True)
class PartsRun:
    """A run that writes a table in parts.

    Attributes
    ----------
    folder
        Where the parts lie.
    columns
        The names of the table's columns.
    settings
        All that decides what the rows hold, by names for people.
    division
        The parts.
    """

    folder: PartFolder
    columns: Sequence[str]
    settings: Mapping[str, Any]
    division: Division

    def begin(self) -> None:
        """Write what the run is begun with, unless an earlier process has.

        Raises
        ------
        ValueError
            The folder holds something else, or a run that was begun with something else.
        """
        names = self.folder.names()
        if RUN_FILE not in names:
            if names:
                raise ValueError(
                    f"{self.folder} holds {min(names)} and no {RUN_FILE}, so no run of parts has"
                    " begun it; name a new folder"
                )
            self.folder.create(RUN_FILE, self._content())
        self.check()

    def check(self) -> None:
        """Raise `ValueError` if the run in the folder is not this one."""
        try:
            before = json.loads(self.folder.read(RUN_FILE))
            settings = {**before["settings"], **_listing_settings(before)}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self.folder}: {RUN_FILE} is damaged; name a new folder") from error
        now = json.loads(self._content())
        if changed := changed_settings(settings, {**now["settings"], **_listing_settings(now)}):
            raise ValueError(
                f"{self.folder} was begun with other settings: {changed}. Give the same"
                " ones to go on, or name a new folder"
            )

    def missing(self, share: Share) -> list[int]:
        """Return the numbers of those parts of a share that are not there."""
        matches = map(_PART_NAME.fullmatch, self.folder.names())
        there = {int(match[1]) for match in matches if match}
        return [number for number in share.numbers(self.division.parts) if number not in there]

    def write(
        self, numbers: Iterable[int], listing: Iterable[Photo], engine: Engine
    ) -> Iterator[Row]:
        """Caption parts and write each once its last row has passed, and yield the rows."""
        reader, models = PartReader(listing, self.division), self._models_before(engine)
        for number in numbers:
            if self.folder.has(part_name(number)):
                continue  # another process has written it meanwhile
            rows: list[Values] = []
            for row in engine.rows(read_ahead(reader.photos(number))):
                models |= {row.model} - {None}
                if len(models) > 1:
                    raise ValueError(
                        f"{self.folder} has captions of the model {models.pop()}, and the server"
                        f" now has another, {models.pop()}; name a new folder"
                    )
                rows.append(row.to_dict(self.columns))
                yield row
            self.check()  # of two runs that began at once in an object store, one ends here
            content = io.BytesIO()
            parquet_table.write(content, self.columns, rows)
            self.folder.create(part_name(number), content.getvalue())

    def _models_before(self, engine: Engine) -> set[str | None]:
        """Return the model of a part that is there, if only a server's replies say its model."""
        if engine.model is None:
            for name in filter(_PART_NAME.fullmatch, self.folder.names()):
                rows = parquet_table.read(io.BytesIO(self.folder.read(name)))
                if models := {row["model"] for row in rows} - {None}:
                    return models
        return set()

    def _content(self) -> bytes:
        content = {
            "settings": dict(self.settings),
            "photos": self.division.photos,
            "photos_per_part": self.division.part_size,
            "parts": self.division.parts,
            "listing_sha256": self.division.digest,
        }
        return (json.dumps(content, indent=1) + "\n").encode()


def _listing_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "the number of photos": content["photos"],
        "--part-size": content["photos_per_part"],
        "the hash of the photos' names": content["listing_sha256"],
    }


def caption_parts(
    run: PartsRun,
    share: Share,
    listing: Iterable[Photo],
    engine: Engine,
    progress: Progress = iter,
) -> Counts:
    """Caption the parts of a share that are missing, and return the counts of their photos."""
    counts = Counts()
    for row in progress(run.write(run.missing(share), listing, engine)):
        counts.add(row.failed)
    return counts
