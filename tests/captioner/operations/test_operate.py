"""The transcript in docs/operate.md, line by line, on a real server."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from captioner.operations.ports import Ports
from captioner.operations.torchserve import Server
from captioner.paths import ROOT

pytestmark = pytest.mark.slow


def test_the_transcript(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Each command prints what the document says, digests aside; ``...`` stands for anything."""
    section = (ROOT / "docs" / "operate.md").read_text().split("\n## Versions")[1]
    steps = re.findall(
        r"^\$ (.+)\n((?:(?!\$ ).+\n)*)", section.split("```console\n")[1].split("```")[0], re.M
    )
    assert len(steps) >= 10
    ports, store, run = Ports.find_free(), tmp_path / "store", tmp_path / "run"
    address = "http://127.0.0.1:{}".format
    serve = ["--port", ports.inference, "--folder", run, "--model-store", store]
    operate = ["--url", address(ports.inference), "--management", address(ports.management)]
    more = {"serve": serve, "package": ["--model-store", store], "--stop": ["--folder", run]}
    places = {"checkpoints/mine": str(tiny_checkpoint), "model_store": str(store)}
    try:
        for command, wanted in steps:
            program, *arguments = shlex.split(command)
            if program == "curl":
                here = f"localhost:{ports.management}"
                call = [program, *(a.replace("localhost:8081", here) for a in arguments)]
                done = subprocess.run(call, stdout=subprocess.PIPE, text=True, timeout=240)
                assert re.fullmatch(_pattern(wanted), done.stdout), (command, done.stdout)
                continue
            job = "serve" if program == "scripts/serve" else arguments.pop(0)
            options = more.get(arguments[0] if arguments else "", more.get(job))
            options = [*operate, "--model-store", store] if options is None else options
            for named, path in places.items():
                arguments = [argument.replace(named, path) for argument in arguments]
            done = subprocess.run(
                [sys.executable, "-m", "captioner", job, *arguments, *map(str, options)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=240,
            )
            printed = done.stdout
            for named, path in places.items():
                printed = printed.replace(path, named)
            assert re.fullmatch(_pattern(wanted), printed), (command, printed)
    finally:
        Server(run).stop()


def _pattern(text: str) -> str:
    pattern = re.escape(text)
    pattern = re.sub(r"[0-9a-f]{8}\\\.\\\.\\\.", "[0-9a-f]{12,64}", pattern)
    return pattern.replace(re.escape("...") + "\n", "(?s:.*)\n").replace(
        re.escape("...\n"), "(?s:.*)\n"
    )
