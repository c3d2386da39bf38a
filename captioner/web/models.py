"""The versions that a server has, each with its workers, and the one that is the default."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from captioner.operations.store import MODEL
from captioner.web.errors import model_not_found, version_not_found
from captioner.web.metrics import ServerMetrics
from captioner.web.pool import Pool
from captioner.web.settings import Computing, Limits
from captioner.web.versions import ServedVersion


class Models:
    """The versions of the captioner that a server has.

    Parameters
    ----------
    served
        The versions; the first is the default.
    """

    def __init__(
        self,
        served: Sequence[ServedVersion],
        computing: Computing | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits.read()
        self.metrics = ServerMetrics()
        computing = computing or Computing()
        self._pools = {
            each.version: Pool(each, computing, self.limits.waiting, self.metrics)
            for each in served
        }
        self.default = served[0].version
        self._started = False

    @property
    def versions(self) -> list[str]:
        return list(self._pools)

    def pool(self, version: str | None = None, model: str = MODEL) -> Pool:
        """Return the workers of a version, or of the default one.

        Raises
        ------
        ServerError
            There is no such model or version.
        """
        if model != MODEL:
            raise model_not_found(model)
        try:
            return self._pools[version or self.default]
        except KeyError:
            raise version_not_found(version or "") from None

    async def start(self) -> None:
        """Start the workers of all versions; return once each version has one that is loaded.

        A second call does nothing.

        Raises
        ------
        RuntimeError
            A version cannot be served; none is then.
        """
        if self._started:
            return
        self._started = True
        try:
            await asyncio.gather(*(pool.start() for pool in self._pools.values()))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all workers."""
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()))
