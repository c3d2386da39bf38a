"""Photos and the parts of a table in Google's object store, which a small server imitates."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from captioner.cli.main import main
from tests.captioner.cli import fake_google_store
from tests.captioner.cli.test_caption_table import by_content


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the objects in a bucket, which holds 12 photos in two folders."""
    folder, credentials = tmp_path_factory.mktemp("bucket"), tmp_path_factory.mktemp("key") / "json"
    for i in range(12):
        photo = folder / "photos" / ("more" if i > 7 else "") / f"{i:03}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(b"bad" if i == 3 else f"photo {i}".encode())
    command = [sys.executable, fake_google_store.__file__, str(folder)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert server.stdout
        url = server.stdout.readline().strip()
        key = dict.fromkeys(("client_id", "client_secret", "refresh_token"), "any")
        key |= {"type": "authorized_user", "token_uri": f"{url}/token"}
        credentials.write_text(json.dumps(key))
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
        patch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", url)
        yield folder
        server.kill()


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_parts_are_written_into_a_store(
    bucket: Path, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer, out = by_content, "gs://library/captions"
    command = ["caption", "gs://library/photos", "--server", scripted.url, "--out", out]
    command += ["--part-size", "5"]
    assert main([*command, "--part", "1/2"]) == 0
    before = files(bucket / "captions")
    assert sorted(before) == ["part-00001.parquet", "run.json"]
    assert main(command) == 1
    assert "1 of 7 photos could not be captioned" in capsys.readouterr().err
    after = files(bucket / "captions")
    assert before.items() < after.items()
    rows = [
        row
        for name in sorted(after.keys() - {"run.json"})
        for row in pyarrow.parquet.read_table(bucket / "captions" / name).to_pylist()
    ]
    names = [f"{'more/' if i > 7 else ''}{i:03}.jpg" for i in range(12)]
    assert [row["photo"] for row in rows] == [f"gs://library/photos/{name}" for name in names]
    assert [row["caption"] for row in rows] == [None if i == 3 else f"photo {i}" for i in range(12)]
    assert main([*command, "--beam-size", "3"]) == 1
    assert f"{out} was begun with other settings: --beam-size" in capsys.readouterr().err


def test_a_table_in_a_store_is_a_source(
    bucket: Path, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parquet is read from its end, by ranges of bytes."""
    scripted.answer = by_content
    names = ["photos/001.jpg", "photos/more/009.jpg", "photos/gone.jpg"]
    pyarrow.parquet.write_table(pyarrow.table({"path": names}), bucket / "list.parquet")
    assert main(["caption", "gs://library/list.parquet", "--server", scripted.url]) == 1
    printed = capsys.readouterr()
    assert [line.partition(" (")[0] for line in printed.out.splitlines()] == [
        "photos/001.jpg: photo 1",
        "photos/more/009.jpg: photo 9",
    ]
    assert printed.err.startswith("captioner: photos/gone.jpg: ")
