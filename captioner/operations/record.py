"""The record of a model store: which versions a server starts with, and which is the default."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True)
class RecordedVersion:
    """One version in the record.

    Attributes
    ----------
    archive
        The name of its archive in the model store.
    sha256
        The digest of that archive, in hexadecimal digits.
    workers
        The number of workers that the operator wants; None leaves it to the archive, or else one.
    """

    archive: str
    sha256: str
    workers: int | None = None


@dataclass(frozen=True)
class StoreRecord:
    """The versions that a server starts with.

    Attributes
    ----------
    default
        The version that answers requests which name none.
    previous
        The version that a rollback makes the default; None if there is none.
    versions
        All versions, in the order in which they were deployed.
    deployed
        Whether the versions were deployed and are served as they are. Otherwise the default is
        packaged anew from its checkpoint at every start.
    checkpoint
        The checkpoint folder that it is then packaged from; None is the shipped one.
    """

    default: str
    previous: str | None = None
    versions: dict[str, RecordedVersion] = field(default_factory=dict)
    deployed: bool = False
    checkpoint: str | None = None

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a record; the errors of a damaged one are those of `json` and of missing keys."""
        values = json.loads(content)
        return cls(
            default=values["default"],
            previous=values["previous"],
            versions={name: RecordedVersion(**each) for name, each in values["versions"].items()},
            deployed=values["deployed"],
            checkpoint=values.get("checkpoint"),  # which records of earlier releases lack
        )

    def to_json(self) -> bytes:
        """Return the record as JSON with a newline at the end."""
        values = vars(self) | {"versions": {name: vars(v) for name, v in self.versions.items()}}
        return (json.dumps(values, indent=1) + "\n").encode()

    def with_default(self, version: str) -> Self:
        """Return the record after a deploy or rollback has made a version the default."""
        return replace(self, default=version, previous=self.default, deployed=True, checkpoint=None)

    def with_version(self, version: str, recorded: RecordedVersion) -> Self:
        """Return the record with one more version."""
        return replace(self, versions=self.versions | {version: recorded})

    def with_workers(self, version: str, workers: int) -> Self:
        """Return the record with another number of workers for one of its versions."""
        return self.with_version(version, replace(self.versions[version], workers=workers))

    def without(self, version: str) -> Self:
        """Return the record without a version."""
        versions = {name: each for name, each in self.versions.items() if name != version}
        previous = None if self.previous == version else self.previous
        return replace(self, versions=versions, previous=previous)
