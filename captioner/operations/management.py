"""TorchServe's management API, as far as swapping versions needs it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import httpx2

from captioner.client import connect, failure_of, read_address

SECONDS = 30.0  # for what answers at once
LOAD_SECONDS = 300.0  # for workers to start


class ManagementError(RuntimeError):
    """TorchServe refused, or did not answer."""


class RequestRefused(ManagementError):
    """TorchServe answered, with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServedVersion(NamedTuple):
    """A version that a server has."""

    version: str
    archive: str
    workers: list[str]  # their states
    pending: int  # requests in its queue
    pids: frozenset[int] = frozenset()  # of the workers that are ready
    min_workers: int = 1  # workers that it is to have
    batch_size: int = 1
    response_timeout: int = 60  # seconds; a worker that takes longer for a batch is replaced

    @property
    def ready(self) -> int:
        return self.workers.count("READY")


class Management:
    """One model of one server.

    Every method raises `ManagementError` if the server refuses or does not answer.
    """

    def __init__(
        self, url: str, model: str, token: str | None = None, seconds: float = SECONDS
    ) -> None:
        address = read_address(url)
        self.url, self.model, self._seconds = address.url, model, seconds
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = connect(httpx2.Client, auth=address.auth, headers=headers)

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

    def versions(self) -> list[ServedVersion]:
        """All of them; none if the server does not have the model."""
        try:
            told = self._ask("GET", f"{self._path()}/all")
        except RequestRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return []
            raise
        try:
            return [_served(each) for each in told]
        except (LookupError, TypeError, ValueError) as error:
            raise self._no_model() from error

    def version(self, version: str) -> ServedVersion | None:
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

    def scale(self, version: str, workers: int) -> None:
        """Give a version so many workers; those that are too many are killed at once."""
        query = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        self._ask("PUT", self._path(version), query, LOAD_SECONDS)

    def ask_worker(self, version: str, seconds: float) -> int | None:
        """Have a worker describe its model; the worker's process id, if it says so.

        The question waits in the version's queue like a photo. An archive of an earlier captioner
        does not say who answers.
        """
        told = self._ask("GET", self._path(version), {"customized": "true"}, seconds)
        try:
            worker = told[0]["customizedMetadata"]["worker"]
        except (LookupError, TypeError):
            return None
        return worker if isinstance(worker, int) else None

    def set_default(self, version: str) -> None:
        self._ask("PUT", f"{self._path(version)}/set-default")

    def unregister(self, version: str) -> None:
        """Remove a version, whose workers are killed at once; see `drain_and_unregister`."""
        self._ask("DELETE", self._path(version))

    def _no_model(self) -> ManagementError:
        # The answer itself is not shown: another server may repeat what it was sent, keys as well.
        return ManagementError(f"{self.url} describes no model; is it TorchServe's management?")

    def _path(self, version: str | None = None) -> str:
        model = f"/models/{quote(self.model, safe='')}"
        return f"{model}/{quote(version, safe='')}" if version else model

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Any:
        timeout = self._seconds if seconds is None else seconds
        try:
            response = self._http.request(method, self.url + path, params=query, timeout=timeout)
        except httpx2.RequestError as error:
            raise ManagementError(f"management, {self.url}: {failure_of(error)}") from error
        if not response.is_success:
            message = f"management, {method} {path}: {failure_of(response)}"
            raise RequestRefused(message, response.status_code)
        try:
            return response.json()
        except ValueError as error:
            raise ManagementError(f"{self.url}{path} answers no JSON") from error


def _served(told: dict[str, Any]) -> ServedVersion:
    workers = told["workers"]
    return ServedVersion(
        str(told["modelVersion"]),
        str(told["modelUrl"]),
        [str(worker["status"]) for worker in workers],
        int(told.get("jobQueueStatus", {}).get("pendingRequests", 0)),
        frozenset(int(worker["pid"]) for worker in workers if worker["status"] == "READY"),
        int(told["minWorkers"]),
        max(1, int(told["batchSize"])),
        int(told["responseTimeout"]),
    )
