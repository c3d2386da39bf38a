from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.captioner.web.fakes import RunningApp, running_app
from tests.captioner.web.page import captions
from tests.captioner.web.page.browser import CHROMIUM, Visit, chromium, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for a module alone: an open one has an event loop, in which others cannot run."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with chromium() as browser:
        yield browser


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningApp]:
    """A server whose captions are known."""
    with running_app(monkeypatch) as app:
        app.script.reply = captions.reply
        yield app


@pytest.fixture
def visit(browser: Browser, app: RunningApp) -> Iterator[Visit]:
    with opened(browser, app.url) as visit:
        yield visit
