"""The tiny captioner and the rendered photos that the tests share."""

from __future__ import annotations

import io
import json
import os
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

# What makes a test slow (see `scripts/test --fast`), besides the marks in the test files: fixtures
# that start a server or train, and tests that took more than about two seconds of a quiet machine.
SLOW_FIXTURES = {"fresh", "proxy", "serving", "site", "training"}
SLOW_TESTS = {
    "test_a_command_limits_the_spinning_of_openmp",
    "test_a_failed_start_quotes_the_logs",
    "test_a_heic_is_read_from_a_thumbnail_that_is_large_enough",
    "test_a_log_configuration_of_the_user_is_used",
    "test_a_lost_host_comes_back_and_the_training_ends_as_if_nothing_had_been",
    "test_a_prepared_network_writes_what_the_trained_one_writes",
    "test_a_server_and_its_workers_have_the_limits",
    "test_a_training_reads_and_writes_whole_words",
    "test_a_worker_runs_its_archives_code",
    "test_an_archive_that_is_listed_is_never_written_over",
    "test_archives_are_written_where_they_are_served_from",
    "test_captions_do_not_hang_on_precision_or_company",
    "test_decoded_or_refused_without_a_warning_in_bounded_memory",
    "test_decoder_of_heic_is_loaded_late",
    "test_each_line_has_its_file_and_a_photo_is_in_none",
    "test_explaining_needs_neither_training_nor_matplotlib",
    "test_features_equal_timms",
    "test_from_photos_to_a_confidence",
    "test_intervals_hold_the_value_and_shrink_with_more_photos",
    "test_it_equals_the_reference_scorer",
    "test_loader_processes_give_the_same_batches",
    "test_logs_are_rotated",
    "test_micro_batches_change_nothing",
    "test_needs_no_matplotlib",
    "test_prepare_train_evaluate_and_package",
    "test_processes_share_the_file_alone",
    "test_speed",
    "test_start",
    "test_swaps_on_a_real_server",
    "test_the_image_captions_and_stops",
    "test_the_image_is_small_beside_torch",
    "test_the_output_of_the_container_has_everything_but_photos",
    "test_the_stack_comes_up",
    "test_the_table_has_every_score",
    "test_threads",
    "test_threads_of_a_process_that_fails",
    "test_two_processes_train_like_one",
    "test_without_a_name_all_run",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = getattr(item, "originalname", item.name)
        fixtures = set(getattr(item, "fixturenames", ()))
        if hasattr(item, "callspec"):
            fixtures -= item.callspec.params.keys()  # a parameter of that name is no fixture
        if name in SLOW_TESTS or fixtures & SLOW_FIXTURES:
            item.add_marker(pytest.mark.slow)


RenderPhoto = Callable[..., bytes]


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
