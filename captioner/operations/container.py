"""What the container runs: TorchServe behind a gate, which closes before the server stops.

TorchServe that is told to stop drops what it is answering. So callers reach it through nginx, which
opens once a photo was captioned, and which on SIGTERM accepts nothing more, finishes what it has
and ends; only then is TorchServe stopped. Who comes too late is refused, never connected and reset.
"""

from __future__ import annotations

import ctypes
import ipaddress
import logging
import os
import signal
import socket
import struct
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

from captioner.client import redacted
from captioner.operations.health import tiny_photo
from captioner.operations.store import FIRST, MODEL, Store
from captioner.operations.torchserve import START_SECONDS, Ports, Server
from captioner.paths import MODEL_STORE, ROOT

log = logging.getLogger("captioner")

FILES = ROOT / "deploy" / "container"
SHARED = ROOT / "deploy" / "nginx" / "captioner"  # limits and errors, as of an nginx outside
DRAIN_SECONDS = 22.0  # for what was accepted to be answered
STOP_SECONDS = 5.0  # for TorchServe to end after that; both within docker's 30
POLL_SECONDS = 0.2
CONNECT_SECONDS = 0.3  # for connections half made to be made, and taken by nginx

# Classic BPF, struct sock_filter (linux/filter.h): code, jump if true, jump if false, operand.
# Of a segment's TCP flags (byte 13 of its header) drop SYN without ACK, keep everything else.
NO_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # ldb [13]
        (0x54, 0, 0, 0x12),  # and #SYN|ACK
        (0x15, 0, 1, 0x02),  # jeq #SYN, next, else skip one
        (0x06, 0, 0, 0),  # ret #0: drop
        (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: keep
    )
)
SO_ATTACH_FILTER = 26  # asm-generic/socket.h


@dataclass(frozen=True)
class Addresses:
    """Where the container listens, each HOST:PORT.

    Management can load code: beyond loopback only where nobody else reaches that address.
    """

    inference: str = "0.0.0.0:8080"
    management: str = "127.0.0.1:8081"
    metrics: str = "127.0.0.1:8082"

    @classmethod
    def given(cls) -> Self:
        """From CAPTIONER_INFERENCE, CAPTIONER_MANAGEMENT and CAPTIONER_METRICS.

        Raises
        ------
        ValueError
            One of them is no address.
        """
        names = {name: f"CAPTIONER_{name.upper()}" for name in cls.__dataclass_fields__}
        told = {name: os.environ[key] for name, key in names.items() if os.environ.get(key)}
        for name, address in told.items():
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise ValueError(
                    f"{names[name]} is {redacted(address)!r}; it must be like 127.0.0.1:8081"
                )
        return cls(**told)


def unlimited_networks() -> list[str]:
    """Return the networks of CAPTIONER_UNLIMITED, whose requests the gate does not count.

    Raises
    ------
    ValueError
        One of them is no network.
    """
    named = os.environ.get("CAPTIONER_UNLIMITED", "").split(",")
    try:
        networks = [ipaddress.ip_network(name.strip()) for name in named if name.strip()]
        if any("%" in str(network) for network in networks):  # a zone may have any characters
            raise ValueError("a network has no zone")
        return [str(network) for network in networks]
    except ValueError as error:
        raise ValueError(
            f"CAPTIONER_UNLIMITED: {error}; it must be like 10.0.0.0/8,192.168.1.7"
        ) from error


class Gate:
    """nginx in front of the server."""

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
            env=os.environ | {"NGINX": f"{self._listener.fileno()};"},  # as its own upgrade does
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
        )

    @property
    def open(self) -> bool:
        return self._nginx.poll() is None

    def close(self, seconds: float) -> bool:
        """Accept nothing more and answer what was accepted; whether that was done in time."""
        # A socket that is closed resets what has connected and was not taken yet. So the kernel
        # first ignores who begins to connect; they try again, and find nobody listening.
        program = ctypes.create_string_buffer(NO_SYN)
        filter_ = struct.pack("HP", len(NO_SYN) // 8, ctypes.addressof(program))
        with suppress(OSError):  # a kernel that has none; the rest is as good without
            self._listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)
        self._listener.close()
        time.sleep(CONNECT_SECONDS)
        self._nginx.send_signal(signal.SIGQUIT)
        try:
            self._nginx.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):  # its workers outlive it if it was killed
                os.killpg(self._nginx.pid, signal.SIGKILL)
            self._nginx.wait()


class Stopped(Exception):
    """SIGTERM or SIGINT came."""


def main() -> int:
    """Serve until told to stop: status 0; 1, with one line, if that cannot be done."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    store = Store(MODEL_STORE)
    try:
        with tempfile.TemporaryDirectory(prefix="captioner-run-") as folder:
            run(Path(folder), store, Addresses.given())
    except Stopped:
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"captioner: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path, store: Store, addresses: Addresses) -> None:
    """Serve what the store's record says, until `Stopped`.

    Raises
    ------
    ValueError
        There is nothing to serve.
    RuntimeError
        The server or the gate ended by itself.
    """
    if store.read() is None:
        others = ", ".join(sorted(each.name for each in store.folder.glob(f"{MODEL}-*.mar")))
        way_out = f"name one of {others} so" if others else "mount one that has"
        raise ValueError(f"{store.folder} has no {FIRST}: {way_out}")
    unlimited = unlimited_networks()
    server, inner = Server(folder), Ports.free()
    torchserve = f"127.0.0.1:{inner.inference}"
    environment = {
        "TS_MANAGEMENT_ADDRESS": f"http://{addresses.management}",
        "TS_METRICS_ADDRESS": f"http://{addresses.metrics}",
        "LOG4J_CONFIGURATION_FILE": str(FILES / "log4j2.xml"),
    }
    try:
        java = server.check_startable(inner)
        with server.reserve(store) as reservation:
            server.start(java, store, inner, reservation, environment, to_log=False)
        url = f"http://{torchserve}/predictions/captioner"
        server.wait_until_it_answers(url, tiny_photo(), START_SECONDS)
        gate = Gate(folder, addresses.inference, torchserve, unlimited)
        log.info("ready, on %s", addresses.inference)
        try:
            while gate.open and server.process():
                time.sleep(POLL_SECONDS)
            who = "TorchServe" if gate.open else "nginx, the gate,"
            raise RuntimeError(f"{who} has ended by itself")
        finally:
            log.info("finishing what was accepted")
            if not gate.close(DRAIN_SECONDS):
                log.warning("some callers were not answered within %.0f s", DRAIN_SECONDS)
            server.record()
    finally:
        server.stop(STOP_SECONDS)
        log.info("stopped")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a second one does not break off what this asks for
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
