"""Start, find and stop a TorchServe server."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

from captioner.java import find_java
from captioner.operations import frontend
from captioner.operations.interrupts import aside
from captioner.operations.keys import Keys, bearer
from captioner.operations.management import Management, ManagementError
from captioner.operations.ports import Ports
from captioner.operations.reconcile import reconcile_record
from captioner.operations.server_state import ServerState, start_time
from captioner.operations.store import MODEL, Store, StoreLock
from model.files import locked_folder, write_whole

log = logging.getLogger("captioner")

START_SECONDS, STOP_SECONDS = 180.0, 30.0
MANAGEMENT_SECONDS = 2.0  # for an answer of a server that is about to be stopped
START_LOCK = ".starting"  # held while a server is started
# TorchServe and its workers talk by sockets in a folder for temporary files.
TEMP_PREFIX = "captioner-"
SOCKET = f"{TEMP_PREFIX}12345678/.ts.sock.65535"
# Bytes of a socket's path, `sockaddr_un.sun_path`, but for the zero at its end.
MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103


class Server:
    """The TorchServe server of one folder, which holds its state, configuration and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.log = self.logs / "server.log"
        self.key_file = folder / "key_file.json"  # TorchServe writes it to its current directory
        self._state_file = folder / "server.json"
        self._log_sizes: dict[Path, int] = {}  # bytes, when the server was started

    def check_can_start(self, ports: Ports) -> Path:
        """Return the Java to start with; raise `ValueError` if the server cannot be started."""
        self._check_stopped()
        ports.check_free()
        _check_socket_paths()
        return find_java()

    def _check_stopped(self) -> None:
        if self.process():
            raise ValueError(f"already serving from {self.folder}; stop it with --stop first")

    @contextmanager
    def lock(self, store: Store) -> Iterator[StoreLock]:
        """Keep every other server away from this folder and from a store, for the block.

        Raises
        ------
        ValueError
            Another server has the folder or the store.
        """
        refusal = f"another server is being started from {self.folder}; wait for its end"
        with locked_folder(self.folder, START_LOCK, ValueError(refusal)):
            self._check_stopped()
            self._clean()  # after a server that was killed
            with store.lock_for_server() as lock:
                yield lock

    def start(
        self,
        java: Path,
        store: Store,
        ports: Ports,
        lock: StoreLock,
        *,
        overrides: Mapping[str, str] | None = None,
        log_to_file: bool = True,
        tokens: bool = False,
    ) -> None:
        """Start the frontend with the store's versions; it starts the workers and outlives us.

        Java is our direct child. Whatever ends this process meanwhile, `stop` finds what runs: a
        server becomes one only after its state is written.

        Parameters
        ----------
        java
            The Java to run, from `check_can_start`.
        lock
            The lock from `lock`; the server holds it as long as it runs.
        overrides
            Environment variables that come before those of ``ports``.
        log_to_file
            Whether the output goes to `log`, or else to the output of this process.
        tokens
            Whether TorchServe asks every caller for a token; it writes its keys to `key_file`.

        Raises
        ------
        ValueError
            The store has no version to serve, or its record is damaged.
        """
        store.discard_unfinished_deploy()
        record = store.read_record()
        if record is None:
            raise ValueError(f"{store.folder} has no version to serve; package one into it")
        self.logs.mkdir(parents=True, exist_ok=True)
        self._log_sizes = {path: path.stat().st_size for path in self.logs.glob("*.log")}
        config = self.folder / "config.properties"
        write_whole(config, frontend.configuration(store, record, tokens).encode())
        self.key_file.unlink(missing_ok=True)  # keys of an earlier server
        temp = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX))
        environment = frontend.environment(
            ports.environment(),
            overrides or {},
            store=store,
            logs=self.logs,
            temp=temp,
            tokens=tokens,
        )
        command = frontend.command(java, config, store, temp)
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                [*frontend.START_ON_SIGNAL, *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log if log_to_file else None,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=lock.descriptors,
                # TorchServe makes the key file its owner's only after the keys are in it.
                umask=0o077 if tokens else -1,
            )
        assert process.stdin
        with process.stdin:  # if it is closed before the line is written, no server starts
            state = ServerState(
                pid=process.pid,
                temp=str(temp),
                started=start_time(process.pid),
                store=str(store.folder.resolve()),
                management=environment["TS_MANAGEMENT_ADDRESS"],
            )
            state.write(self._state_file)
            lock.name_server(self.folder.resolve(), process.pid)
            process.stdin.write(b"go\n")

    def process(self) -> psutil.Process | None:
        """Return the process of the frontend; None if it does not run."""
        with suppress(ValueError):  # a damaged file names no process
            if state := ServerState.read(self._state_file):
                return state.process()
        return None

    def record_served_versions(self) -> None:
        """Write down what is served, to be called before `stop`; failures are only logged.

        Callers of TorchServe's management API may have changed what is served, and a restart shall
        serve the same.
        """
        if self.process() is None:
            return
        try:
            state = ServerState.read(self._state_file)
            if state is None or state.store is None or state.management is None:
                raise ValueError("an earlier release has started the server")
            token = Keys.read(self.key_file).management if self.key_file.exists() else None
            store = Store(Path(state.store))
            with (
                Management(state.management, MODEL, token, MANAGEMENT_SECONDS) as management,
                store.lock_for_deploy(),
            ):
                reconcile_record(store, management)
        except (OSError, ValueError, ManagementError) as error:
            log.warning("what is served was not recorded before the stop: %s", error)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Stop frontend and workers and clean up; return whether a server ran.

        Parameters
        ----------
        seconds
            The time for them to end by themselves; after that they are killed.
        """
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
        """Remove the files of a server that has ended."""
        if state := ServerState.read(self._state_file):
            shutil.rmtree(state.temp, ignore_errors=True)
            self._state_file.unlink()
            self.key_file.unlink(missing_ok=True)

    def wait_for_caption(self, url: str, photo: bytes, seconds: float) -> str:
        """Ask for a caption until one comes, and return the reply.

        Only a prediction shows that the server is ready; its ``/ping`` is Healthy before.

        Raises
        ------
        RuntimeError
            The server ended or gave no caption in time; the message has the end of its log.
        """
        deadline = time.monotonic() + seconds
        answer = "no answer"
        session = requests.Session()
        session.trust_env = False  # a proxy of the environment cannot reach this machine
        while time.monotonic() < deadline:
            if not self.process():
                raise RuntimeError(f"TorchServe ended while starting. {self._end_of_log()}")
            try:
                reply = aside(session.post, url, data=photo, headers=self._token(), timeout=30)
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
        """Return the header with the inference key, if the server asks for one."""
        return bearer(Keys.read(self.key_file).inference if self.key_file.exists() else None)

    def _end_of_log(self) -> str:
        """Return the last lines of all logs since the start that say what went wrong."""
        lines = []
        # The workers' log comes last: what TorchServe says of a worker that ended follows from it.
        for path in (self.log, self.logs / "ts_log.log", self.logs / "model_log.log"):
            if not path.exists():
                continue
            with open(path, "rb") as log:
                size_before = self._log_sizes.get(path, 0)
                # A file that is smaller than before is a new one; so is `log` at every start.
                if size_before <= path.stat().st_size and path != self.log:
                    log.seek(size_before)
                text = log.read().decode(errors="replace")
            lines += [line for line in text.splitlines() if line.strip()]
        if not lines:
            return "Its output above says why."
        relevant = [line for line in lines if re.search("ERROR|Exception|Error|Invalid", line)]
        return f"Its logs, in {self.logs}, say: {' | '.join((relevant or lines)[-3:])}"


def _check_socket_paths() -> None:
    """Raise `ValueError` if a socket in a folder for temporary files would have too long a path."""
    folder = tempfile.gettempdir()
    most = MAX_SOCKET_PATH - len(SOCKET) - 1
    if len(os.fsencode(folder)) > most:
        raise ValueError(
            f"TorchServe's sockets cannot lie in {folder}: a path of more than {most} bytes is too"
            " long for them; name another folder by the environment variable TMPDIR"
        )
