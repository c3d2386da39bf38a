"""The page in Chromium: photos come in, captions and attention are shown."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, expect

from captioner.bulk.row import ALTERNATIVES, COLUMNS
from captioner.bulk.tables import csv_table
from model.attention_overlay import overlay
from tests.captioner.web.fakes import RunningApp, wait_until
from tests.captioner.web.page import captions
from tests.captioner.web.page.browser import SECONDS, Visit, opened
from tests.captioner.web.servers import RunningWeb

pytestmark = pytest.mark.slow

# The page draws as the model does, but for rounding and how the browser decodes a photo.
ROUNDING = 3.0  # of 255


def test_a_photo_is_dropped_and_its_caption_read(browser: Browser, web: RunningWeb, render) -> None:
    """By a real captioner: the caption, and the attention of a word, are what the API says."""
    photo = render(size=(300, 200), format="PNG")
    headers = {"X-Caption-Return-Attention": "true", "Content-Type": "image/png"}
    reply = requests.post(web.predictions, photo, headers=headers, timeout=SECONDS).json()
    with opened(browser, f"{web.url}/") as visit:
        visit.drop(photo=photo)
        visit.expect_caption(reply["caption"])
        assert visit.overlay() is None
        visit.words.first.hover()
        first = visit.overlay()
        maps = [np.array(each["weights"]) for each in reply["attention"]["maps"]]
        expected = overlay(Image.open(io.BytesIO(photo)).convert("RGB"), maps[0])
        assert first is not None
        assert np.abs(first - np.asarray(expected)).max() <= ROUNDING
        expect(visit.find("confidence")).to_have_attribute(
            "aria-valuenow", str(round(100 * reply["confidence"]))
        )


def test_pointing_at_words_shows_where_each_looked(visit: Visit, render) -> None:
    photo = render(size=(300, 200), format="PNG")
    visit.drop(photo=photo)
    visit.expect_caption(captions.CAPTION)
    rgb = Image.open(io.BytesIO(photo)).convert("RGB")
    for i in range(len(captions.WORDS)):
        visit.words.nth(i).hover()
        shown = visit.overlay()
        assert shown is not None
        expected = np.asarray(overlay(rgb, np.array(captions.weights(i))))
        assert np.abs(shown - expected).max() <= ROUNDING
    visit.page.mouse.move(0, 0)
    assert visit.overlay() is None
    visit.words.first.click()
    visit.page.mouse.move(0, 0)
    assert visit.overlay() is not None  # it stays until another click
    visit.words.first.click()
    assert visit.overlay() is None


def test_the_keyboard_reaches_everything(visit: Visit, render) -> None:
    visit.drop(photo=render())
    visit.expect_said(captions.CAPTION)
    visit.find("choose").focus()
    visit.page.keyboard.press("Tab")
    expect(visit.words.first).to_be_focused()  # the words are one stop
    looked = [visit.overlay()]
    for key, word in (("ArrowRight", 1), ("End", 3), ("ArrowRight", 0), ("ArrowLeft", 3)):
        visit.page.keyboard.press(key)
        expect(visit.words.nth(word)).to_be_focused()
        looked.append(visit.overlay())
    assert all(each is not None for each in looked)
    assert (looked[0] == looked[3]).all()
    assert (looked[0] != looked[1]).any()
    visit.page.keyboard.press("Escape")
    assert visit.overlay() is None
    visit.page.keyboard.press("Tab")
    expect(visit.find("copy")).to_be_focused()


def test_a_caption_is_read_with_its_confidence_and_alternatives(visit: Visit, render) -> None:
    visit.drop(photo=render())
    visit.expect_said(f"Caption: {captions.CAPTION}. 77 % sure: likely a good caption.")
    expect(visit.find("image")).to_have_attribute("alt", captions.CAPTION)
    others = visit.find("alternatives").locator("li")
    expect(others).to_have_text([f"{text} (50 %)" for text in captions.OTHERS])
    meter = visit.find("confidence").bounding_box()
    fill = visit.find("fill")
    assert meter
    share = fill.evaluate("fill => Number.parseFloat(fill.style.width)")
    assert share == pytest.approx(100 * captions.CONFIDENCE)


def test_ten_photos_are_a_gallery_and_a_table(visit: Visit, app: RunningApp, render) -> None:
    photos = [render(size=(40 + i, 30)) for i in range(9)]
    app.script.gate.clear()
    visit.choose(*photos, b"no photo")
    expect(visit.find("progress-words")).to_have_text("0 of 10 captioned")
    app.script.gate.set()
    visit.expect_said("9 of 10 captioned, 1 could not be.")
    assert max(map(len, app.script.batches)) <= 4  # a few at once
    thumbnails = visit.find("thumbnails").locator("button")
    expect(thumbnails).to_have_count(10)
    expect(visit.find("progress")).to_be_hidden()
    thumbnails.nth(9).click()
    visit.expect_trouble("This is no photo that can be read.")
    expect(thumbnails.nth(9)).to_have_attribute("aria-pressed", "true")
    thumbnails.nth(1).click()
    visit.expect_caption(captions.CAPTION)
    with visit.page.expect_download() as download:
        visit.find("download").click()
    assert download.value.suggested_filename == "captions.csv"
    path = download.value.path()
    assert csv.reader(path.read_text().splitlines()).__next__() == [*COLUMNS, ALTERNATIVES]
    rows = list(csv_table.read(path))
    assert [row["photo"] for row in rows] == [f"photo {i}.png" for i in range(10)]
    assert [row["caption"] for row in rows] == [captions.CAPTION] * 9 + [None]
    assert (rows[0]["confidence"], rows[0]["log_prob"], rows[0]["model"]) == (0.77, -9.8765, "d1")
    assert [each["caption"] for each in rows[0][ALTERNATIVES]] == captions.OTHERS
    assert rows[9]["error"].startswith("This is no photo")
    visit.find("clear").click()
    expect(visit.find("shown")).to_be_hidden()
    expect(visit.find("gallery")).to_be_hidden()
    expect(visit.find("choose")).to_be_focused()


def test_photos_are_pasted_and_what_is_none_is_said(visit: Visit, render) -> None:
    visit.paste()
    expect(visit.find("refusal")).to_have_text("There is no photo in the clipboard.")
    visit.drop()
    expect(visit.find("refusal")).to_contain_text("Save the picture first")
    visit.paste(image=render())
    visit.expect_caption(captions.CAPTION)
    expect(visit.find("refusal")).to_be_empty()


def test_options_are_sent_and_their_faults_are_said(visit: Visit, app: RunningApp, render) -> None:
    asked: list[dict[str, str]] = []

    def record(question):
        asked.append(dict(question.headers))
        return captions.reply(question)

    app.script.reply = record
    expect(visit.find("beam_size")).to_have_attribute("placeholder", "10")
    visit.drop(photo=render())
    visit.expect_caption(captions.CAPTION)
    assert "x-caption-beam-size" not in asked[-1]
    assert asked[-1]["x-caption-num-captions"] == "3"
    visit.page.locator("summary").click()
    visit.find("beam_size").fill("2")
    visit.find("num_captions").fill("1")
    visit.find("consensus").select_option("no")
    before = len(asked)
    visit.find("recaption").click()
    wait_until(lambda: len(asked) > before)
    expect(visit.find("others")).to_be_hidden()
    sent = {name: value for name, value in asked[-1].items() if name.startswith("x-caption")}
    assert sent == {
        "x-caption-beam-size": "2",
        "x-caption-num-captions": "1",
        "x-caption-consensus": "false",
        "x-caption-return-attention": "true",
        "x-caption-return-image": "true",
    }


def test_a_photo_that_the_browser_cannot_show_has_its_attention(visit: Visit) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(file, "TIFF")
    visit.drop(photo=file.getvalue())
    visit.expect_caption(captions.CAPTION)
    expect(visit.find("unseen")).to_be_visible()
    visit.words.first.hover()
    shown = visit.overlay()
    assert shown is not None
    assert shown.shape == (40, 60, 3)


def test_the_caption_is_copied(browser: Browser, app: RunningApp, render) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with opened(browser, app.url, permissions=permissions) as visit:
        visit.drop(photo=render())
        visit.expect_caption(captions.CAPTION)
        visit.find("copy").click()
        expect(visit.find("copy")).to_have_text("Copied")
        copied = visit.page.evaluate("() => navigator.clipboard.readText()")
        assert copied == captions.CAPTION
        assert json.loads(visit.page.evaluate("() => JSON.stringify({...localStorage})")) == {}
