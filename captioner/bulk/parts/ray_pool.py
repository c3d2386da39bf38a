"""Writing parts by Ray Data: a pool of actors, each of which holds a captioner.

Ray hands out the numbers of the parts that are missing, and no photo, caption or model goes through
it: an actor reads its photos and writes its parts itself. So a worker or a node that is lost costs
the parts that it was at; Ray gives their numbers to another actor.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.bulk.engines import LocalEngine
from captioner.bulk.parts.division import Division
from captioner.bulk.parts.folder import part_folder
from captioner.bulk.parts.run import PartsRun
from captioner.bulk.parts.share import Share
from captioner.bulk.row import RowOptions
from captioner.bulk.sources.listing import Listing
from captioner.threads import limit_spinning
from model.decoding_options import DecodingOptions

# Bytes of memory for Ray's store where this process starts Ray. It would take 30 % of the memory,
# and only numbers go through it here.
STORE_BYTES = 2**27
SECONDS_TO_CONNECT = 10.0
# Read when Ray is imported. What the user has set stays.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its libraries log to the terminal
    "RAY_raylet_start_wait_time_s": "300",  # on a busy machine, Ray's 30 seconds are too few
}


def check_address(address: str, here: str) -> None:
    """Raise `ValueError` unless an address is one of a cluster that can be joined, or ``here``."""
    if address != here and re.fullmatch(r"[^/\s]+:\d+", address) is None:
        raise ValueError(
            f"--ray {address}: the address of a cluster is HOST:PORT; without an address, --ray"
            " must not stand before a SOURCE, and with a cluster far away, run the command on its"
            " head node, by `ray job submit`"
        )


@dataclass(frozen=True)
class PoolOptions:
    """The share of the cluster that each actor takes; None finds the number of GPUs out."""

    num_cpus: float = 1
    num_gpus: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("--num-cpus", self.num_cpus), ("--num-gpus", self.num_gpus)):
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; it must not be negative")


@dataclass(frozen=True)
class EngineRecipe:
    """How an actor loads its captioner: from a checkpoint folder that every node has."""

    checkpoint: Path
    model: str | None
    device: str
    precision: str
    decoding: DecodingOptions
    options: RowOptions

    def load(self) -> LocalEngine:
        """Load the captioner; raises `ValueError` if another checkpoint lies there."""
        from model import Captioner, checkpoint
        from model.inference.devices import choose_device

        if (found := checkpoint.digest(self.checkpoint)) != self.model:
            raise ValueError(
                f"{self.checkpoint} is the model {found} on a node, and {self.model} where the run"
                " began; put the same checkpoint on every node"
            )
        device = choose_device(self.device)
        captioner = Captioner.load(self.checkpoint, device, self.precision)
        return LocalEngine(captioner, self.decoding, self.options, self.model)


@dataclass(frozen=True)
class RayJob:
    """All that an actor knows of the run; it is sent to every actor once."""

    listing: Listing
    out: str
    settings: Mapping[str, Any]
    division: Division
    recipe: EngineRecipe
    current_folder: str  # relative paths are relative to it

    def run(self) -> PartsRun:
        """Return the run that the actor takes part in."""
        columns = self.recipe.options.columns
        return PartsRun(part_folder(self.out), columns, self.settings, self.division)


class PartWriter:
    """An actor: captions the parts whose numbers it is given, and writes them."""

    def __init__(self, job: RayJob, threads: int) -> None:
        self._job, self._threads = job, threads
        self._engine: LocalEngine | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write the parts of a batch of one number.

        An error that the same command would meet again is returned, for Ray to pass on in one line;
        everything else ends the actor, and another does the part again.
        """
        photos = failures = 0
        error = ""
        try:
            run, engine = self._job.run(), self._loaded()
            for row in run.write(map(int, batch["item"]), self._job.listing, engine):
                photos += 1
                failures += row.failed
        except (ValueError, OSError, ModuleNotFoundError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        return {"photos": [photos], "failures": [failures], "error": [error]}

    def _loaded(self) -> LocalEngine:
        if self._engine is None:
            limit_spinning(os.environ)  # a node may have been started without the limits
            import torch

            from model.process import set_up_process

            set_up_process()
            torch.set_num_threads(self._threads)
            if Path(self._job.current_folder).is_dir():
                os.chdir(self._job.current_folder)
            self._engine = self._job.recipe.load()
        return self._engine


@dataclass(frozen=True)
class Pool:
    """A cluster of Ray, and what each actor takes of it.

    Attributes
    ----------
    resources
        What the cluster has now, by Ray's names: ``CPU``, ``GPU``.
    """

    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]

    @property
    def room(self) -> int:
        """The number of actors that the cluster has room for now.

        They may take all of its CPUs: threads of the actors read the photos, and no task of Ray
        waits for a CPU beside them.
        """
        wanted = (("CPU", self.num_cpus), ("GPU", self.num_gpus))
        room = (self.resources.get(name, 0) // each for name, each in wanted if each)
        return int(min(room, default=1))

    def write(self, job: RayJob, missing: list[int]) -> Iterator[dict[str, Any]]:
        """Write parts, and yield the counts of each part as it is done.

        Raises
        ------
        ValueError
            What an actor met.
        RuntimeError
            Parts are missing nevertheless.
        """
        if not missing:
            return
        data = _module("ray.data")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        parts = data.from_items(missing, override_num_blocks=len(missing))
        written = parts.map_batches(
            PartWriter,
            fn_constructor_args=(job, max(1, int(self.num_cpus))),
            batch_size=1,
            compute=data.ActorPoolStrategy(
                min_size=1,
                max_size=len(missing),
                initial_size=min(len(missing), max(1, self.room)),
                max_tasks_in_flight_per_actor=2,  # with one, the pool would never grow
            ),
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
        )  # Ray Data restarts its actors, and repeats what they were at, without limit
        for counts in written.iter_rows():
            if counts["error"]:
                raise ValueError(f"a captioner of Ray ended: {counts['error']}")
            yield counts
        if left := job.run().missing(Share()):
            raise RuntimeError(f"{len(left)} parts are not written; give the same command again")


@contextmanager
def open_pool(address: str | None, options: PoolOptions) -> Iterator[Pool]:
    """Join a cluster of Ray for the block, or begin one.

    Parameters
    ----------
    address
        Of the cluster; None finds the one that this machine belongs to, or else begins one on this
        machine alone.

    Raises
    ------
    ValueError
        There is no such cluster, the one of this machine cannot be reached, or no actor has room on
        this machine.
    RuntimeError
        Ray cannot be started on this machine.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray = _module("ray")
    if address is None:
        address = _address_here()
    else:
        _check_reached(address)
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            _begin(ray, quiet)
        else:
            _join(ray, address, quiet)
        resources = ray.cluster_resources()
        gpus = options.num_gpus
        if gpus is None:
            gpus = 1 if resources.get("GPU") else 0
        pool = Pool(options.num_cpus, gpus, resources)
        if address is None and pool.room < 1:
            raise ValueError(
                f"this machine has no room for a captioner of {pool.num_cpus:g} CPUs and"
                f" {pool.num_gpus:g} GPUs; ask for fewer by --num-cpus and --num-gpus"
            )
        yield pool
    finally:
        ray.shutdown()


def _join(ray: Any, address: str, quiet: Mapping[str, Any]) -> None:
    """Join the cluster at an address, where something listens."""
    with _one_attempt():
        try:
            ray.init(address=address, **quiet)
        except ConnectionError as error:
            raise ValueError(
                f"--ray {address}: no cluster of Ray answers there; the port is that of"
                " `ray start`, 6379 unless it was told another"
            ) from error


@contextmanager
def _one_attempt() -> Iterator[None]:
    """Let Ray try once, for 40 seconds, whether a cluster answers; it would try for 14 minutes.

    What the user has set stays.
    """
    name = "RAY_gcs_server_port_wait_time_s"  # in fact a number of attempts
    if name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]


def _begin(ray: Any, quiet: Mapping[str, Any]) -> None:
    """Begin a cluster on this machine alone."""
    try:
        ray.init("local", include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
    except Exception as error:  # Ray raises that type itself
        raise RuntimeError(f"Ray cannot be started on this machine: {error}") from error


def _address_here() -> str | None:
    """Return the address of the cluster that this machine belongs to, None if there is none.

    ``ray.init("auto")`` would join it too, but wait for minutes for one that has ended: the address
    of a cluster that was killed stays in a file of Ray's.

    Raises
    ------
    ValueError
        The cluster that RAY_ADDRESS names, or to which a running node belongs, cannot be reached.
    """
    services = _module("ray._private.services")  # Ray has no public function for it
    try:
        address: str = services.get_ray_address_from_environment("auto", None)
    except ConnectionError:
        return None
    if address == "local":  # as RAY_ADDRESS may say
        return None
    is_remembered = not os.environ.get("RAY_ADDRESS") and not services.find_gcs_addresses()
    try:
        check_address(address, "")
        _check_reached(address)
    except ValueError as error:
        if is_remembered:
            return None
        raise ValueError(f"the cluster that this machine belongs to: {error}") from error
    return address


def _check_reached(address: str) -> None:
    """Raise `ValueError` if nothing listens at an address, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--ray {address}: no cluster of Ray is there: {error}") from error


def _module(name: str) -> Any:
    """Import a module of Ray, which takes seconds."""
    return importlib.import_module(name)
