"""Two machines in one, as far as a network is concerned: namespaces of Linux, joined by a cable."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from subprocess import PIPE, Popen

# The user who makes the namespace is root in it and nowhere else, so no one needs to be root.
NEW = ("unshare", "--map-root-user", "--net")
ADDRESSES = ("10.0.0.1", "10.0.0.2")


@dataclass(frozen=True)
class Machine:
    """A machine, and what stands before a command that runs on it."""

    address: str
    enter: tuple[str, ...] = ()


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Yield two machines that reach each other and nothing else.

    Each is a network namespace with an address of its own. Where the system allows none, as in most
    containers, both are this machine, on its loopback interface.
    """
    if not _can_make_namespaces():
        yield Machine("127.0.0.1"), Machine("127.0.0.1")
        return
    with ExitStack() as stack:
        one = _namespace(stack, *NEW)
        two = _namespace(stack, *_enter(one), "unshare", "--net")
        cable = ("ip", "link", "add", "cable", "type", "veth", "peer", "cable", "netns", str(two))
        subprocess.run([*_enter(one), *cable], check=True)
        for holder, own, other in zip((one, two), ADDRESSES, ADDRESSES[::-1], strict=True):
            for command in (
                "link set lo up",
                f"address add {own}/24 dev cable",
                "link set cable up",
                f"route add default via {other}",  # by which Ray finds its own address out
            ):
                subprocess.run([*_enter(holder), "ip", *command.split()], check=True)
        yield Machine(ADDRESSES[0], _enter(one)), Machine(ADDRESSES[1], _enter(two))


def _can_make_namespaces() -> bool:
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    return subprocess.run([*NEW, "true"], capture_output=True).returncode == 0


def _namespace(stack: ExitStack, *command: str) -> int:
    """Make a network namespace by a command; return the process that holds it until the end."""
    holder = stack.enter_context(Popen([*command, "cat"], stdin=PIPE, stdout=PIPE, text=True))
    assert holder.stdin
    assert holder.stdout
    print(file=holder.stdin, flush=True)
    assert holder.stdout.readline() == "\n"  # it is in its namespace
    return holder.pid


def _enter(holder: int) -> tuple[str, ...]:
    return ("nsenter", "--preserve-credentials", "--user", "--net", "--target", str(holder))
