"""Archives that cannot be unpacked, and what is known of a checkpoint's files."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from captioner.operations.archive import CHECKPOINT
from captioner.operations.package import package
from captioner.web.versions import ServedVersion, open_version


def test_without_room_for_an_archive_the_folder_is_named(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, missing = tmp_path / "captioner.mar", tmp_path / "missing"
    package(tiny_checkpoint, "1.0", archive)
    monkeypatch.setattr(tempfile, "tempdir", str(missing))
    with (
        pytest.raises(ValueError, match=rf"unpacked into {missing} \(No such.*TMPDIR"),
        open_version(archive),
    ):
        pass


def test_the_size_and_time_are_the_checkpoints(tmp_path: Path) -> None:
    for i, name in enumerate(CHECKPOINT, 1):
        (tmp_path / name).write_bytes(bytes(i))
        os.utime(tmp_path / name, (i, i))
    (tmp_path / "report.png").write_bytes(bytes(100))
    served = ServedVersion("1.0", tmp_path)
    assert served.size == sum(range(1, len(CHECKPOINT) + 1))
    assert served.modified == datetime.fromtimestamp(len(CHECKPOINT), UTC)
