"""The ports of a server, who can reach them, and the memory that callers can take from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from captioner.client import CaptionClient
from captioner.operations.torchserve import Server
from tests.captioner.operations.servers import RunningServer, running_server

pytestmark = pytest.mark.slow

SECONDS = 60.0
MiB = 2**20


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[RunningServer]:
    """One with tokens, hostile settings of the environment, and buffers that a test can fill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TS_GRPC_INFERENCE_ADDRESS", "0.0.0.0")
        patch.setenv("TS_GRPC_MANAGEMENT_ADDRESS", "0.0.0.0")
        # They come after all others.
        patch.setenv("_JAVA_OPTIONS", "-Xmx128m -XX:MaxDirectMemorySize=96m")
        folder = tmp_path_factory.mktemp("serving")
        with running_server(folder, tiny_checkpoint, "--tokens") as server:
            yield server


def frontend(server: RunningServer) -> psutil.Process:
    process = Server(server.folder).process()
    assert process
    return process


def key(server: RunningServer) -> str:
    return str(json.loads((server.folder / "key_file.json").read_text())["inference"]["key"])


def test_every_port_is_on_loopback(server: RunningServer) -> None:
    connections = frontend(server).net_connections("tcp")
    listening = [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    first = server.ports.inference
    assert {address.port for address in listening} == set(range(first, first + 5))
    for address in listening:
        assert address.ip.removeprefix("::ffff:") == "127.0.0.1", address


def has_http_2() -> bool:
    curl = shutil.which("curl")
    return bool(curl) and b"nghttp2" in subprocess.check_output([curl or "", "--version"])


@pytest.mark.skipif(not has_http_2(), reason="needs a curl that speaks HTTP/2")
@pytest.mark.parametrize(
    ("port", "method", "asks"),
    [
        (3, "inference.InferenceAPIsService/Ping", b""),
        (3, "inference.InferenceAPIsService/StreamPredictions", b"\x0a\x09captioner"),
        (4, "management.ManagementAPIsService/ListModels", b""),
        (4, "management.ManagementAPIsService/UnregisterModel", b"\x0a\x09captioner"),
    ],
)
def test_grpc_wants_a_token_too(
    server: RunningServer, tmp_path: Path, render, port: int, method: str, asks: bytes
) -> None:
    message = tmp_path / "message"
    message.write_bytes(b"\0" + len(asks).to_bytes(4, "big") + asks)
    url = f"http://127.0.0.1:{server.ports.inference + port}/org.pytorch.serve.grpc.{method}"
    command = ["curl", "--silent", "--verbose", "--http2-prior-knowledge", "--max-time", "30"]
    command += ["--header", "Content-Type: application/grpc", "--header", "TE: trailers"]
    done = subprocess.run([*command, "--data-binary", f"@{message}", url], capture_output=True)
    assert b"grpc-message: Token Authorization failed" in done.stderr
    assert b"grpc-status: 0" not in done.stderr
    with CaptionClient(server.inference, token=key(server)) as client:
        assert client.caption(render()).caption


def test_java_has_the_limits_of_the_configuration(server: RunningServer) -> None:
    command = frontend(server).cmdline()
    assert {"-Xmx1g", "-XX:MaxDirectMemorySize=2g"} <= set(command)


def test_bodies_that_never_end_take_no_more_than_the_limit(server: RunningServer, render) -> None:
    # Sockets, because no library for HTTP sends a body that stops half-way and stays open.
    process = frontend(server)
    head = f"POST /predictions/captioner HTTP/1.1\r\nHost: x\r\nContent-Length: {60 * MiB}\r\n\r\n"
    refused, grown = [], []
    with contextlib.ExitStack() as stack:
        for _ in range(24):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.ports.inference), SECONDS)
            )
            try:
                connection.sendall(head.encode() + bytes(40 * MiB))
            except ConnectionError:
                response = http.client.HTTPResponse(connection)
                with contextlib.suppress(ConnectionError), response:
                    response.begin()
                    refused.append(response.status)
            grown.append(process.memory_info().rss)
    # By half of them Java has what it takes at most; the other half is 480 MiB. Whether a sender
    # sees its connection close depends on how fast it is and how much the kernel holds for it.
    assert max(grown) - grown[11] < 240 * MiB
    assert set(refused) <= {507}
    # And it lives on.
    headers = {"Authorization": f"Bearer {key(server)}"}
    reply = requests.put(server.url, data=render(), headers=headers, timeout=SECONDS)
    assert reply.status_code == 200
