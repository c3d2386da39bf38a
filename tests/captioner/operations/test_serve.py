"""The real TorchServe, from the real archive, through the real command line."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from PIL import Image

from captioner.client import CaptionClient
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.operations.store import SERVER_LOCK
from captioner.operations.torchserve import Server
from captioner.paths import ROOT
from model import Captioner, DecodingOptions, checkpoint
from tests.captioner.operations.site import run
from tests.handler.openapi_checks import check_against_server
from tests.hostile import hostile_photos


@dataclass
class Serving:
    folder: Path
    store: Path
    checkpoint: Path
    ports: Ports
    printed: str

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self.ports.inference}"

    @property
    def url(self) -> str:
        return f"{self.inference}/predictions/captioner"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.ports.management}/models"

    @property
    def worker(self) -> psutil.Process:
        (version,) = requests.get(f"{self.management}/captioner", timeout=60).json()
        (worker,) = version["workers"]
        return psutil.Process(worker["pid"])


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Serving]:
    """One server for all tests but those that stop it: starting it takes seconds."""
    folder = tmp_path_factory.mktemp("serving")
    with started(folder, tiny_checkpoint) as serving:
        yield serving


@contextmanager
def started(folder: Path, checkpoint: Path, *more: object) -> Iterator[Serving]:
    ports, run_folder, store = Ports.find_free(), folder / "run", folder / "store"
    options = ["--port", ports.inference, "--folder", run_folder, "--model-store", store]
    try:
        done = run("serve", "--detach", "--checkpoint", checkpoint, *options, *more)
        assert done.returncode == 0, done.stderr
        yield Serving(run_folder, store, checkpoint, ports, done.stdout)
    finally:
        Server(run_folder).stop()


def test_from_archive_to_caption(serving: Serving, render) -> None:
    assert '{"caption": ' in serving.printed
    assert f"curl -T photo.jpg {serving.url}" in serving.printed

    local = Captioner.load(serving.checkpoint)
    photos = [render(c, s) for c in ("red", "green", "white") for s in ("circle", "square")]
    wanted = [local.caption([photo])[0][0] for photo in photos]
    assert abs(wanted[0].log_prob - wanted[1].log_prob) > 0.02  # which tells the two apart

    # One photo, as curl -T and as a form.
    reply = requests.put(serving.url, data=photos[0], timeout=60)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["caption"] == wanted[0].text
    assert reply.json()["log_prob"] == pytest.approx(wanted[0].log_prob, abs=0.01)
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert reply.json()["model"] == {
        "name": "captioner",
        "version": "1.0",
        "digest": checkpoint.digest(serving.checkpoint),
    }
    assert 0 < reply.json()["confidence"] < 1
    form = requests.post(serving.url, files={"data": ("p.jpg", photos[1])}, timeout=60)
    assert form.json()["caption"] == wanted[1].text
    assert form.json()["log_prob"] == pytest.approx(wanted[1].log_prob, abs=0.01)

    # Many at once, good and bad, with options that differ: each gets its own answer.
    beams = [1, 3, 10]
    by_beams = {k: [c[0].text for c in local.caption(photos, DecodingOptions(k))] for k in beams}
    assert len(set(by_beams[1])) > 1  # photos differ,
    assert len({tuple(texts) for texts in by_beams.values()}) == 3  # and so do options

    def ask(i: int) -> requests.Response:
        body = b"not a photo" if i % 7 == 3 else photos[i % len(photos)]
        headers = {"X-Caption-Beam-Size": str(beams[i % len(beams)])}
        return requests.post(serving.url, data=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(ask, range(100)))
    for i, reply in enumerate(replies):
        if i % 7 == 3:
            assert reply.status_code == 400
            assert reply.json()["error"]["code"] == "invalid_image"
        else:
            assert reply.json()["caption"] == by_beams[beams[i % len(beams)]][i % len(photos)]

    # As large as phones make them.
    large = render("red", "circle", (4000, 3000), "BMP")[: 32 * 2**20 - 1000]
    assert requests.post(serving.url, data=large, timeout=60).status_code == 400  # cut short
    larger = requests.post(serving.url, data=bytes(33 * 2**20), timeout=60)
    assert (larger.status_code, larger.json()["error"]["code"]) == (413, "too_large")
    assert requests.post(serving.url, data=bytes(65 * 2**20), timeout=60).status_code == 413


def test_every_line_of_the_readmes_api(serving: Serving, render, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## API")[1]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block
    lines = [line for line in block[1].splitlines() if line and not line.startswith("#")]
    assert len(lines) > 12
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    ports = {8080: serving.ports.inference, 8081: serving.ports.management}
    ports[8082] = serving.ports.metrics
    health = f"captioner health --url {serving.inference} --management {serving.management[:-7]}"
    for line in lines:
        for usual, port in ports.items():
            line = line.replace(f"localhost:{usual}", f"127.0.0.1:{port}")
        line = line.replace("captioner health", health)
        line = line.replace("curl ", "curl -fsS -m 60 ")
        line = re.sub(r"^captioner ", f"{sys.executable} -m captioner ", line)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (line, done.stderr)
    with Image.open(tmp_path / "attention.png") as picture:
        assert picture.format == "PNG"


def test_the_pythons_client_example(serving: Serving, render, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## API")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(render(size=(300, 200)))
    done = subprocess.run(
        [sys.executable, "-c", example.replace("http://localhost:8080", serving.inference)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_openapi_document_is_what_is_served(serving: Serving) -> None:
    check_against_server(serving.inference)


def test_hostile_photos_over_http(serving: Serving) -> None:
    """No dead worker, bounded memory; what comes with too much at once is told to come again."""
    worker = serving.worker
    requests.put(serving.url, data=next(iter(hostile_photos(1, seed=1))), timeout=60)
    before = worker.memory_info().rss
    sessions = threading.local()

    def ask(photo: bytes) -> int:
        if not hasattr(sessions, "one"):
            sessions.one = requests.Session()
        reply = sessions.one.put(serving.url, data=photo, timeout=120)
        told = reply.json()
        assert "caption" in told or {"code", "message"} == told["error"].keys(), told
        assert (reply.status_code == 503) == (told.get("error", {}).get("code") == "busy"), told
        return reply.status_code

    with ThreadPoolExecutor(32) as pool:
        statuses = Counter(pool.map(ask, hostile_photos(5000, seed=2)))
    assert statuses.keys() <= {200, 400, 413, 415, 503}, statuses
    assert statuses.total() == 5000
    assert min(statuses[200], statuses[400]) > 100, statuses  # some get through, some do not
    assert serving.worker.pid == worker.pid
    assert worker.memory_info().rss < before + 2**30


@pytest.mark.parametrize("name", ["describe", "Describe", "explain", "Explain", "EXPLAIN"])
def test_a_callers_header_orders_no_other_kind_of_reply(
    serving: Serving, render, name: str
) -> None:
    """Those headers are how TorchServe marks what came to its other addresses."""
    described = requests.get(f"{serving.management}/captioner?customized=true", timeout=60)
    assert "beam_size" in described.text
    plain = requests.put(serving.url, data=render(), timeout=60).json()
    asked = {name: "True"}
    for send in (requests.put, requests.post):
        reply = send(serving.url, data=render(), headers=asked, timeout=60)
        assert reply.json().keys() == plain.keys()
        assert reply.json()["caption"] == plain["caption"]
    for address in (f"{serving.url}/1.0", f"{serving.inference}/captioner/predict"):
        form = asked | {"Content-Type": "application/x-www-form-urlencoded"}
        empty = requests.post(address, data=b"", headers=form, timeout=60)
        assert empty.status_code == 415
        assert empty.json()["error"]["code"] == "unsupported_media_type"
    fields = {"data": render(), name: b"True"}
    form = requests.post(serving.url, files=fields, timeout=60).json()
    assert "card" not in form
    assert "attention" not in form
    query = requests.put(f"{serving.url}?{name}=True&customized=true", data=render(), timeout=60)
    assert query.json().keys() == plain.keys()
    url = f"{serving.inference}/explanations/captioner"
    explained = requests.put(url, data=render(), headers={name: "False"}, timeout=60)
    assert explained.json().keys() == plain.keys() | {"tokens", "attention"}


def test_json_as_curl_sends_it_by_default(serving: Serving, render, tmp_path: Path) -> None:
    """Without a type: a form, of -d, and none at all, of -T."""
    # A file that needs padding in base64: TorchServe hands on no form that has no "=" in it.
    photos = [(photo := render(color)) + bytes(4 - len(photo) % 3) for color in ("red", "blue")]
    data = [base64.b64encode(photo).decode() for photo in photos]
    assert all("+" in each and each.endswith("=") for each in data)
    wanted = [requests.put(serving.url, data=p, timeout=60).json()["caption"] for p in photos]
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES", "data": data}
    bodies = {
        "/v1/models/captioner:predict": {"instances": [{"b64": each} for each in data]},
        "/v2/models/captioner/infer": {"id": "seven", "inputs": [tensor]},
        "/predictions/captioner": {"image": {"b64": data[0]}},
    }
    for path, body in bodies.items():
        (tmp_path / "body.json").write_text(json.dumps(body))
        for how in (["-d", "@body.json"], ["-X", "POST", "-T", "body.json"]):
            done = subprocess.run(
                ["curl", "-sS", "-m", "60", *how, f"{serving.inference}{path}"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.stdout.endswith("}\n"), (path, how, done)
            reply = json.loads(done.stdout)
            if "predictions" in reply:
                assert [each["caption"] for each in reply["predictions"]] == wanted
            elif "outputs" in reply:
                assert reply["outputs"][0]["data"] == wanted
            else:
                assert reply["caption"] == wanted[0]


def bomb() -> bytes:
    """An AVIF of 49 million pixels in 2 kB."""
    buffer = io.BytesIO()
    Image.new("L", (7000, 7000), 100).save(buffer, "AVIF", speed=10)
    assert len(buffer.getvalue()) < 10_000
    return buffer.getvalue()


def test_a_request_of_bombs_is_refused_and_its_neighbour_is_captioned(
    serving: Serving, render
) -> None:
    worker = serving.worker
    photo = render()
    wanted = requests.put(serving.url, data=photo, timeout=60).json()["caption"]
    one = base64.b64encode(bomb()).decode()
    many, single = ({"instances": [{"b64": one}] * count} for count in (32, 1))

    def attack(body: dict[str, object]) -> requests.Response:
        url = f"{serving.inference}/v1/models/captioner:predict"
        return requests.post(url, json=body, timeout=50)

    # Each of the four is refused by itself; one bomb is a photo like any other.
    with ThreadPoolExecutor(16) as pool:
        attacks = [pool.submit(attack, many) for _ in range(4)]
        heavy = [pool.submit(attack, single) for _ in range(2)]
        photos = [pool.submit(requests.put, serving.url, data=photo, timeout=50) for _ in range(4)]
        for asked in attacks:
            reply = asked.result()
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
            assert "32 photos together have 1,568,000,000 pixels" in reply.text
        for asked in photos:
            assert asked.result().json()["caption"] == wanted
        for asked in heavy:
            reply = asked.result()
            if reply.status_code == 503:
                assert reply.json()["error"]["code"] == "busy"
                assert int(reply.headers["Retry-After"]) > 0
            else:
                assert len(reply.json()["predictions"]) == 1
        assert any(asked.result().ok for asked in heavy)
    assert serving.worker.pid == worker.pid


def test_a_line_of_the_log_for_each_request(serving: Serving, render) -> None:
    good = requests.put(serving.url, data=render(), timeout=60)
    bad = requests.put(serving.url, data=b"no photo: SECRET", timeout=60)
    ids = {reply.headers["x-request-id"]: reply for reply in (good, bad)}

    def found() -> dict[str, dict[str, Any]]:
        told = {}
        for path in (serving.folder / "logs").glob("*.log*"):
            text = path.read_text(errors="replace")
            assert "SECRET" not in text
            for line in re.findall(r"request (\{.*\})$", text, re.MULTILINE):
                told[json.loads(line)["request_id"]] = json.loads(line)
        return told

    for _ in range(600):  # TorchServe writes what a worker says a little later
        if ids.keys() <= found().keys():
            break
        time.sleep(0.1)
    lines = found()
    outcomes = {200: "ok", 400: "invalid_image"}
    for request_id, reply in ids.items():
        line = lines[request_id]
        assert (line["status"], line["version"]) == (reply.status_code, "1.0")
        assert line["outcome"] == outcomes[reply.status_code]
        assert line["batch"]["ms"]["total"] > 0


def test_a_worker_that_is_killed_comes_back(serving: Serving, render) -> None:
    photo = render()
    before = requests.put(serving.url, data=photo, timeout=60).json()["caption"]
    killed = serving.worker
    killed.kill()
    with CaptionClient(serving.inference, retries=10) as client:
        assert client.caption(photo).caption == before
    assert serving.worker.pid != killed.pid


def test_a_second_version_runs_its_own_code(serving: Serving, render) -> None:
    """Its archive's: not the first one's and not the checkout's."""
    photo = render()
    first = requests.put(serving.url, data=photo, timeout=60).json()["caption"]
    second = serving.store / "captioner_2.mar"
    package(serving.checkpoint, "2.0", serving.store / "captioner.mar")
    changes = {
        "model/word_map.py": b"\nWordMap.decode = lambda self, ids: 'second version'\n",
        "handler/replies.py": b"\n_old = _summary\n_summary = lambda c: _old(c) | {'new': True}\n",
    }
    with (
        zipfile.ZipFile(serving.store / "captioner.mar") as source,
        zipfile.ZipFile(second, "w") as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name) + changes.get(name, b""))
    registered = requests.post(
        serving.management,
        params={"url": second.name, "initial_workers": 1, "synchronous": "true"},
        timeout=120,
    )
    assert registered.status_code == 200, registered.text
    answers = {
        version: requests.post(f"{serving.url}{version}", data=photo, timeout=60).json()
        for version in ("/2.0", "/1.0", "")
    }
    captions = [answer["caption"] for answer in answers.values()]
    assert captions == ["second version", first, first]
    assert [answer.get("new") for answer in answers.values()] == [True, None, None]
    assert answers["/2.0"]["model"]["version"] == "2.0"
    metrics = requests.get(f"http://127.0.0.1:{serving.ports.metrics}/metrics", timeout=60).text
    assert re.search(r'captioner_requests_total\{Outcome="ok",Version="2.0",.*\} 1.0', metrics)


