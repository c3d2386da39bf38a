from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from captioner.web.messages import Question
from handler.options import RequestOptions
from handler.replies import Reply
from handler.service import CaptionService, IncomingRequest
from model import Captioner
from model.calibration import Calibration
from model.network import ShowAttendTell
from model.word_map import WordMap
from tests.captioner.web.fakes import RunningApp, running_app
from tests.captioner.web.protocols.cases import PROTOCOLS, Protocol
from tests.handler.fakes import ABOUT

Serve = Callable[..., AbstractContextManager[RunningApp]]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


@pytest.fixture
def captioner(network: ShowAttendTell, word_map: WordMap) -> Captioner:
    return Captioner(network.double(), word_map, Calibration(1.0, 0.0, 0.5))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, captioner: Captioner, tmp_path: Path) -> Serve:
    """Start a server whose scripted worker answers as a real one does, by the tiny captioner."""
    service = CaptionService(captioner, RequestOptions(), ABOUT, tmp_path)

    def reply(question: Question) -> Reply:
        incoming = IncomingRequest(
            question.id, question.route, {"body": question.body}, question.headers
        )
        (answered,) = service.answer([incoming]).requests
        return answered.reply

    @contextmanager
    def started(**options: Any) -> Iterator[RunningApp]:
        with running_app(monkeypatch, **options) as app:
            app.script.reply = reply
            yield app

    return started
