"""The container's main program: TorchServe behind nginx, which stops accepting before it stops.

TorchServe drops the requests that it is answering when it is stopped. So callers reach it through
nginx, the gate, which opens once a photo was captioned. On SIGTERM the gate accepts nothing more,
finishes what it has and ends; only then is TorchServe stopped. Connections that arrive after the
gate has closed are refused, never accepted and reset.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from captioner.addresses import redacted
from captioner.listening import CONNECT_SECONDS, ignore_new_connections
from captioner.operations.health import tiny_photo
from captioner.operations.ports import Ports
from captioner.operations.store import MODEL, UNVERSIONED_ARCHIVE, Store
from captioner.operations.torchserve import START_SECONDS, Server
from captioner.paths import MODEL_STORE, ROOT

log = logging.getLogger("captioner")

FILES = ROOT / "deploy" / "container"
SHARED = ROOT / "deploy" / "nginx" / "captioner"  # limits and errors, used outside as well
DRAIN_SECONDS = 22.0  # for accepted requests to be answered
STOP_SECONDS = 5.0  # for TorchServe to end after that; both together within docker's 30
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Addresses:
    """The addresses that the container listens on, each HOST:PORT.

    Management can load code, so it may listen beyond loopback only where nobody else reaches it.
    """

    inference: str = "0.0.0.0:8080"
    management: str = "127.0.0.1:8081"
    metrics: str = "127.0.0.1:8082"

    @classmethod
    def from_environment(cls) -> Self:
        """Read CAPTIONER_INFERENCE, CAPTIONER_MANAGEMENT and CAPTIONER_METRICS.

        Raises
        ------
        ValueError
            One of them is not an address.
        """
        names = {name: f"CAPTIONER_{name.upper()}" for name in cls.__dataclass_fields__}
        given = {name: os.environ[key] for name, key in names.items() if os.environ.get(key)}
        for name, address in given.items():
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise ValueError(
                    f"{names[name]} is {redacted(address)!r}; it must be like 127.0.0.1:8081"
                )
        return cls(**given)


def unlimited_networks() -> list[str]:
    """Return the networks of CAPTIONER_UNLIMITED, whose requests the gate does not count.

    Raises
    ------
    ValueError
        One of them is not a network.
    """
    texts = os.environ.get("CAPTIONER_UNLIMITED", "").split(",")
    try:
        networks = [ipaddress.ip_network(text.strip()) for text in texts if text.strip()]
        # The zone of an address may have any characters, those of nginx's syntax as well.
        if any("%" in str(network) for network in networks):
            raise ValueError("a network has no zone")
        return [str(network) for network in networks]
    except ValueError as error:
        raise ValueError(
            f"CAPTIONER_UNLIMITED: {error}; it must be like 10.0.0.0/8,192.168.1.7"
        ) from error


class Gate:
    """The nginx in front of the server.

    Parameters
    ----------
    folder
        A folder for the configuration and temporary files of nginx.
    listen
        The address that callers reach, HOST:PORT.
    torchserve
        The address of TorchServe's inference API, HOST:PORT.
    unlimited
        The networks whose requests are not limited.
    """

    def __init__(
        self, folder: Path, listen: str, torchserve: str, unlimited: Iterable[str] = ()
    ) -> None:
        host, _, port = listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server(
            (host.strip("[]"), int(port)), family=family, backlog=1024
        )
        config = (FILES / "gate.conf").read_text()
        config = config.replace("@listen@", listen).replace("@torchserve@", torchserve)
        config = config.replace("@shared@", str(SHARED))
        config = config.replace("@unlimited@", "\n".join(f"{name} 0;" for name in unlimited))
        path = folder / "gate.conf"
        path.write_text(config)
        self._nginx = subprocess.Popen(
            ["nginx", "-p", f"{folder}/", "-c", str(path), "-e", "stderr"],
            # This is how nginx passes its listening socket on when it is upgraded.
            env=os.environ | {"NGINX": f"{self._listener.fileno()};"},
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
        )

    @property
    def open(self) -> bool:
        """Whether nginx runs."""
        return self._nginx.poll() is None

    def close(self, seconds: float) -> bool:
        """Accept nothing more and answer what was accepted; return whether that was in time.

        Parameters
        ----------
        seconds
            The time for the answers; after that nginx is killed.
        """
        ignore_new_connections(self._listener)
        self._listener.close()
        time.sleep(CONNECT_SECONDS)
        self._nginx.send_signal(signal.SIGQUIT)
        try:
            self._nginx.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):  # nginx's workers outlive a master that is killed
                os.killpg(self._nginx.pid, signal.SIGKILL)
            self._nginx.wait()


class StopRequested(Exception):
    """SIGTERM or SIGINT came."""


def main() -> int:
    """Serve until a signal asks to stop; return status 0, or 1 after one line on what failed."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    store = Store(MODEL_STORE)
    try:
        with tempfile.TemporaryDirectory(prefix="captioner-run-") as folder:
            run(Path(folder), store, Addresses.from_environment())
    except StopRequested:
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"captioner: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path, store: Store, addresses: Addresses) -> None:
    """Serve the versions that a store's record lists, until `StopRequested`.

    Parameters
    ----------
    folder
        A folder for the files of the server and the gate.

    Raises
    ------
    ValueError
        There is nothing to serve.
    RuntimeError
        The server or the gate ended by itself.
    """
    _check_store(store)
    unlimited = unlimited_networks()
    server, inner = Server(folder), Ports.find_free()
    torchserve = f"127.0.0.1:{inner.inference}"
    environment = {
        "TS_MANAGEMENT_ADDRESS": f"http://{addresses.management}",
        "TS_METRICS_ADDRESS": f"http://{addresses.metrics}",
        "LOG4J_CONFIGURATION_FILE": str(FILES / "log4j2.xml"),
    }
    try:
        java = server.check_can_start(inner)
        with server.lock(store) as lock:
            server.start(java, store, inner, lock, overrides=environment, log_to_file=False)
        url = f"http://{torchserve}/predictions/{MODEL}"
        server.wait_for_caption(url, tiny_photo(), START_SECONDS)
        gate = Gate(folder, addresses.inference, torchserve, unlimited)
        log.info("ready, on %s", addresses.inference)
        try:
            while gate.open and server.process():
                time.sleep(POLL_SECONDS)
            ended = "TorchServe" if gate.open else "nginx, the gate,"
            raise RuntimeError(f"{ended} has ended by itself; its output above says why")
        finally:
            log.info("finishing the requests that were accepted")
            if not gate.close(DRAIN_SECONDS):
                log.warning("some callers were not answered within %.0f s", DRAIN_SECONDS)
            server.record_served_versions()
    finally:
        server.stop(STOP_SECONDS)
        log.info("stopped")


def _check_store(store: Store) -> None:
    """Raise `ValueError` if a store has nothing to serve."""
    if store.read_record() is None:
        others = ", ".join(sorted(each.name for each in store.folder.glob(f"{MODEL}-*.mar")))
        way_out = f"name one of {others} so" if others else "mount one that has"
        raise ValueError(f"{store.folder} has no {UNVERSIONED_ARCHIVE}: {way_out}")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a second signal shall not interrupt the stopping
    raise StopRequested


if __name__ == "__main__":
    sys.exit(main())
