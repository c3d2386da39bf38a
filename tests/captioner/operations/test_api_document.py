"""The examples of docs/api.md and the README, run as they are against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from captioner.paths import ROOT
from tests.captioner.contract import check_documented_line, documented_lines
from tests.captioner.operations.servers import RunningServer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("document", "heading"), [("docs/api.md", "## Over HTTP"), ("README.md", "## With curl")]
)
def test_every_line_over_http(
    server: RunningServer, render, tmp_path: Path, document: str, heading: str
) -> None:
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    ports = {8080: server.ports.inference, 8081: server.ports.management}
    ports[8082] = server.ports.metrics
    health = f"captioner health --url {server.inference} --management {server.management}"
    for line in documented_lines(document, heading):
        for usual, port in ports.items():
            line = line.replace(f"localhost:{usual}", f"127.0.0.1:{port}")
        line = line.replace("captioner health", health)
        line = line.replace("curl ", "curl -fsS -m 60 ")
        check_documented_line(line, tmp_path)
    with Image.open(tmp_path / "attention.png") as picture:
        assert picture.format == "PNG"


def test_the_example_in_python(server: RunningServer, render, tmp_path: Path) -> None:
    document = (ROOT / "docs" / "api.md").read_text()
    section = document.split("\n## From Python, over HTTP")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    done = subprocess.run(
        [sys.executable, "-c", example.replace("http://localhost:8080", server.inference)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
