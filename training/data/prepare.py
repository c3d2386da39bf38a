"""Photos decoded once into a folder that trainings read; killed at any time, it goes on."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from model import image
from model.files import check_place, locked, write_whole
from training.data import datasets
from training.data.datasets import InvalidDataset, Problem
from training.data.photos import Photo, merged, source_digest, with_validation
from training.data.prepared import DESCRIPTION, PHOTOS, VERSION, Prepared, read_json
from training.reporting.progress import progress

log = logging.getLogger("captioner")

# What is there only while a preparation is under way.
PART, STATE = PHOTOS + ".part", "progress.json"
SAVE_EVERY = 256  # photos between two points that a killed preparation can go on from
UNREADABLE = "photo that cannot be decoded"

T = TypeVar("T")
R = TypeVar("R")


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
) -> Prepared:
    """Decode every photo of a source once and write a folder that trainings read.

    The folder gets ``photos.npy`` and, last, ``dataset.json``. Killed at any time, the same call
    goes on where it was; on a folder that is prepared already it does nothing.

    Parameters
    ----------
    source, format, max_words
        As `training.data.datasets.read` takes them.
    out
        Folder to write.
    image_size
        S, side in pixels of the square a photo is squashed to.
    seed, val_share
        A source without validation photos gives this share of its training photos (those in no
        split are such) to validation: which, depends on the seed and the names alone.
    max_problems
        Share of the photos, 0..1, that may have something wrong with them. Photos that cannot be
        used are left out, problems are listed in ``dataset.json``.
    threads
        That decode; as many as there are processors by default.
    overwrite
        Replace what was prepared in ``out`` from something else or with other options.

    Raises
    ------
    InvalidDataset
        The source cannot be read or has too many problems, the disk is too small, or ``out`` holds
        something else.
    """
    source, out = Path(source), Path(out)
    for option, value, least, most in (
        ("image_size", image_size, 1, 4096),
        ("val_share", val_share, 0, 0.9),
        ("max_problems", max_problems, 0, 1),
    ):
        if not least <= value <= most:
            raise ValueError(f"{option} is {value}; it must be in {least}..{most}")
    check_place(out / DESCRIPTION)  # before minutes of reading
    dataset = datasets.read(source, format, max_words)
    listed = merged(dataset.examples)
    names = {photo.name for photo in listed}

    def judge(unreadable: list[Problem]) -> None:
        problems = [*dataset.problems, *unreadable]
        datasets.require_few(problems, names, max_problems, source)

    judge([])
    photos = with_validation(listed, seed, val_share)
    plan = {
        "version": VERSION,
        "source_digest": source_digest(listed),
        "image_size": image_size,
        "decoding": image.DECODING_VERSION,
        "seed": seed,
        "val_share": val_share,
    }
    out.mkdir(parents=True, exist_ok=True)
    busy = InvalidDataset(f"{out} is being prepared by another process; wait for it")
    with locked(out, busy):
        if overwrite:
            _delete_others(out, plan)
        if (out / DESCRIPTION).exists():
            _require_same(out, plan, read_json(out / DESCRIPTION))
            log.info("%s is prepared from %s already", out, source)
        else:
            unreadable = _decode(photos, out, plan, threads, judge)
            bad = {problem.name for problem in unreadable}
            kept = [photo.described() for photo in photos if photo.name not in bad]
            problems = datasets.by_kind([*dataset.problems, *unreadable])
            if problems:
                log.warning("%s has problems: %s", source, datasets.summary(problems))
            origin = {"source": source.resolve().name, "format": dataset.format}
            content = plan | origin | _content(out, kept, problems)
            write_whole(out / DESCRIPTION, _json(content))
        # Besides the state, what a process that was killed while writing may have left.
        for path in (out / STATE, *out.glob(f".{STATE}.*"), *out.glob(f".{DESCRIPTION}.*")):
            path.unlink(missing_ok=True)
    return Prepared.open(out)


def _content(
    out: Path, photos: list[dict[str, Any]], problems: dict[str, list[str]]
) -> dict[str, Any]:
    with open(out / PHOTOS, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(photos).encode())
    return {
        "digest": digest.hexdigest(),
        "problems": {
            kind: {"count": len(names), "names": names} for kind, names in problems.items()
        },
        "photos": photos,
    }


def _decode(
    photos: list[Photo],
    out: Path,
    plan: dict[str, Any],
    threads: int | None,
    judge: Callable[[list[Problem]], None],
) -> list[Problem]:
    """Write ``photos.npy`` in order, without the photos that cannot be decoded; give those."""
    size: int = plan["image_size"]
    done, unreadable = _resumed(out, plan)
    if (out / PHOTOS).exists():  # killed before the description was written
        if done != len(photos):
            raise InvalidDataset(f"{out} holds a {PHOTOS} of something else; choose another --out")
        return unreadable
    needed, free = (len(photos) - done) * 3 * size**2, shutil.disk_usage(out).free
    if needed > free:
        raise InvalidDataset(
            f"{out}: the photos take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free there;"
            " choose another --out or a smaller image size"
        )

    def decoded(photo: Photo) -> bytes | Problem:
        try:
            return image.decode(photo.photo.read_bytes(), size).numpy().tobytes()
        except (OSError, image.InvalidImage) as error:
            return Problem(UNREADABLE, photo.name, str(error))

    threads = threads or os.cpu_count() or 1
    with open(out / PART, "ab") as file, ThreadPoolExecutor(threads) as pool:
        if done == 0:
            file.truncate(0)
            file.write(_npy_header(0, size))
        else:
            file.truncate(_npy_bytes(done - len(unreadable), size))
        rows = _ahead(pool, decoded, photos[done:], 8 * threads)
        for result in progress(rows, len(photos), f"decoding {len(photos)} photos", done):
            done += 1
            if isinstance(result, Problem):
                unreadable.append(result)
            else:
                file.write(result)
            if done % SAVE_EVERY == 0 or done == len(photos):
                judge(unreadable)
                _flush(file)
                found = {problem.name: problem.detail for problem in unreadable}
                state = plan | {"done": done, "unreadable": found}
                write_whole(out / STATE, _json(state))
    with open(out / PART, "r+b") as part:
        part.write(_npy_header(len(photos) - len(unreadable), size))
        _flush(part)
    (out / PART).replace(out / PHOTOS)
    return unreadable


def _resumed(out: Path, plan: dict[str, Any]) -> tuple[int, list[Problem]]:
    """How many photos a preparation that was killed has done, and which it could not decode."""
    if not (out / STATE).exists():
        return 0, []
    state = read_json(out / STATE)
    _require_same(out, plan, state)
    done, unreadable = state["done"], state["unreadable"]
    written = next((path for path in (out / PART, out / PHOTOS) if path.exists()), None)
    least = _npy_bytes(done - len(unreadable), plan["image_size"])
    if written is None or written.stat().st_size < least:
        return 0, []
    log.info("going on after the first %d photos", done)
    return done, [Problem(UNREADABLE, name, why) for name, why in unreadable.items()]


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], window: int
) -> Iterator[R]:
    """Results in order, at most ``window`` of them waiting in memory."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _npy_header(count: int, size: int) -> bytes:
    """Of the same length for every count: NumPy leaves room for the first axis to grow."""
    buffer = io.BytesIO()
    kind = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, size, size)}
    np.lib.format.write_array_header_1_0(buffer, kind)
    return buffer.getvalue()


