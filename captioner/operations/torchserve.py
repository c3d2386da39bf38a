"""Start, find and stop TorchServe's frontend."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import requests

from captioner.java import find_java
from captioner.operations.adoption import adopt
from captioner.operations.keys import Keys
from captioner.operations.locks import locked_folder
from captioner.operations.management import Management, ManagementError
from captioner.operations.store import MODEL, Reservation, Store
from captioner.paths import ROOT
from captioner.threads import limit_spinning
from handler import shadow
from model.files import write_whole

log = logging.getLogger("captioner")

START_SECONDS, STOP_SECONDS = 180.0, 30.0
RECORD_SECONDS = 2.0  # for an answer of management, when the server is about to be stopped
STARTING = ".starting"  # held while a server is started

# Becomes TorchServe once it is told so; ends if whoever would tell it has ended.
WHEN_TOLD = 'read -r go && exec "$@" < /dev/null'


@dataclass(frozen=True)
class Ports:
    """Inference, management and metrics, one after the other, then the two of gRPC."""

    inference: int = 8080

    @property
    def management(self) -> int:
        return self.inference + 1

    @property
    def metrics(self) -> int:
        return self.inference + 2

    @classmethod
    def free(cls) -> Self:
        """Some that nothing listens on; raises `ValueError` if none are found."""
        for first in random.sample(range(20_000, 30_000), 100):
            ports = cls(first)
            with suppress(ValueError):
                ports.check_free()
                return ports
        raise ValueError("no five free ports in a row were found in 20000..30000")

    def check_free(self) -> None:
        """Raise `ValueError` naming a port that something else listens on."""
        for port in range(self.inference, self.inference + 5):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise ValueError(
                        f"port {port} is in use ({error.strerror}); stop what listens there"
                        " or choose another with --port"
                    ) from error

    def environment(self) -> dict[str, str]:
        address = "http://127.0.0.1:{}".format
        return {
            "TS_INFERENCE_ADDRESS": address(self.inference),
            "TS_MANAGEMENT_ADDRESS": address(self.management),
            "TS_METRICS_ADDRESS": address(self.metrics),
            "TS_GRPC_INFERENCE_ADDRESS": "127.0.0.1",
            "TS_GRPC_MANAGEMENT_ADDRESS": "127.0.0.1",
            "TS_GRPC_INFERENCE_PORT": str(self.inference + 3),
            "TS_GRPC_MANAGEMENT_PORT": str(self.inference + 4),
        }


class Server:
    """The TorchServe of one folder: its process, log and pid file are kept there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.log = self.logs / "server.log"
        self._ends_before: dict[Path, int] = {}  # of the log files, when it was started
        self.key_file = folder / "key_file.json"  # TorchServe's, in its current directory
        self._state = folder / "server.json"

    def check_startable(self, ports: Ports) -> Path:
        """The Java to start with; raises `ValueError` if it runs already or cannot be started."""
        if self.process():
            raise ValueError(f"already serving from {self.folder}; stop it with --stop first")
        ports.check_free()
        return find_java()

    @contextmanager
    def reserve(self, store: Store) -> Iterator[Reservation]:
        """Keep every other server away from this folder, for the block, and from the store.

        Raises
        ------
        ValueError
            Another server has one of them.
        """
        refusal = f"another server is being started from {self.folder}; wait for its end"
        with locked_folder(self.folder, STARTING, refusal):
            if self.process():
                raise ValueError(f"already serving from {self.folder}; stop it with --stop first")
            self._clean()  # after a server that was killed
            with store.reserved() as reservation:
                yield reservation

    def start(
        self,
        java: Path,
        store: Store,
        ports: Ports,
        reservation: Reservation,
        overrides: Mapping[str, str] | None = None,
        to_log: bool = True,
        tokens: bool = False,
    ) -> None:
        """Start the frontend with the store's versions; it starts the workers and outlives us.

        Java, from `check_startable`, is our child directly: TorchServe's own launcher would not
        pass signals on. Whatever ends us meanwhile, `stop` finds what runs.

        Parameters
        ----------
        reservation
            From `reserve`; the server holds the store as long as it runs.
        overrides
            Of the environment that ``ports`` make.
        to_log
            Or to our own output.
        tokens
            Whether TorchServe asks for some and writes its keys to `key_file`.
        """
        store.clear_unfinished()
        record = store.read()
        if record is None:
            raise ValueError(f"{store.folder} has no version to serve")
        self.logs.mkdir(parents=True, exist_ok=True)
        self._ends_before = {path: path.stat().st_size for path in self.logs.glob("*.log")}
        config = self.folder / "config.properties"
        snapshot = json.dumps(store.snapshot(record))
        common = (ROOT / "config.properties").read_text()
        if tokens:
            common += "\ndisable_token_authorization=false"
        write_whole(config, f"{common}\nmodel_snapshot={snapshot}\n".encode())
        self.key_file.unlink(missing_ok=True)  # keys of a server that is no more
        # Sockets lie in TEMP and their paths may not be long.
        temp = Path(tempfile.mkdtemp(prefix="captioner-"))
        environment = os.environ | ports.environment() | dict(overrides or {})
        environment |= {"TEMP": str(temp), "LOG_LOCATION": str(self.logs)}
        environment.setdefault("LOG4J_CONFIGURATION_FILE", str(ROOT / "deploy" / "log4j2.xml"))
        environment["TS_METRICS_CONFIG"] = str(ROOT / "handler" / "metrics.yaml")
        # Workers inherit it: where a deploy would have copies of what they answer.
        environment[shadow.VARIABLE] = str(store.folder.resolve() / shadow.FOLDER)
        # Bodies reach the handler as they are: a worker dies of a text that is no UTF-8.
        environment["TS_DECODE_INPUT_REQUEST"] = "false"
        # A setting of the caller's environment would come before that of the file.
        environment["TS_DISABLE_TOKEN_AUTHORIZATION"] = str(not tokens).lower()
        limit_spinning(environment)  # of the workers
        # TorchServe puts PYTHONPATH before the archive of a worker.
        environment.pop("PYTHONPATH", None)
        home, frontend = _torchserve()
        command = [str(java), f"-Dmodel_server_home={home}", f"-Djava.io.tmpdir={temp}"]
        command += java_options(common)
        command += ["-cp", f"{frontend}/*", "org.pytorch.serve.ModelServer"]
        command += ["--python", sys.executable, "-f", str(config)]
        command += ["-s", str(store.folder.resolve()), "-ncs"]
        with open(self.log, "wb") as log:
            started = subprocess.Popen(
                ["/bin/sh", "-c", WHEN_TOLD, "captioner", *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log if to_log else None,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=reservation.descriptors,
                # TorchServe makes the key file its owner's only after the keys are in it.
                umask=0o077 if tokens else -1,
            )
        assert started.stdin
        with started.stdin:  # closed before it is told to, it does not become a server
            state = {"pid": started.pid, "started": _started(started.pid), "temp": str(temp)}
            state["store"] = str(store.folder.resolve())
            state["management"] = environment["TS_MANAGEMENT_ADDRESS"]
            write_whole(self._state, json.dumps(state).encode())
            reservation.name_server(self.folder.resolve(), started.pid)
            started.stdin.write(b"go\n")

    def process(self) -> psutil.Process | None:
        """The frontend, if it runs."""
        try:
            state = json.loads(self._state.read_text())
            process = psutil.Process(state["pid"])
            if "started" in state:
                same = state["started"] == _started(process.pid)  # pids are used again
            else:  # by an older release
                same = state["created"] == process.create_time()
            alive = same and process.status() != psutil.STATUS_ZOMBIE
            return process if alive else None
        except (OSError, ValueError, LookupError, psutil.NoSuchProcess):
            return None

    def record(self) -> None:
        """Write down what is served, before `stop`; what hinders that is logged only.

        Callers of TorchServe's management may have changed it, and a restart is to serve the same.
        """
        if self.process() is None:
            return
        try:
            state = json.loads(self._state.read_text())
            token = Keys.read(self.key_file).management if self.key_file.exists() else None
            store = Store(Path(state["store"]))
            with (
                Management(state["management"], MODEL, token, RECORD_SECONDS) as management,
                store.locked(),
            ):
                adopt(store, management)
        except (OSError, ValueError, LookupError, ManagementError) as error:
            log.warning("what is served was not recorded before the stop: %s", error)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Stop frontend and workers, in so many seconds gently, and clean up; whether any ran."""
        process = self.process()
        if process:
            everyone = [process, *process.children(recursive=True)]
            process.terminate()
            _, alive = psutil.wait_procs(everyone, seconds)
            for stuck in alive:
                stuck.kill()
            psutil.wait_procs(alive, STOP_SECONDS)
        self._clean()
        return process is not None

    def _clean(self) -> None:
        """Remove what a server that has ended leaves."""
        if self._state.exists():
            temp = json.loads(self._state.read_text())["temp"]
            shutil.rmtree(temp, ignore_errors=True)
            self._state.unlink()
            self.key_file.unlink(missing_ok=True)

    def wait_until_it_answers(self, url: str, photo: bytes, seconds: float) -> str:
        """Ask for a caption until one comes: ready is what a prediction says, not ``/ping``.

        Raises
        ------
        RuntimeError
            The server ended or gave no caption in time; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        answer = "no answer"
        session = requests.Session()
        session.trust_env = False  # no proxy of the environment's stands before this machine
        while time.monotonic() < deadline:
            if not self.process():
                raise RuntimeError(f"TorchServe ended while starting. {self._end_of_log()}")
            try:
                reply = session.post(url, data=photo, headers=self._token(), timeout=30)
                if reply.ok:
                    return reply.text
                answer = f"{reply.status_code} {reply.text.strip()}"
            except requests.RequestException as error:
                answer = type(error).__name__
            except ValueError as error:  # the key file is being written
                answer = str(error)
            time.sleep(0.25)
        raise RuntimeError(f"no caption after {seconds:.0f} s, only {answer}. {self._end_of_log()}")

    def _token(self) -> dict[str, str]:
        """The header that it asks for, if it does."""
        if not self.key_file.exists():
            return {}
        return {"Authorization": f"Bearer {Keys.read(self.key_file).inference}"}

    def _end_of_log(self) -> str:
        """The last lines, of all logs and since the start, that tell what went wrong."""
        lines = []
        # The workers' last: what TorchServe says of a worker that ended follows from it.
        for path in (self.log, self.logs / "ts_log.log", self.logs / "model_log.log"):
            if not path.exists():
                continue
            with open(path, "rb") as log:
                end_before = self._ends_before.get(path, 0)
                if end_before <= path.stat().st_size and path != self.log:  # else it is a new file
                    log.seek(end_before)
                text = log.read().decode(errors="replace")
            lines += [line for line in text.splitlines() if line.strip()]
        if not lines:
            return "It has told above why."
        telling = [line for line in lines if re.search("ERROR|Exception|Error|Invalid", line)]
        return f"Its logs, in {self.logs}, say: {' | '.join((telling or lines)[-3:])}"


def _torchserve() -> tuple[Path, Path]:
    """Return where its Python package lies and its frontend, without importing it."""
    spec = importlib.util.find_spec("ts")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    return package.parent, package / "frontend"


def java_options(config: str) -> list[str]:
    """Return what the line ``vmargs`` of a config.properties has for Java.

    TorchServe's own launcher reads it there, not its frontend.
    """
    lines = [line.partition("=") for line in config.splitlines() if not line.startswith("#")]
    values = [value for name, _, value in lines if name.strip() == "vmargs"]
    return " ".join(values).split()


def _started(pid: int) -> str:
    """Return when a process was started, in a form that no step of the clock changes.

    That is the boot and the ticks since then, where the system tells them (proc(5)). What psutil
    returns is the same in Unix time, and another after the clock was set.

    Raises
    ------
    psutil.NoSuchProcess
        There is no such process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return str(psutil.Process(pid).create_time())
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"
