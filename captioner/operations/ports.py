"""The ports of a TorchServe on loopback."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

COUNT = 5
SEARCHED = range(20_000, 30_000)  # where free ports are looked for


@dataclass(frozen=True)
class Ports:
    """Five ports in a row: inference, management, metrics, and those of gRPC for the first two."""

    inference: int = 8080

    @property
    def management(self) -> int:
        """The port of the management API."""
        return self.inference + 1

    @property
    def metrics(self) -> int:
        """The port of the metrics."""
        return self.inference + 2

    @classmethod
    def find_free(cls) -> Self:
        """Return ports that nothing listens on; raises `ValueError` if none are found."""
        for first in random.sample(SEARCHED, 100):
            ports = cls(first)
            with suppress(ValueError):
                ports.check_free()
                return ports
        raise ValueError(
            f"no five free ports in a row were found in {SEARCHED.start}..{SEARCHED.stop}; stop"
            " servers that are not needed"
        )

    def check_free(self) -> None:
        """Raise `ValueError` naming a port that something else listens on."""
        for port in range(self.inference, self.inference + COUNT):
            # Only a socket can tell whether a server could listen there.
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
        """Return the variables that tell TorchServe to listen there, on loopback."""
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
