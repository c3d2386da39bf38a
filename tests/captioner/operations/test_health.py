"""The health check, against a scripted server that plays both of TorchServe's APIs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from captioner.cli.main import main
from captioner.operations import health
from captioner.operations.health import Clock, NotReady, wait_until_ready

CAPTION = {"caption": "a dog", "log_prob": -1.5}
DOWN = "http://127.0.0.1:9"  # nothing may listen below 1024


class FakeClock(Clock):
    """A clock that advances by sleeping, and a little whenever it is read."""

    def __init__(self, look: float = 0.0) -> None:
        self.time, self.look = 0.0, look
        self.slept: list[float] = []
        super().__init__(self._now, self._sleep)

    def _now(self) -> float:
        self.time += self.look
        return self.time

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def described(*states: str, version: str = "1.0") -> list[dict[str, Any]]:
    """TorchServe's description of a version whose workers have these states."""
    workers = [
        {"id": str(9000 + i), "status": state, "pid": 100 + i} for i, state in enumerate(states)
    ]
    return [
        {
            "modelName": "captioner",
            "modelVersion": version,
            "modelUrl": "captioner.mar",
            "minWorkers": len(states),
            "batchSize": 16,
            "responseTimeout": 60,
            "workers": workers,
        }
    ]


def both(management: tuple[Any, ...] | None, prediction: tuple[Any, ...] | None) -> Any:
    return lambda asked: management if asked.method == "GET" else prediction


@pytest.fixture
def check(scripted) -> Iterator[Any]:
    def run(model: str = "captioner", seconds: float = 0, clock: Clock | None = None) -> str:
        found = wait_until_ready(scripted.url, scripted.url + "/", model, seconds, clock)
        return str(found)

    return run


def test_ready_is_workers_and_a_caption(check, scripted) -> None:
    scripted.answer = both((200, described("READY", version="2.1")), (200, CAPTION))
    assert check(clock=FakeClock(look=0.043)) == "ready: captioner 2.1, 1 worker, answered in 43 ms"
    asked, captioned = scripted.asked
    assert (asked.method, asked.path) == ("GET", "/models/captioner")
    assert (captioned.method, captioned.path) == ("POST", "/predictions/captioner")
    photo = Image.open(io.BytesIO(captioned.body))
    assert photo.size == (64, 64)

    scripted.answer = both((200, described("READY", "UNLOADING", "READY")), (200, CAPTION))
    line = check("my dogs", clock=FakeClock())
    assert line == "ready: my dogs 1.0, 2 workers, answered in 0 ms"
    assert [a.path for a in scripted.asked[2:]] == ["/models/my%20dogs", "/predictions/my%20dogs"]


