"""The page in Chromium: for every screen, in light and dark, and for those who cannot see it."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.captioner.web.fakes import RunningApp
from tests.captioner.web.page import captions
from tests.captioner.web.page.browser import Visit, opened

pytestmark = pytest.mark.slow

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
}
LUMINANCE = """part => {
    const [red, green, blue] = getComputedStyle(part).backgroundColor.match(/\\d+/g).map(Number);
    return (red + green + blue) / 3;
}"""


def serious_faults(visit: Visit) -> list[str]:
    """Return the faults that axe-core finds and that keep somebody from using the page."""
    results = Axe().run(visit.page)
    return [
        f"{each['id']}: {node['html']}"
        for each in results.response["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_for_anyone(
    browser: Browser, app: RunningApp, render, scheme: str
) -> None:
    with opened(browser, app.url, color_scheme=scheme) as visit:
        assert serious_faults(visit) == []
        visit.choose(render(), b"no photo")
        visit.expect_said("1 of 2 captioned, 1 could not be.")
        visit.page.locator("summary").click()
        visit.words.first.hover()
        assert serious_faults(visit) == []
        visit.find("thumbnails").locator("button").nth(1).click()
        visit.expect_trouble("This is no photo")
        visit.find("token-form").evaluate("form => { form.hidden = false; }")
        assert serious_faults(visit) == []


def test_dark_and_light_follow_the_system(browser: Browser, app: RunningApp) -> None:
    def background(scheme: str) -> float:
        with opened(browser, app.url, color_scheme=scheme) as visit:
            light: float = visit.page.locator("body").evaluate(LUMINANCE)
            return light

    assert background("light") > 200
    assert background("dark") < 60


def test_motion_is_left_out_for_who_asks_for_that(browser: Browser, app: RunningApp) -> None:
    def durations(motion: str) -> str:
        with opened(browser, app.url, reduced_motion=motion) as visit:
            canvas = visit.find("attention")
            found: str = canvas.evaluate("part => getComputedStyle(part).transitionDuration")
            return found

    assert durations("reduce") == "0s"
    assert durations("no-preference") != "0s"


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, app: RunningApp, render) -> None:
    with opened(browser, app.url, **PHONE) as visit:
        expect(visit.find("camera")).to_be_visible()
        assert visit.find("shot").get_attribute("capture") == "environment"
        visit.choose(render(), render("blue"), b"no photo")
        visit.expect_said("2 of 3 captioned")
        visit.page.locator("summary").click()
        width = visit.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["viewport"]["width"]
        visit.words.nth(1).tap()
        assert visit.overlay() is not None
        visit.words.nth(1).tap()
        assert visit.overlay() is None
        visit.expect_caption(captions.CAPTION)


def test_a_wide_screen_has_no_camera_button(visit: Visit) -> None:
    expect(visit.find("choose")).to_be_visible()
    expect(visit.find("camera")).to_be_hidden()
