"""The container's program without a container: the gate opens late, closes first, loses nothing."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import requests

from captioner.operations.container import Addresses, Gate, unlimited_networks
from captioner.operations.package import package
from captioner.operations.ports import Ports
from captioner.paths import ROOT
from model import Captioner
from tests.deploy.malformed import check_form, check_refusals

needs_nginx = pytest.mark.skipif(
    not shutil.which("nginx"), reason="nginx is not installed: apt-get install nginx-light"
)


class Started:
    """A process whose output goes to a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log, self.temp = log, Path(environment["TMPDIR"])
        with open(log, "w") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, line: str) -> None:
        """Return once the process has printed a line."""
        while line not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """Kill the process and its children, whatever they do; for the end of a test."""
        if self.process.poll() is None:
            for child in self.children():
                child.kill()
            self.process.kill()
        self.process.wait()


@contextmanager
def container(folder: Path, ports: Ports) -> Iterator[Started]:
    address = "127.0.0.1:{}".format
    settings = {
        "CAPTIONER_MODEL_STORE": str(folder / "store"),
        "CAPTIONER_INFERENCE": address(ports.inference),
        "CAPTIONER_MANAGEMENT": address(ports.management),
        "CAPTIONER_METRICS": address(ports.metrics),
    }
    command = [sys.executable, "-m", "captioner.operations.container"]
    with TemporaryDirectory(prefix="c-") as temp:  # the paths of sockets may not be long
        environment = os.environ | settings | {"TMPDIR": temp}
        started = Started(command, folder / "log", environment)
        try:
            yield started
        finally:
            started.end()


class Callers:
    """Callers that ask again and again, each time over a new connection, until one is refused.

    They use http.client, which tells a connection that is refused from one that is reset.
    """

    def __init__(self, port: int, photo: bytes, host: str = "127.0.0.1", count: int = 8) -> None:
        self.host, self.port, self.photo = host, port, photo
        self.captions: list[str] = []
        self.lost: list[str] = []
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        while True:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                connection.request("PUT", "/predictions/captioner", self.photo)
                reply = connection.getresponse()
                answer = reply.read().decode()
                (self.captions if reply.status == 200 else self.lost).append(answer)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
            finally:
                connection.close()


@pytest.mark.slow
@needs_nginx
def test_what_was_accepted_is_answered_before_the_end(
    tmp_path: Path, tiny_checkpoint: Path, render
) -> None:
    package(tiny_checkpoint, "1.0", tmp_path / "store" / "captioner.mar")
    photo, ports = render("red", "circle"), Ports.find_free()
    wanted = Captioner.load(tiny_checkpoint).caption([photo])[0][0].text
    with container(tmp_path, ports) as started:
        started.wait_for("ready, on 127.0.0.1:")
        asked = requests.put(
            f"http://127.0.0.1:{ports.inference}/predictions/captioner",
            data=photo,
            headers={"X-Caption-Beam-Size": "21"},
            timeout=60,
        )
        assert asked.status_code == 400
        assert asked.json()["error"]["code"] == "invalid_option"
        management = f"http://127.0.0.1:{ports.management}/models/captioner"
        assert requests.get(management, timeout=60).json()[0]["modelVersion"] == "1.0"

        everyone = started.children()
        files = [path for path in started.temp.rglob("*.log") if path.stat().st_size]
        assert not files  # /tmp is memory
        callers = Callers(ports.inference, photo)
        while len(callers.captions) < 30:
            assert started.process.poll() is None
        started.process.send_signal(signal.SIGTERM)
        started.process.send_signal(signal.SIGTERM)  # some operators press twice
        assert started.process.wait(60) == 0
        for thread in callers.threads:
            thread.join()
        assert list(started.temp.iterdir()) == []
    log = started.log.read_text()
    assert '"PUT /predictions/captioner HTTP/1.1" 200' in log
    assert "[METRICS]" not in log
    assert not callers.lost
    assert all(f'"caption": "{wanted}"' in answer for answer in callers.captions)
    assert not psutil.wait_procs(everyone, 10)[1]


def has_loopback_6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_loopback_6(), reason="this machine has no IPv6")


@pytest.mark.slow
@needs_nginx
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("[::1]", marks=needs_ipv6)])
def test_callers_are_answered_or_refused_while_the_gate_closes(
    tmp_path: Path, scripted, host: str
) -> None:
    """A connection is never made and then reset; a plain SIGQUIT to nginx does that sometimes."""
    scripted.answer = lambda asked: (200, asked.body)
    for _ in range(5):
        port = Ports.find_free().inference
        gate = Gate(tmp_path, f"{host}:{port}", scripted.url.removeprefix("http://"))
        callers = Callers(port, b"a photo", host=host.strip("[]"), count=32)
        while len(callers.captions) < 30:
            assert gate.open
        assert gate.close(20)
        for thread in callers.threads:
            thread.join()
        assert not callers.lost
        assert set(callers.captions) == {"a photo"}


@contextmanager
def gate(folder: Path, scripted, unlimited: tuple[str, ...] = ()) -> Iterator[int]:
    """The gate in front of a scripted server; the port."""
    port = Ports.find_free().inference
    opened = Gate(folder, f"127.0.0.1:{port}", scripted.url.removeprefix("http://"), unlimited)
    try:
        yield port
    finally:
        opened.close(20)


