"""Run the page in front of a captioner that is served elsewhere, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import socket

from captioner.addresses import Address, read_address
from captioner.web.page.proxy import create_proxy
from captioner.web.run import address_of, allow_connections, listen, start_listening
from captioner.web.server import Server
from captioner.web.settings import Limits

log = logging.getLogger("captioner")


def run_page(server: str, host: str, port: int) -> None:
    """Serve the page until SIGINT or SIGTERM; then answer what has come and return.

    Parameters
    ----------
    server
        The address of a served captioner; may hold a user and a password.
    host, port
        Where to listen; port 0 is one that is free.

    Raises
    ------
    ValueError
        An address or the port cannot be used.
    """
    address = read_address(server)
    with listen(host, port) as listener:
        allow_connections()
        start_listening(listener, host, port)
        asyncio.run(_serve(address, listener))


async def _serve(address: Address, listener: socket.socket) -> None:
    limits = Limits.read()
    print(f"Open {address_of(listener)}/ in a browser.", flush=True)
    print(f"Photos that are dropped there are captioned by {address.url}", flush=True)
    await Server(create_proxy(address, limits), limits).serve([listener])
    log.info("stopped")
