"""The page in Chromium: what people do there, and what they see."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SECONDS = 300.0  # in which what must happen happens, on a busy machine
MILLI = 1e3

# The files of a drag or a clipboard, as the page gets them.
TRANSFER = """files => {
    const transfer = new DataTransfer();
    for (const {name, type, content} of files) {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, {type}));
    }
    return transfer;
}"""
PASTE = """transfer => document.dispatchEvent(
    new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true}))"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium, without its sandbox: tests may run as root."""
    expect.set_options(timeout=MILLI * SECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=MILLI * SECONDS
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, **settings: Any) -> Iterator[Visit]:
    """Open the page in a new profile; fail if it breaks its own policy or throws."""
    context = browser.new_context(**{"reduced_motion": "reduce", **settings})
    context.set_default_timeout(MILLI * SECONDS)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    try:
        page.goto(url)
        yield Visit(page)
        # Chromium reports each reply that is an error, and those are wanted here.
        assert [each for each in faults if "Failed to load resource" not in each] == []
    finally:
        context.close()


class Visit:
    """A page that is open."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def find(self, id: str) -> Locator:
        return self.page.locator(f"#{id}")

    def drop(self, **files: bytes) -> None:
        self.page.dispatch_event("main", "drop", {"dataTransfer": self._transfer(files)})

    def paste(self, **files: bytes) -> None:
        self.page.evaluate(PASTE, self._transfer(files))

    def choose(self, *files: bytes) -> None:
        named = [
            {"name": f"photo {i}.png", "mimeType": "image/png", "buffer": each}
            for i, each in enumerate(files)
        ]
        self.find("files").set_input_files(named)

    def _transfer(self, files: dict[str, bytes]) -> Any:
        contents = [
            {"name": f"{name}.png", "type": "image/png", "content": base64.b64encode(file).decode()}
            for name, file in files.items()
        ]
        return self.page.evaluate_handle(TRANSFER, contents)

    def expect_caption(self, caption: str) -> None:
        expect(self.find("words")).to_have_text(caption)

    def expect_trouble(self, message: str) -> None:
        expect(self.find("trouble")).to_contain_text(message)

    def expect_said(self, text: str) -> None:
        """Wait until screen readers have been given a text."""
        expect(self.find("announcement")).to_contain_text(text)

    @property
    def words(self) -> Locator:
        return self.find("words").locator("button")

    def overlay(self) -> np.ndarray | None:
        """Return the attention that lies over the photo, shape = (H, W, 3); None if none does."""
        canvas = self.find("attention")
        if "seen" not in (canvas.get_attribute("class") or ""):
            return None
        address = canvas.evaluate("canvas => canvas.toDataURL()")
        png = base64.b64decode(address.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)
