"""The server that an operation works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from captioner.client import CaptionClient
from captioner.operations.keys import Keys
from captioner.operations.management import Management
from captioner.operations.store import MODEL
from captioner.paths import MODEL_STORE


@dataclass(frozen=True)
class ServerTarget:
    """A server, and the model store that it loads archives from.

    Attributes
    ----------
    url
        The address of predictions.
    management_url
        The address of the management API.
    model_store
        The server's model store, on this machine.
    keys
        The server's keys; None if it asks for none.
    """

    # Addresses may hold passwords, so the repr shows none.
    url: str = field(default="http://127.0.0.1:8080", repr=False)
    management_url: str = field(default="http://127.0.0.1:8081", repr=False)
    model_store: Path = MODEL_STORE
    keys: Keys | None = None

    def open_management(self) -> Management:
        """Return a client of the management API."""
        return Management(self.management_url, MODEL, self.keys.management if self.keys else None)

    def open_client(self, version: str) -> CaptionClient:
        """Return a client that asks one version, and each photo once: a retry would hide errors."""
        token = self.keys.inference if self.keys else None
        return CaptionClient(self.url, model=MODEL, version=version, retries=0, token=token)
