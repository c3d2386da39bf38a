"""The requests in docs/web.md, sent by curl as they stand there."""

from __future__ import annotations

from pathlib import Path

from tests.captioner.contract import check_documented_line, documented_lines
from tests.captioner.web.protocols.conftest import Serve


def test_every_line_for_other_systems_clients(serve: Serve, render, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    lines = documented_lines("docs/web.md", "## For PhotoPrism, Ollama's and OpenAI's clients")
    with serve() as app:
        for line in lines:
            line = line.replace("localhost:8080", app.url).replace("curl ", "curl -fsS ")
            check_documented_line(line, tmp_path)
