"""Run the web server until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from captioner.paths import SHIPPED, shown
from captioner.web.app import create_app
from captioner.web.keys import open_key_file
from captioner.web.models import Models
from captioner.web.server import Server
from captioner.web.settings import Computing, Limits
from captioner.web.versions import open_version

log = logging.getLogger("captioner")

BACKLOG = 2048  # connections that the system accepts before the server does


@dataclass(frozen=True)
class WebOptions:
    """The options of a server: the checkpoint, the address, the workers.

    Attributes
    ----------
    checkpoint
        A checkpoint folder or an archive.
    version
        The version that a folder is served as; None is 1.0. An archive has its own.
    host, port
        Where to listen; port 0 is one that is free.
    reuse_port
        Whether other servers of this user may listen at the same port, as for a rolling restart.
    key_file
        The file with the key that callers must send, which is made if it is missing; None answers
        everyone.
    """

    checkpoint: Path = SHIPPED
    version: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    reuse_port: bool = False
    computing: Computing = field(default_factory=Computing)
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if self.reuse_port and not self.port:
            raise ValueError("--reuse-port needs a --port that is not 0: others shall find it")


def run(options: WebOptions) -> None:
    """Serve until SIGINT or SIGTERM; then answer what has come and return.

    To be called in the main thread, which handles signals.

    Raises
    ------
    ValueError
        The checkpoint, the version, the key file or the port cannot be used.
    RuntimeError
        The captioner does not load.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is unpacked is removed
    with (
        open_version(options.checkpoint, options.version) as served,
        listen(options.host, options.port, options.reuse_port) as listener,
    ):
        key = open_key_file(options.key_file) if options.key_file else None
        allow_connections()
        limits = Limits.read()
        models = Models([served], options.computing, limits)
        asyncio.run(_serve(models, key, listener, options))


async def _serve(
    models: Models, key: str | None, listener: socket.socket, options: WebOptions
) -> None:
    log.info("loading %s, version %s", shown(options.checkpoint), models.default)
    server = Server(create_app(models, key), models.limits)
    if not await _load(models, server):
        log.info("stopped before it was loaded")
        return
    try:
        start_listening(listener, options.host, options.port)
        _print_how_to_ask(listener, options)
        await server.serve([listener])
    finally:
        await models.stop()
    log.info("stopped")


async def _load(models: Models, server: Server) -> bool:
    """Start the workers; return whether they were started before SIGTERM came.

    From here on SIGTERM stops the server, which handles it itself once it serves.
    """
    loading = asyncio.create_task(models.start())
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: FrameType | None) -> None:
        server.handle_exit(number, frame)
        loop.call_soon_threadsafe(loading.cancel)

    signal.signal(signal.SIGTERM, stop)
    try:
        await loading
    except asyncio.CancelledError:
        if server.should_exit:
            return False
        raise
    return True


def listen(host: str, port: int, reuse_port: bool = False) -> socket.socket:
    """Return a socket with that address, which does not listen yet.

    Parameters
    ----------
    reuse_port
        Whether other sockets that were made so may listen there at the same time. The system then
        shares out the connections among them.

    Raises
    ------
    ValueError
        The address is taken, or is none of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ValueError(f"--host {host}: {error.strerror}") from error
    # asyncio sends small packets at once, TCP_NODELAY, only on sockets that name their protocol;
    # without that the body of a reply waits 40 ms for the caller to acknowledge its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from error
    return listener


def start_listening(listener: socket.socket, host: str, port: int) -> None:
    """Let callers connect to a socket of `listen`; raises as that does."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:  # somebody has begun to listen meanwhile
        raise _unusable(host, port, error) from error


def _unusable(host: str, port: int, error: OSError) -> ValueError:
    return ValueError(
        f"port {port} of {host} cannot be used ({error.strerror}); stop what listens there or"
        " choose another with --port"
    )


def address_of(listener: socket.socket) -> str:
    """Return the address at which a socket listens."""
    host, port = listener.getsockname()[:2]
    where = f"[{host}]" if ":" in host else host
    return f"http://{where}:{port}"


def _print_how_to_ask(listener: socket.socket, options: WebOptions) -> None:
    url = address_of(listener)
    header = ' -H "Authorization: Bearer KEY"' if options.key_file else ""
    command = f"curl -T photo.jpg{header} {url}/predictions/captioner"
    print(f"Serving. Drop a photo on the page {url}/, or send one:\n\n    {command}\n", flush=True)
    if options.key_file:
        print(f"The key is in {options.key_file}, which only you can read.", flush=True)
    print(f"What else can be asked: {url}/docs", flush=True)


def allow_connections() -> None:
    """Let the process have as many open files as the system allows: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
