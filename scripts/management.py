"""TorchServe's management API, as far as swapping versions needs it."""

from __future__ import annotations

from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx2

from handler.client import connect, failure_of, read_address

SECONDS = 30.0  # for what answers at once
LOAD_SECONDS = 300.0  # for workers to start


class ManagementError(RuntimeError):
    """TorchServe refused, or did not answer."""


class Served(NamedTuple):
    """A version that a server has."""

    version: str
    archive: str
    workers: list[str]  # their states
    pending: int  # requests in its queue

    @property
    def ready(self) -> int:
        return self.workers.count("READY")


class Management:
    """One model of one server.

    Every method raises `ManagementError` if the server refuses or does not answer.
    """

    def __init__(self, url: str, model: str, token: str | None = None) -> None:
        address = read_address(url)
        self.url, self.model = address.url, model
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = connect(httpx2.Client, timeout=SECONDS, auth=address.auth, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def default(self) -> str:
        """The version that answers where none is named."""
        told = self._ask("GET", self._path())
        try:
            return str(told[0]["modelVersion"])
        except (LookupError, TypeError) as error:
            raise self._no_model() from error

    def versions(self) -> list[Served]:
        """All of them."""
        told = self._ask("GET", f"{self._path()}/all")
        try:
            return [
                Served(
                    str(each["modelVersion"]),
                    str(each["modelUrl"]),
                    [str(worker["status"]) for worker in each["workers"]],
                    int(each.get("jobQueueStatus", {}).get("pendingRequests", 0)),
                )
                for each in told
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise self._no_model() from error

    def version(self, version: str) -> Served | None:
        """One of them, if the server has it."""
        return next((each for each in self.versions() if each.version == version), None)

    def register(self, archive: str, workers: int) -> None:
        """Load an archive of the model store; returns once its workers are ready.

        If one of them fails the server takes the version back.
        """
        query = {
            "url": archive,
            "model_name": self.model,
            "initial_workers": workers,
            "synchronous": "true",
        }
        self._ask("POST", "/models", query, LOAD_SECONDS)

    def set_default(self, version: str) -> None:
        self._ask("PUT", f"{self._path()}/{quote(version, safe='')}/set-default")

    def unregister(self, version: str) -> None:
        """Kill its workers at once; its archive leaves the model store."""
        self._ask("DELETE", f"{self._path()}/{quote(version, safe='')}")

    def _no_model(self) -> ManagementError:
        # The answer itself is not shown: another server may repeat what it was sent, keys as well.
        return ManagementError(f"{self.url} describes no model; is it TorchServe's management?")

    def _path(self) -> str:
        return f"/models/{quote(self.model, safe='')}"

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        seconds: float = SECONDS,
    ) -> Any:
        try:
            response = self._http.request(method, self.url + path, params=query, timeout=seconds)
        except httpx2.RequestError as error:
            raise ManagementError(f"management, {self.url}: {failure_of(error)}") from error
        if not response.is_success:
            raise ManagementError(f"management, {method} {path}: {failure_of(response)}")
        try:
            return response.json()
        except ValueError as error:
            raise ManagementError(f"{self.url}{path} answers no JSON") from error
