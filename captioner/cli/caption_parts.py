"""The arguments of ``captioner caption`` for a table in parts, by one process or by many."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.cli import arguments as shared
from captioner.cli.caption_settings import table_settings
from captioner.cli.messages import print_error

if TYPE_CHECKING:
    from captioner.bulk.engines import Engine
    from captioner.bulk.parts.ray_pool import PoolOptions
    from captioner.bulk.parts.run import PartsRun
    from captioner.bulk.parts.share import Share
    from captioner.bulk.row import Row, RowOptions
    from captioner.bulk.run import Counts
    from captioner.bulk.sources.listing import Listing

THIS_MACHINE = "here"  # what --ray without an address means


def add_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--part",
        metavar="I/N",
        help="write every N-th part, from part I in 0..N-1: one of N processes that write into one"
        " folder; auto: the index and the number of an array job of AWS Batch or SLURM; auto/N: the"
        " index also of an Indexed Job of Kubernetes",
    )
    group.add_argument(
        "--part-size",
        type=int,
        metavar="N",
        help="photos of a part, which is what a process that is killed loses (default: 2000)",
    )
    group.add_argument(
        "--ray",
        nargs="?",
        const=THIS_MACHINE,
        metavar="HOST:PORT",
        help="write the parts by Ray: on the cluster at this address, or at RAY_ADDRESS, or which"
        " this machine belongs to, or else on this machine alone",
    )
    group.add_argument(
        "--num-cpus",
        type=float,
        metavar="X",
        help="CPUs of each of Ray's captioners (default: 1)",
    )
    group.add_argument(
        "--num-gpus",
        type=float,
        metavar="X",
        help="GPUs of each of Ray's captioners (default: 1 if the cluster has any, else 0)",
    )


def place_to_write(text: str) -> Path | str:
    """Return a table's file as a path, and a folder of parts as the text that names it."""
    from captioner.bulk.sources.stores import is_address

    return text if is_address(text) or text.endswith("/") or Path(text).is_dir() else Path(text)


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for arguments that do not go together."""
    parts, by_ray = isinstance(arguments.out, str), arguments.ray is not None
    for name in ("sidecar", "watch"):
        if getattr(arguments, name) and (parts or by_ray or arguments.part):
            raise ValueError(
                f"{_flag(name)} does not go with a table in parts; name a table in one file, or"
                f" leave out {_flag(name)}"
            )
    for name in ("part", "part_size", "ray"):
        if getattr(arguments, name) is not None and not parts:
            raise ValueError(f"{_flag(name)} is about a folder of parts; name that: --out FOLDER/")
    for name in ("num_cpus", "num_gpus"):
        if getattr(arguments, name) is not None and not by_ray:
            raise ValueError(f"{_flag(name)} is about Ray; add --ray, or leave it out")
    for name in ("part", "server"):
        if getattr(arguments, name) and by_ray:
            raise ValueError(f"--ray has captioners of its own; leave out {_flag(name)}")
    for name in ("overwrite", "skip_existing"):
        if getattr(arguments, name) and parts:
            raise ValueError(f"{_flag(name)} is about a table in one file; name a new folder")
    if parts:
        _check_parts(arguments)


def _check_parts(arguments: argparse.Namespace) -> None:
    from captioner.bulk.parts.folder import part_folder
    from captioner.bulk.parts.ray_pool import check_address
    from captioner.bulk.sources.listing import STANDARD_INPUT
    from captioner.bulk.tables import FORMS, parquet_table

    if arguments.out.lower().endswith(tuple(FORMS)):
        raise ValueError(
            f"{arguments.out}: a table in one file is written to this machine; at an address, name"
            " a folder for its parts"
        )
    if STANDARD_INPUT in arguments.sources:
        raise ValueError(
            "standard input (-) can be read once, and parts need their photos listed before; write"
            " it to a file such as list.txt, and name that"
        )
    if arguments.part_size is not None and arguments.part_size < 1:
        raise ValueError(f"--part-size is {arguments.part_size}; it must be at least 1")
    _share(arguments)
    if arguments.ray is not None:
        check_address(arguments.ray, THIS_MACHINE)
        _pool_options(arguments)
    parquet_table.check()
    try:
        part_folder(arguments.out)
    except ValueError as error:
        raise ValueError(f"--out {arguments.out}: {error}") from error


def _share(arguments: argparse.Namespace) -> Share:
    from captioner.bulk.parts.share import Share

    return Share.parse(arguments.part, os.environ) if arguments.part else Share()


def _pool_options(arguments: argparse.Namespace) -> PoolOptions:
    from captioner.bulk.parts.ray_pool import PoolOptions

    cpus = PoolOptions.num_cpus if arguments.num_cpus is None else arguments.num_cpus
    return PoolOptions(cpus, arguments.num_gpus)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def write(arguments: argparse.Namespace, listing: Listing, engine: Engine) -> Counts:
    """Write the parts of this process, and say what is there then."""
    from captioner.bulk.parts.run import caption_parts

    share = _share(arguments)
    run = _begun(arguments, listing, engine.options, engine.model, engine.place)
    photos = run.division.size_of(share.numbers(run.division.parts))
    done = photos - run.division.size_of(run.missing(share))

    def progress(rows: Iterator[Row]) -> Iterator[Row]:
        from training.reporting.progress import progress as shown

        return shown(rows, photos, "captions", done)

    with _saying_how_to_go_on(run):
        counts = caption_parts(run, share, listing, engine, progress)
    of = f" of share {share.index}/{share.count}" if share.count > 1 else ""
    _print_done(run, f"{photos} photos{of}", counts)
    return counts


def write_by_ray(arguments: argparse.Namespace, listing: Listing, options: RowOptions) -> Counts:
    """Write all parts by Ray, and say what is there then."""
    from captioner.bulk.parts.ray_pool import EngineRecipe, RayJob, open_pool
    from captioner.bulk.run import Counts
    from model import checkpoint
    from training.reporting.progress import progress

    decoding = shared.decoding_options(arguments)
    folder = arguments.checkpoint.absolute()
    digest = checkpoint.digest(folder)
    address = None if arguments.ray == THIS_MACHINE else arguments.ray
    with open_pool(address, _pool_options(arguments)) as pool:
        device = arguments.device
        if device == "auto":
            device = "cuda" if pool.num_gpus else "cpu"
        recipe = EngineRecipe(folder, digest, device, arguments.precision, decoding, options)
        run = _begun(arguments, listing, options, digest, device.partition(":")[0])
        job = RayJob(listing, arguments.out, run.settings, run.division, recipe, str(Path.cwd()))
        missing, counts = run.missing(_share(arguments)), Counts()
        parts = run.division.parts
        with _saying_how_to_go_on(run):
            written = pool.write(job, missing)
            for part in progress(written, parts, "parts", parts - len(missing)):
                counts.photos += part["photos"]
                counts.failures += part["failures"]
    _print_done(run, f"{run.division.photos} photos", counts)
    return counts


def _begun(
    arguments: argparse.Namespace,
    listing: Listing,
    options: RowOptions,
    model: str | None,
    place: str,
) -> PartsRun:
    """Return the run that the arguments name, once the folder says what it was begun with."""
    from captioner.bulk.parts.division import Division
    from captioner.bulk.parts.folder import part_folder
    from captioner.bulk.parts.run import PART_SIZE, PartsRun

    folder = part_folder(arguments.out)
    division = Division.of(listing, arguments.part_size or PART_SIZE)
    run = PartsRun(folder, options.columns, table_settings(arguments, model, place), division)
    run.begin()
    return run


@contextmanager
def _saying_how_to_go_on(run: PartsRun) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, OSError, RuntimeError):
        print_error(f"finished parts are in {run.folder}; the same command does the others")
        raise


def _print_done(run: PartsRun, of: str, counts: Counts) -> None:
    print(f"{run.folder}: {of}, {counts.photos} of them captioned now")
