"""A dataset's photos, decoded once into a folder that trainings read."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from model.files import check_place, locked, write_whole
from training.data import datasets
from training.data.formats.columns import RECOGNISED, ColumnChoice
from training.data.photo import Photo
from training.data.pixels import PART, STATE, write_pixels
from training.data.plan import Plan, is_other, make_plan, require_same
from training.data.prepared import DESCRIPTION, PIXELS, TAUGHT, Prepared, read_object
from training.data.problems import InvalidDataset, Problem, by_kind, check_share, summary
from training.data.splits import with_validation
from training.data.uncaptioned import read_uncaptioned

log = logging.getLogger("captioner")


def prepare(
    source: str | Path,
    out: str | Path,
    image_size: int,
    format: str = "auto",
    seed: int = 1,
    val_share: float = 0.1,
    max_problems: float = 0.05,
    max_words: int = 50,
    threads: int | None = None,
    overwrite: bool = False,
    uncaptioned: bool = False,
    columns: ColumnChoice = RECOGNISED,
) -> Prepared:
    """Decode every photo of a source once and write a folder that trainings read.

    The folder gets ``photos.npy`` and, last, ``dataset.json``. If a call is killed, the same call
    goes on where that one was; on a folder that is prepared already it does nothing.

    Parameters
    ----------
    source, format, max_words, columns
        The dataset, for `training.data.datasets.read`.
    out
        Folder to write.
    image_size
        S, side in pixels of the square a photo is squashed to.
    seed, val_share
        For `training.data.splits.with_validation`: a source without validation photos gives this
        share of its training photos, 0..0.9.
    max_problems
        Largest share of the photos, 0..1, that may have something wrong with them. Photos that
        cannot be used are left out, and all problems are listed in ``dataset.json``.
    threads
        Number of threads that decode; that of the processors by default.
    overwrite
        Replace what was prepared in ``out`` from something else or with other options.
    uncaptioned
        The source is a folder of photos that nobody has captioned, for
        `training.data.uncaptioned.read_uncaptioned`; all are to train on, once they are taught.

    Raises
    ------
    InvalidDataset
        The source cannot be read or has too many problems, the disk is too small, or ``out`` holds
        something else.
    ValueError
        An option is out of its range, or ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    for option, value, low, high in (
        ("image_size", image_size, 1, 4096),
        ("val_share", val_share, 0, 0.9),
        ("max_problems", max_problems, 0, 1),
    ):
        if not low <= value <= high:
            raise ValueError(f"{option} is {value}; it must be in {low}..{high}")
    check_place(out / DESCRIPTION)  # before minutes of reading
    if uncaptioned:
        dataset, val_share = read_uncaptioned(source), 0.0
    else:
        dataset = datasets.read(source, format, max_words, columns)
    # The order of the listing must not matter.
    listed = sorted(dataset.photos, key=lambda photo: photo.name)
    names = {photo.name for photo in listed}

    def judge(unreadable: list[Problem]) -> None:
        check_share([*dataset.problems, *unreadable], names, max_problems, source)

    judge([])
    photos = with_validation(listed, seed, val_share)
    plan = make_plan(listed, image_size, seed, val_share)
    out.mkdir(parents=True, exist_ok=True)
    busy = InvalidDataset(f"{out} is being prepared by another process; wait for it")
    with locked(out, busy):
        if overwrite:
            _delete_others(out, plan)
        if (out / DESCRIPTION).exists():
            require_same(out, plan, read_object(out / DESCRIPTION))
            log.info("%s is prepared from %s already", out, source)
        else:
            unreadable = write_pixels(photos, out, plan, threads, judge)
            problems = [*dataset.problems, *unreadable]
            if problems:
                log.warning("%s has problems: %s", source, summary(problems))
            bad = {problem.name for problem in unreadable}
            kept = [photo for photo in photos if photo.name not in bad]
            origin = {"source": source.resolve().name, "format": dataset.format}
            _write_description(out, plan | origin, kept, problems)
        # Besides the state, files that a process may have left which was killed while writing.
        for path in (out / STATE, *out.glob(f".{STATE}.*"), *out.glob(f".{DESCRIPTION}.*")):
            path.unlink(missing_ok=True)
    return Prepared.open(out)


def _write_description(
    out: Path, about: dict[str, Any], photos: list[Photo], problems: list[Problem]
) -> None:
    """Write ``dataset.json``, with which the folder is complete."""
    entries = [photo.description() for photo in photos]
    with open(out / PIXELS, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(entries).encode())
    content = about | {
        "digest": digest.hexdigest(),
        "problems": {
            kind: {"count": len(names), "names": names} for kind, names in by_kind(problems).items()
        },
        "photos": entries,
    }
    write_whole(out / DESCRIPTION, (json.dumps(content, indent=1) + "\n").encode())


def _delete_others(out: Path, plan: Plan) -> None:
    """Delete what a preparation with another plan has written."""
    for name in (DESCRIPTION, STATE):
        if (out / name).exists() and is_other(plan, read_object(out / name)):
            written = (out / DESCRIPTION, out / STATE, out / PART, out / PIXELS)
            # What was computed is of those photos alone.
            computed = (out / TAUGHT, *out.glob("taught-*.part"), *out.glob("grids-*"))
            for path in (*written, *computed):
                path.unlink(missing_ok=True)
