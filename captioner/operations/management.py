"""TorchServe's management API, as far as captioner's operations need it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from captioner.operations.http import Connection, RequestFailed

ANSWER_SECONDS = 30.0  # for an answer that needs no loading
LOAD_SECONDS = 300.0  # for workers to start


class ManagementError(RuntimeError):
    """TorchServe refused, or did not answer."""


class RequestRefused(ManagementError):
    """TorchServe answered with an error.

    Attributes
    ----------
    status
        The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServedVersion(NamedTuple):
    """A version that a server has loaded."""

    version: str
    archive: str  # file name
    workers: list[str]  # their states
    pending: int  # requests in its queue
    pids: frozenset[int] = frozenset()  # of the workers that are ready
    min_workers: int = 1  # the number of workers that it is to have
    batch_size: int = 1
    response_timeout: int = 60  # seconds; a worker that takes longer for a batch is replaced

    @property
    def ready(self) -> int:
        """The number of workers that are ready."""
        return self.workers.count("READY")


class Management:
    """The management of one model of one server.

    Every method raises `ManagementError` if the server refuses or does not answer.

    Parameters
    ----------
    url
        The address of the management API.
    model
        The name that the model is registered with.
    key
        The server's management key; None if it asks for none.
    seconds
        The time for an answer that needs no loading.
    """

    def __init__(
        self, url: str, model: str, key: str | None = None, seconds: float = ANSWER_SECONDS
    ) -> None:
        self._connection = Connection(url, key)
        self.url, self.model, self._seconds = self._connection.url, model, seconds

    def __enter__(self) -> Self:
        self._connection.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.__exit__(*exception)

    def default_version(self) -> ServedVersion:
        """Return the version that answers requests which name none."""
        versions = self._described(self._path())
        if not versions:
            raise self._no_model(self._path())
        return versions[0]

    def versions(self) -> list[ServedVersion]:
        """Return all versions; none if the server does not have the model."""
        try:
            return self._described(f"{self._path()}/all")
        except RequestRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return []
            raise

    def version(self, version: str) -> ServedVersion | None:
        """Return one version, if the server has it."""
        return next((each for each in self.versions() if each.version == version), None)

    def register(self, archive: str, workers: int) -> None:
        """Load an archive of the model store; return once its workers are ready.

        If a worker fails, the server removes the version again.
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
        """Ask a worker of a version for its process id; None if it does not say.

        The question waits in the version's queue like a photo. Workers of an archive that an
        earlier release packaged do not say their id.
        """
        answer = self._ask("GET", self._path(version), {"customized": "true"}, seconds)
        try:
            worker = answer[0]["customizedMetadata"]["worker"]
        except (LookupError, TypeError):
            return None
        return worker if isinstance(worker, int) else None

    def set_default(self, version: str) -> None:
        """Make a version the default; TorchServe does not check that it has workers."""
        self._ask("PUT", f"{self._path(version)}/set-default")

    def unregister(self, version: str) -> None:
        """Remove a version, whose workers are killed at once; see `drain_and_unregister`."""
        self._ask("DELETE", self._path(version))

    def _described(self, path: str) -> list[ServedVersion]:
        descriptions = self._ask("GET", path)
        try:
            return [_served_version(each) for each in descriptions]
        except (LookupError, TypeError, ValueError) as error:
            raise self._no_model(path) from error

    def _no_model(self, path: str) -> ManagementError:
        # The answer is not shown: another server may repeat what it was sent, keys as well.
        return ManagementError(
            f"{self.url}{path} describes no model; is it TorchServe's management?"
        )

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
        """Return the JSON of an answer."""
        seconds = self._seconds if seconds is None else seconds
        try:
            answer = self._connection.request(method, path, seconds=seconds, query=query)
        except RequestFailed as error:
            if error.status is None:
                raise ManagementError(f"management: {error}") from error
            raise RequestRefused(f"management, {method} {path}: {error}", error.status) from error
        try:
            return answer.json()
        except ValueError as error:
            raise ManagementError(
                f"{self.url}{path} answers no JSON; is it TorchServe's management?"
            ) from error


def _served_version(description: dict[str, Any]) -> ServedVersion:
    """Read TorchServe's description of a version."""
    workers = description["workers"]
    return ServedVersion(
        version=str(description["modelVersion"]),
        archive=str(description["modelUrl"]),
        workers=[str(worker["status"]) for worker in workers],
        pending=int(description.get("jobQueueStatus", {}).get("pendingRequests", 0)),
        pids=frozenset(int(worker["pid"]) for worker in workers if worker["status"] == "READY"),
        min_workers=int(description["minWorkers"]),
        batch_size=max(1, int(description["batchSize"])),
        response_timeout=int(description["responseTimeout"]),
    )