@needs_nginx
def test_the_gate_refuses_what_is_malformed_in_the_captioners_form(
    tmp_path: Path, scripted
) -> None:
    with gate(tmp_path, scripted) as port:
        check_refusals(lambda: socket.create_connection(("127.0.0.1", port), 60))
        assert not scripted.asked
        scripted.answer = lambda asked: (200, asked.body)
        reply = requests.post(f"http://127.0.0.1:{port}/predictions/captioner", b"x", timeout=60)
        assert reply.text == "x"


@needs_nginx
def test_the_gate_says_what_this_is(tmp_path: Path, scripted) -> None:
    with gate(tmp_path, scripted) as port:
        reply = requests.get(f"http://127.0.0.1:{port}/", timeout=60)
        assert reply.status_code == 200
        assert reply.json()["service"] == "captioner"
        assert not scripted.asked
        scripted.answer = lambda asked: (405, b"{}")
        assert requests.post(f"http://127.0.0.1:{port}/", b"x", timeout=60).status_code == 405


@pytest.mark.slow
@needs_nginx
def test_the_gate_has_the_limits_of_an_nginx_outside(
    tmp_path: Path, scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Callers of a test come from loopback, and 50 requests a second may be all that it asks.
    for folder, name, written, wanted in (
        ("container", "gate.conf", "127.0.0.0/8 0;", ""),
        ("nginx/captioner", "http.conf", "rate=50r/s", "rate=1r/m"),
    ):
        shutil.copytree(ROOT / "deploy" / folder, tmp_path / folder)
        text = (tmp_path / folder / name).read_text()
        assert text.count(written) == 1
        (tmp_path / folder / name).write_text(text.replace(written, wanted))
    monkeypatch.setattr("captioner.operations.container.FILES", tmp_path / "container")
    monkeypatch.setattr("captioner.operations.container.SHARED", tmp_path / "nginx" / "captioner")
    scripted.answer = lambda asked: (200, asked.body)

    def ask_at_once(port: int) -> Counter[int]:
        url = f"http://127.0.0.1:{port}/predictions/captioner"
        with requests.Session() as session, ThreadPoolExecutor(4) as pool:
            asked = range(200)
            return Counter(pool.map(lambda _: session.post(url, b"x").status_code, asked))

    with gate(tmp_path, scripted) as port:
        answered = ask_at_once(port)
        assert answered.keys() == {200, 429}
        assert answered[200] >= 101  # one, and the burst
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            length = f"Content-Length: {64 * 2**20 + 1}"
            head = f"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n"
            connection.sendall(head.encode())
            with http.client.HTTPResponse(connection) as response:
                response.begin()
                assert response.status == 413
                assert check_form("64 MiB", response, response.read())["code"] == "too_large"
    with gate(tmp_path, scripted, unlimited=("127.0.0.0/8",)) as port:
        assert ask_at_once(port).keys() == {200}


def test_networks_that_are_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unlimited_networks() == []
    monkeypatch.setenv("CAPTIONER_UNLIMITED", "10.0.0.0/8, 192.168.1.7,2001:db8::/32")
    assert unlimited_networks() == ["10.0.0.0/8", "192.168.1.7/32", "2001:db8::/32"]
    for wrong in ("10.0.0.1/8", "all", "10.0.0.0/8; allow all", "fe80::1%a;"):
        monkeypatch.setenv("CAPTIONER_UNLIMITED", wrong)
        with pytest.raises(ValueError, match=r"CAPTIONER_UNLIMITED: .*it must be like 10\.0"):
            unlimited_networks()


@pytest.mark.slow
@needs_nginx
@pytest.mark.parametrize("name", ["nginx", "java"])
def test_ends_when_one_of_the_two_does(tmp_path: Path, tiny_checkpoint: Path, name: str) -> None:
    """Then whatever runs the container starts it again."""
    package(tiny_checkpoint, "1.0", tmp_path / "store" / "captioner.mar")
    with container(tmp_path, Ports.find_free()) as started:
        started.wait_for("ready, on 127.0.0.1:")
        everyone = started.children()
        (one,) = [p for p in psutil.Process(started.process.pid).children() if p.name() == name]
        one.kill()
        assert started.process.wait(60) == 1
    assert not psutil.wait_procs(everyone, 10)[1]


@pytest.mark.slow
def test_without_an_archive_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with container(tmp_path, Ports.find_free()) as started:
        assert started.process.wait(60) == 1
    printed = started.log.read_text()
    assert printed == f"captioner: {tmp_path}/store has no captioner.mar: mount one that has\n"


def test_a_malformed_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Addresses.from_environment() == Addresses()
    monkeypatch.setenv("CAPTIONER_METRICS", "0.0.0.0:9100")
    assert Addresses.from_environment() == Addresses(metrics="0.0.0.0:9100")
    monkeypatch.setenv("CAPTIONER_MANAGEMENT", "localhost")
    with pytest.raises(ValueError, match="CAPTIONER_MANAGEMENT is 'localhost'; it must be like"):
        Addresses.from_environment()
