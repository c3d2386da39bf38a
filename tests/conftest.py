"""The tiny captioner and the rendered photos that the tests share."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

from captioner.threads import limit_spinning

limit_spinning(os.environ)  # before torch is imported, here or in a process that a test starts

import torch  # noqa: E402

from model import checkpoint  # noqa: E402
from model.calibration import Calibration  # noqa: E402
from model.config import ModelConfig  # noqa: E402
from model.network import ShowAttendTell  # noqa: E402
from model.word_map import WordMap  # noqa: E402

WORDS = ["<pad>", "a", "red", "green", "blue", "circle", "square", "<unk>", "<start>", "<end>"]
DEVICES = ["cpu"] + [f"cuda:{i}" for i in range(min(1, torch.cuda.device_count()))]

# Everything here is tiny: a second thread only waits, and for long if the machine is busy.
torch.set_num_threads(1)

# No test measures time, on a busy machine least of all.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Fixtures that start a server or train: the tests that use them are slow (`scripts/test --fast`).
# Other tests that take more than about two seconds are marked where they stand.
SLOW_FIXTURES = {"fresh", "proxy", "serving", "site", "training"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if hasattr(item, "callspec"):
            fixtures -= item.callspec.params.keys()  # a parameter of that name is no fixture
        if "device" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.device)
        if fixtures & SLOW_FIXTURES:
            item.add_marker(pytest.mark.slow)


RenderPhoto = Callable[..., bytes]


@pytest.fixture(scope="session", autouse=True)
def in_the_foreground() -> None:
    """Undo what a shell does to its jobs in the background: they ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def word_map() -> WordMap:
    return _word_map()


def _word_map() -> WordMap:
    return WordMap({word: i for i, word in enumerate(WORDS)})


@pytest.fixture
def config() -> ModelConfig:
    return _config()


def _config() -> ModelConfig:
    return ModelConfig(
        vocabulary_size=len(WORDS),
        encoder="timm/test_efficientnet",
        image_size=96,
        encoded_size=None,
        attention_size=16,
        embedding_size=12,
        hidden_size=20,
        dropout=0.0,
    )


@pytest.fixture
def network(config: ModelConfig) -> ShowAttendTell:
    """Return a random network whose words and caption lengths differ between photos."""
    return _network(config)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint folder of that network, with a calibration; tests must not change it."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    checkpoint.save(folder, _network(_config()), _word_map(), "# Tiny\n")
    Calibration(2.0, 1.0, 0.5).save(folder)
    return folder


def _network(config: ModelConfig) -> ShowAttendTell:
    torch.manual_seed(7)
    network = ShowAttendTell(config).eval()
    with torch.no_grad():
        network.decoder.fc.weight.mul_(20)
        network.decoder.embedding.weight.mul_(10)
        network.decoder.init_h.weight.mul_(5)
    return network


@pytest.fixture
def render() -> RenderPhoto:
    """Return a function that draws a photo of one shape and returns its bytes."""

    def draw(
        color: str = "red",
        shape: str = "circle",
        size: tuple[int, int] = (120, 90),
        format: str = "JPEG",
    ) -> bytes:
        image = Image.new("RGB", size, "white")
        box = (size[0] // 6, size[1] // 6, size[0] * 5 // 6, size[1] * 5 // 6)
        pen = ImageDraw.Draw(image)
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=color)
        buffer = io.BytesIO()
        image.save(buffer, format)
        return buffer.getvalue()

    return draw


@pytest.fixture
def dataset(tmp_path: Path, render: RenderPhoto) -> Path:
    """Return a folder in Kaggle's form: four photos, for training and for validation."""
    folder = tmp_path / "shapes"
    (folder / "Images").mkdir(parents=True)
    lines, names = ["image,caption"], []
    for color in ("red", "blue"):
        for shape in ("circle", "square"):
            name = f"{color}_{shape}.jpg"
            names.append(name)
            (folder / "Images" / name).write_bytes(render(color, shape))
            lines += [f"{name},A {color} {shape} .", f"{name},{color} {shape}"]
    (folder / "captions.txt").write_text("\n".join(lines) + "\n")
    (folder / "Flickr_8k.trainImages.txt").write_text("\n".join(names) + "\n")
    (folder / "Flickr_8k.devImages.txt").write_text("\n".join(names) + "\n")
    return folder


@dataclass(frozen=True)
class Asked:
    """A request that a scripted server received; ``peer`` is the port of the connection."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: int


@dataclass
class Scripted:
    """A real HTTP server on the loopback interface whose answers a test writes.

    ``answer`` takes a request and returns status, body (sent as JSON unless it is bytes) and maybe
    headers; None closes the connection without an answer.
    """

    url: str
    answer: Callable[[Asked], tuple[Any, ...] | None]
    asked: list[Asked] = field(default_factory=list)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Asked(self.command, self.path, headers, body, self.client_address[1])
            served.asked.append(request)
            answer = served.answer(request)
            if answer is None:
                self.close_connection = True
                return
            status, body, headers = (*answer, {})[:3]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            kind = "text/html" if isinstance(body, bytes) else "application/json"
            for name, value in (
                {"Content-Type": kind, "Content-Length": len(content)} | headers
            ).items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Scripted(f"http://127.0.0.1:{server.server_port}", lambda asked: (404, b""))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
