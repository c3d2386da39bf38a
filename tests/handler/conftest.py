from __future__ import annotations

from pathlib import Path

import pytest

from handler.captioner_handler import CaptionerHandler
from handler.metrics import Metrics
from handler.options import RequestOptions
from handler.service import CaptionService
from handler.shadow import FOLDER, Shadow
from model import Captioner
from model.calibration import Calibration
from model.network import ShowAttendTell
from model.word_map import WordMap
from tests.handler.fakes import ABOUT, FakeMetrics


@pytest.fixture
def handler(network: ShowAttendTell, word_map: WordMap, tmp_path: Path) -> CaptionerHandler:
    """The handler as ``initialize`` leaves it, with the tiny captioner."""
    handler, options = CaptionerHandler(), RequestOptions()
    captioner = Captioner(network.double(), word_map, Calibration(1.0, 0.0, 0.5))
    handler.service = CaptionService(captioner, options, ABOUT, tmp_path)
    handler.metrics = Metrics(FakeMetrics(), "captioner", "1.2")
    handler.shadow = Shadow(tmp_path / FOLDER, "1.2", options)
    return handler
