"""Sockets that listen, and how one is closed without a connection that is lost.

Closing a listening socket resets the connections that were made and not yet accepted, and those
that are being made. So the kernel first ignores new ones, for as long as others need to be
completed and accepted. A caller whose connection was ignored tries again a second later: it then
reaches another process that listens at the same address, or is refused.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from contextlib import suppress

CONNECT_SECONDS = 0.3  # for connections in the making to be completed and accepted

# Classic BPF, struct sock_filter (linux/filter.h): code, jump if true, jump if false, operand. It
# drops TCP segments with SYN and without ACK (flags: byte 13 of the header), and keeps all others.
DROP_NEW_CONNECTIONS = b"".join(
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


def ignore_new_connections(listener: socket.socket) -> None:
    """Have the kernel ignore connections that are begun from now on.

    Those that were begun before can be accepted within `CONNECT_SECONDS`.
    """
    program = ctypes.create_string_buffer(DROP_NEW_CONNECTIONS)
    instructions = len(DROP_NEW_CONNECTIONS) // 8
    filter_ = struct.pack("HP", instructions, ctypes.addressof(program))
    with suppress(OSError):  # a kernel without such filters may reset a connection
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)
