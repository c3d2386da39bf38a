"""Say what is served, and what is recorded where that is something else."""

from __future__ import annotations

from collections.abc import Iterator

from captioner.operations.deploy import Place
from captioner.operations.management import Served
from captioner.operations.store import Record, Store, Unfinished

RECORDED_NEXT = "the next deploy, rollback or stop of the server records what is served"


def versions(place: Place) -> str:
    """Return a table of what is served, and below it what differs from the record."""
    store = Store(place.store)
    record, unfinished, busy = store.read(), store.unfinished(), store.busy()
    with place.manage() as management:
        served = management.versions()
        default = management.default()
    lines = [("version", "role", "workers", "pending", "archive", "sha256")]
    for each in served:
        known = record.versions.get(each.version) if record else None
        lines.append(
            (
                each.version,
                _role(each.version, default, record, unfinished, busy),
                f"{each.ready} of {len(each.workers)} ready",
                str(each.pending),
                each.archive,
                known.sha256[:12] if known else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if unfinished and not busy:
        rows.append(
            f"version {unfinished.version} was left by a deploy that was killed; a restart does not"
            f" load it, captioner undeploy {unfinished.version} removes it now"
        )
        served = [each for each in served if each.version != unfinished.version]
    if not busy:
        rows += _differences(served, default, record)
    return "\n".join(rows)


def _role(
    version: str, default: str, record: Record | None, unfinished: Unfinished | None, busy: bool
) -> str:
    if version == default:
        role = "default"
    elif record and version == record.previous:
        role = "rollback"
    elif unfinished and version == unfinished.version:
        return "deploying" if busy else "unfinished"
    else:
        role = ""
    return role if record and version in record.versions else f"{role} not recorded".strip()


def _differences(served: list[Served], default: str, record: Record | None) -> Iterator[str]:
    """Lines on what the record does not know yet."""
    known = set(record.versions) if record else set()
    found = [f"version {each.version}" for each in served if each.version not in known]
    found += [
        f"{each.min_workers} workers of version {each.version}"
        for each in served
        if record
        and each.version in known
        and record.versions[each.version].workers not in (None, each.min_workers)
    ]
    gone = sorted(known - {each.version for each in served})
    found += [f"that version {version} is not served any more" for version in gone]
    if record and record.default != default:
        found.append(f"that version {default} is the default, not {record.default}")
    if found:
        yield f"not recorded yet: {', '.join(found)}; {RECORDED_NEXT}"