def _npy_bytes(count: int, size: int) -> int:
    return len(_npy_header(count, size)) + count * 3 * size**2


def _delete_others(out: Path, plan: dict[str, Any]) -> None:
    """Delete what a preparation with another plan has written."""
    for name in (DESCRIPTION, STATE):
        found = read_json(out / name) if (out / name).exists() else {}
        ours = plan.keys() <= found.keys()
        if ours and any(found[key] != value for key, value in plan.items()):
            written = (out / DESCRIPTION, out / STATE, out / PART, out / PHOTOS)
            for path in (*written, *out.glob("grids-*")):  # grids of those photos alone
                path.unlink(missing_ok=True)


def _require_same(out: Path, plan: dict[str, Any], found: dict[str, Any]) -> None:
    found = {"decoding": 1} | found  # the first did not say so
    if not plan.keys() <= found.keys():
        raise InvalidDataset(f"{out} holds files of something else; choose another --out")
    for key, value in plan.items():
        if found[key] != value:
            what = f"{key} {found[key]}, not {value}"
            if key == "source_digest":
                what = "other photos or captions"
            if key == "decoding":
                what = "photos as another version of the captioner decodes them"
            raise InvalidDataset(
                f"{out} was prepared with {what}; choose another --out, or add --overwrite"
            )


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
