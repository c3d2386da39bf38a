"""Archives that cannot be unpacked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from captioner.operations.package import package
from captioner.web.versions import open_version


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
