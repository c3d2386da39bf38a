"""The table of versions that a server has, with what the record does not know yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from captioner.operations.management import ServedVersion
from captioner.operations.record import StoreRecord
from captioner.operations.store import Store, UnfinishedDeploy
from captioner.operations.target import ServerTarget

HEADINGS = ("version", "role", "workers", "pending", "archive", "sha256")
WHEN_RECORDED = "the next deploy, rollback or stop of the server records what is served"


def versions_table(target: ServerTarget) -> str:
    """Return a table of the served versions, and lines on what differs from the record.

    Raises
    ------
    ValueError
        The record is damaged.
    ManagementError
        The server does not answer, or refuses.
    """
    store = Store(target.model_store)
    record, unfinished = store.read_record(), store.unfinished_deploy()
    deploying = store.deploy_in_progress()
    with target.open_management() as management:
        served, default = management.versions(), management.default_version().version
    found = _Findings(served, default, record, unfinished, deploying)
    return "\n".join([*_aligned([HEADINGS, *found.rows()]), *found.remarks()])


@dataclass(frozen=True)
class _Findings:
    """The versions of a server, and the record of its store."""

    served: list[ServedVersion]
    default: str
    record: StoreRecord | None
    unfinished: UnfinishedDeploy | None
    deploying: bool

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of each version."""
        for each in self.served:
            known = self.record.versions.get(each.version) if self.record else None
            yield (
                each.version,
                self._role(each.version),
                f"{each.ready} of {len(each.workers)} ready",
                str(each.pending),
                each.archive,
                known.sha256[:12] if known else "",
            )

    def _role(self, version: str) -> str:
        if version == self.default:
            role = "default"
        elif self.record and version == self.record.previous:
            role = "rollback"
        elif self.unfinished and version == self.unfinished.version:
            return "deploying" if self.deploying else "unfinished"
        else:
            role = ""
        if self.record and version in self.record.versions:
            return role
        return f"{role} not recorded".strip()

    def remarks(self) -> Iterator[str]:
        """Yield lines on what a killed deploy left and on what the record does not know."""
        if self.deploying:
            return
        if self.unfinished:
            version = self.unfinished.version
            yield (
                f"version {version} was left by a deploy that was killed; a restart does not load"
                f" it, captioner undeploy {version} removes it now"
            )
        if differences := list(self._differences()):
            yield f"not recorded yet: {', '.join(differences)}; {WHEN_RECORDED}"

    def _differences(self) -> Iterator[str]:
        known = self.record.versions if self.record else {}
        left = self.unfinished.version if self.unfinished else None
        served = {each.version: each for each in self.served if each.version != left}
        for version in served:
            if version not in known:
                yield f"version {version}"
        for version, each in served.items():
            if version in known and known[version].workers not in (None, each.min_workers):
                yield f"{each.min_workers} workers of version {version}"
        for version in sorted(known.keys() - served.keys()):
            yield f"that version {version} is not served any more"
        if self.record and self.record.default != self.default:
            yield f"that version {self.default} is the default, not {self.record.default}"


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines with their cells in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
