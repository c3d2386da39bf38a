"""The real TorchServe, from the real archive, through the real command line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from model import Captioner, checkpoint
from model.network import ShowAttendTell
from model.word_map import WordMap
from scripts.package import ROOT, package
from scripts.torchserve import Ports, Server


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def free_ports() -> Ports:
    """Three in a row."""
    for _ in range(100):
        ports = Ports(random.randrange(20_000, 30_000))
        try:
            ports.check_free()
        except ValueError:
            continue
        return ports
    raise AssertionError("no free ports")


@dataclass
class Serving:
    folder: Path
    store: Path
    checkpoint: Path
    ports: Ports
    printed: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.inference}/predictions/captioner"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.ports.management}/models"


@pytest.fixture
def serving(tmp_path: Path, network: ShowAttendTell, word_map: WordMap) -> Iterator[Serving]:
    checkpoint.save(tmp_path / "tiny", network, word_map, "")
    ports, folder, store = free_ports(), tmp_path / "run", tmp_path / "store"
    options = ["--port", ports.inference, "--folder", folder, "--model-store", store]
    try:
        done = run("serve", "--detach", "--checkpoint", tmp_path / "tiny", *options)
        assert done.returncode == 0, done.stderr
        yield Serving(folder, store, tmp_path / "tiny", ports, done.stdout)
    finally:
        Server(folder).stop()


def test_from_archive_to_caption(serving: Serving, render) -> None:
    """One server for all that needs one: starting it takes seconds."""
    assert '{"caption": ' in serving.printed
    assert f"curl -T photo.jpg {serving.url}" in serving.printed

    local = Captioner.load(serving.checkpoint)
    photos = [render(c, s) for c in ("red", "green", "blue") for s in ("circle", "square")]
    wanted = [captions[0].text for captions in local.caption(photos)]
    assert len(set(wanted)) > 1

    # One photo, as curl -T and as a form.
    reply = requests.put(serving.url, data=photos[0], timeout=60)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["caption"] == wanted[0]
    form = requests.post(serving.url, files={"data": ("p.jpg", photos[1])}, timeout=60)
    assert form.json()["caption"] == wanted[1]

    # Many at once, good and bad: each gets its own answer.
    def ask(i: int) -> requests.Response:
        body = b"not a photo" if i % 7 == 3 else photos[i % len(photos)]
        return requests.post(serving.url, data=body, timeout=60)

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(ask, range(100)))
    for i, reply in enumerate(replies):
        if i % 7 == 3:
            assert reply.status_code == 400
            assert reply.json()["error"]["code"] == "invalid_image"
        else:
            assert reply.json()["caption"] == wanted[i % len(photos)]

    # As large as phones make them.
    large = render("red", "circle", (4000, 3000), "BMP")[: 32 * 2**20 - 1000]
    assert requests.post(serving.url, data=large, timeout=60).status_code == 400  # cut short
    assert requests.post(serving.url, data=bytes(33 * 2**20), timeout=60).status_code == 413

    # A second version runs its own archive's code, not the first one's and not the checkout's.
    second = serving.store / "captioner_2.mar"
    package(serving.checkpoint, "2.0", serving.store / "captioner.mar")
    with (
        zipfile.ZipFile(serving.store / "captioner.mar") as source,
        zipfile.ZipFile(second, "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "model/word_map.py":
                content += b"\nWordMap.decode = lambda self, ids: 'second version'\n"
            target.writestr(name, content)
    registered = requests.post(
        serving.management,
        params={"url": second.name, "initial_workers": 1, "synchronous": "true"},
        timeout=120,
    )
    assert registered.status_code == 200, registered.text
    answers = [
        requests.post(f"{serving.url}{version}", data=photos[0], timeout=60).json()["caption"]
        for version in ("/2.0", "/1.0", "")
    ]
    assert answers == ["second version", wanted[0], wanted[0]]

    # A second start is refused and harms nothing.
    again = run("serve", "--folder", serving.folder, "--port", serving.ports.inference)
    assert again.returncode == 1
    assert "already serving" in again.stderr
    elsewhere = run("serve", "--folder", serving.folder / "x", "--port", serving.ports.inference)
    assert elsewhere.returncode == 1
    assert f"port {serving.ports.inference} is in use" in elsewhere.stderr
    assert requests.post(serving.url, data=photos[0], timeout=60).ok

    # Stopped means that nothing is left.
    frontend = Server(serving.folder).process()
    assert frontend is not None
    everyone = [frontend, *frontend.children(recursive=True)]
    assert len(everyone) >= 3
    temp = Path(json.loads((serving.folder / "server.json").read_text())["temp"])
    stopped = run("serve", "--stop", "--folder", serving.folder)
    assert stopped.stdout == "stopped\n"
    assert not any(psutil.pid_exists(process.pid) for process in everyone)
    assert not temp.exists()
    assert not (serving.folder / "server.json").exists()
    serving.ports.check_free()
    assert run("serve", "--stop", "--folder", serving.folder).stdout == "nothing was running\n"


def test_a_checkpoint_that_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--folder", tmp_path / "run", "--model-store", tmp_path / "store"]
    done = run(
        "serve", "--checkpoint", tmp_path / "empty", "--port", free_ports().inference, *options
    )
    assert done.returncode == 1
    assert "is no checkpoint folder" in done.stderr
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "run").exists()


def test_a_process_that_took_over_the_pid_is_not_ours(tmp_path: Path) -> None:
    state = {"pid": psutil.Process().pid, "created": 1.0, "temp": str(tmp_path / "t")}
    (tmp_path / "server.json").write_text(json.dumps(state))
    server = Server(tmp_path)
    assert server.process() is None
    assert server.stop() is False
    assert not (tmp_path / "server.json").exists()