def test_stopped_means_that_nothing_is_left(tmp_path: Path, tiny_checkpoint: Path, render) -> None:
    with started(tmp_path, tiny_checkpoint) as serving:
        # A second start is refused and harms nothing.
        again = run("serve", "--folder", serving.folder, "--port", serving.ports.inference)
        assert again.returncode == 1
        assert "already serving" in again.stderr
        other = serving.folder / "x"
        elsewhere = run("serve", "--folder", other, "--port", serving.ports.inference)
        assert elsewhere.returncode == 1
        assert f"port {serving.ports.inference} is in use" in elsewhere.stderr
        assert requests.post(serving.url, data=render(), timeout=60).ok

        # So is one that would replace the archive which this one serves.
        before = {path.name: path.read_bytes() for path in serving.store.iterdir()}
        done = run(
            *("serve", "--checkpoint", ROOT / "checkpoints" / "flickr8k", "--folder", other),
            *("--port", Ports.find_free().inference, "--model-store", serving.store),
        )
        assert done.returncode == 1
        assert f"stop it with scripts/serve --stop --folder {serving.folder}" in done.stderr
        assert {path.name: path.read_bytes() for path in serving.store.iterdir()} == before
        assert not other.exists()
        nothing = run("serve", "--stop", "--folder", other, "--model-store", serving.store)
        assert nothing.stdout.startswith("nothing was running\nbut process ")

        frontend = Server(serving.folder).process()
        assert frontend is not None
        everyone = [frontend, *frontend.children(recursive=True)]
        assert len(everyone) >= 2  # a worker at least
        lock = str(serving.store / SERVER_LOCK)
        holders = [p for p in everyone if lock in {each.path for each in p.open_files()}]
        assert holders == [frontend]  # a worker that outlives it holds nothing
        temp = Path(json.loads((serving.folder / "server.json").read_text())["temp"])
        stopped = run("serve", "--stop", "--folder", serving.folder)
        assert stopped.stdout == "stopped\n"
        assert not any(psutil.pid_exists(process.pid) for process in everyone)
        assert not temp.exists()
        assert not (serving.folder / "server.json").exists()
        serving.ports.check_free()
        again = run("serve", "--stop", "--folder", serving.folder)
        assert again.stdout == "nothing was running\n"


def test_a_checkpoint_that_cannot_be_loaded_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--folder", tmp_path / "run", "--model-store", tmp_path / "store"]
    done = run(
        "serve", "--checkpoint", tmp_path / "empty", "--port", Ports.find_free().inference, *options
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