NOT_FOUND = {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: captioner"}
BUSY = {"code": 503, "type": "ServiceUnavailableException", "message": "no worker is available"}
READY = (200, described("READY"))


@pytest.mark.parametrize(
    ("management", "prediction", "message"),
    [
        (
            (404, NOT_FOUND),
            None,
            "management, GET /models/captioner: Model not found: captioner (404)",
        ),
        ((200, described()), None, "captioner 1.0 has no READY worker (none at all)"),
        (
            (200, described("UNLOADING", "LOADING", "UNLOADING")),
            None,
            "captioner 1.0 has no READY worker (2 UNLOADING, 1 LOADING)",
        ),
        ((500, b""), None, "GET /models/captioner: status 500 Internal Server Error (500)"),
        ((200, b"<h1>Welcome</h1>"), None, "/models/captioner answers no JSON; is it TorchServe"),
        ((200, {"models": []}), None, "/models/captioner describes no model"),
        ((200, []), None, "describes no model"),
        ((200, [{"modelVersion": "1.0"}]), None, "describes no model"),
        (None, None, "management: http://127.0.0.1"),
        (READY, (503, BUSY), "captioner 1.0 captions no photo: no worker is available (503)"),
        (READY, (400, {"error": {"code": "x", "message": "m"}}), "captions no photo: m (400)"),
        (READY, (200, b"<h1>Welcome</h1>"), "captions no photo: http://127.0.0.1"),
        (READY, None, "captions no photo: http://127.0.0.1"),
    ],
)
def test_what_is_missing_is_said(
    check, scripted, management: Any, prediction: Any, message: str
) -> None:
    scripted.answer = both(management, prediction)
    with pytest.raises(NotReady) as raised:
        check(clock=FakeClock())
    assert str(raised.value).startswith("not ready: ")
    assert message in str(raised.value)
    expected = ["GET"] if management != READY else ["GET", "POST"]
    assert [asked.method for asked in scripted.asked] == expected  # each once: no retries


def test_a_wait_ends_when_it_is_ready(check, scripted) -> None:
    managements = iter([(404, NOT_FOUND), (200, described("LOADING")), READY, READY])
    predictions = iter([(503, BUSY), (200, CAPTION)])
    scripted.answer = lambda asked: next(managements if asked.method == "GET" else predictions)
    clock = FakeClock()
    assert check(seconds=60, clock=clock).startswith("ready: ")
    assert clock.slept == [0.5] * 3


def test_a_wait_is_for_the_key_file_too(scripted, tmp_path: Path) -> None:
    """TorchServe writes it when it starts, and not at one go."""
    path = tmp_path / "key_file.json"
    keys = {"management": {"key": "m"}, "inference": {"key": "i"}}
    contents = iter(["", json.dumps(keys)])

    class Starting(FakeClock):
        def _sleep(self, seconds: float) -> None:
            super()._sleep(seconds)
            path.write_text(next(contents))

    scripted.answer = both(READY, (200, CAPTION))
    clock = Starting()
    found = wait_until_ready(scripted.url, scripted.url, "captioner", 60, clock, path)
    assert str(found).startswith("ready: ")
    assert clock.slept == [0.5] * 2
    tokens = [(asked.method, asked.headers["authorization"]) for asked in scripted.asked]
    assert tokens == [("GET", "Bearer m"), ("POST", "Bearer i")]


def test_a_wait_has_an_end(check, scripted) -> None:
    scripted.answer = both((404, NOT_FOUND), None)
    clock = FakeClock()
    with pytest.raises(
        NotReady, match=r"^not ready after 3 s: management, GET /models/captioner: Model not"
    ):
        check(seconds=3, clock=clock)
    assert clock.time < 3
    assert len(scripted.asked) == 6


@pytest.mark.parametrize(
    ("seconds", "timeouts"),
    [(0, [10]), (0.2, [1]), (12, [10, 7, 2])],
)
def test_no_attempt_outlasts_the_wait_by_much(
    monkeypatch: pytest.MonkeyPatch, seconds: float, timeouts: list[float]
) -> None:
    """Each attempt here takes four and a half seconds."""
    clock, given = FakeClock(), []

    def check(
        url: str, management: str, model: str, timeout: float, clock: FakeClock, key_file: None
    ) -> None:
        given.append(timeout)
        clock.time += 4.5
        raise NotReady("nothing is")

    monkeypatch.setattr(health, "check_once", check)
    with pytest.raises(NotReady):
        wait_until_ready(DOWN, DOWN, "captioner", seconds, clock)
    assert given == timeouts


def test_the_command(scripted, capsys: pytest.CaptureFixture[str]) -> None:
    scripted.answer = both(READY, (200, CAPTION))
    addresses = ["--url", scripted.url, "--management", scripted.url]
    assert main(["health", *addresses]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ready: captioner 1.0, 1 worker, answered in ")
    assert err == ""

    scripted.answer = both((200, described()), None)
    assert main(["health", *addresses, "--model", "dogs"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "captioner: not ready: dogs 1.0 has no READY worker (none at all)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--management", DOWN], f"not ready: management: {DOWN} does not answer"),
        (["--management", "localhost"], "url is 'localhost'; it must be like http://"),
        (["--url", "localhost"], "url is 'localhost'; it must be like http://"),
        (["--wait", "-1"], "wait is -1.0; it must be at least 0 seconds"),
        (["--wait", "nan"], "wait is nan; it must be at least 0 seconds"),
    ],
)
def test_one_line_names_the_fault(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err


def test_help_says_it_for_curl(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["health", "--help"])
    assert exit.value.code == 0
    assert "curl -fsS http://127.0.0.1:8081/models/captioner | grep" in capsys.readouterr().out
