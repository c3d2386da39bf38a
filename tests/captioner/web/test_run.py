"""The socket that the web server listens at."""

from __future__ import annotations

import asyncio
import socket

from captioner.web.run import listen


def test_replies_are_sent_at_once() -> None:
    """A reply's body does not wait for the caller to acknowledge its head."""

    async def no_delay() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            found.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(connected, sock=listener):
                _, caller = await asyncio.open_connection(*listener.getsockname())
                option = await found
                caller.close()
                return option

    assert asyncio.run(no_delay())
