"""Key files: malformed ones are named in one line, and no key is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from captioner.cli.main import main
from captioner.operations.keys import Keys


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; a key file is the key_file.json that TorchServe writes"),
        ("", "lacks the keys of management and inference"),
        ("token", "lacks the keys"),
        ("[]", "lacks the keys"),
        ('{"management": {"key": "m"}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {"key": ""}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {"key": 7}}', "lacks the keys"),
        ('{"management": {"key": "m"}, "inference": {"key": "a\\nb"}}', "lacks the keys"),
    ],
)
@pytest.mark.parametrize("job", ["health", "versions", "caption"])
def test_a_key_file_that_is_none(
    scripted,
    job: str,
    content: str | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "key_file.json"
    if content is not None:
        path.write_text(content)
    asks: dict[str, list[Any]] = {
        "health": ["health", "--url", scripted.url, "--management", scripted.url],
        "versions": ["versions", "--management", scripted.url, "--model-store", tmp_path],
        "caption": ["caption", tmp_path / "photo.jpg", "--server", scripted.url],
    }
    assert main([*map(str, asks[job]), "--key-file", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert message in line
    assert not scripted.asked


def test_a_key_file_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", "photo.jpg", "--key-file", str(tmp_path / "key_file.json")]) == 1
    assert "name that with --server" in capsys.readouterr().err


def test_a_printed_key_is_no_key() -> None:
    assert "secret" not in repr(Keys("secret", "secret"))
