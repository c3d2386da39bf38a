"""The page in Chromium, when the server is busy, gone, or wants a token."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.captioner.web.fakes import RunningApp, running_app
from tests.captioner.web.page import captions
from tests.captioner.web.page.browser import Visit, opened

pytestmark = pytest.mark.slow

PREDICTIONS, DESCRIPTION = "**/predictions/captioner", "**/models/captioner"


def answer_first(page: Page, status: int, body: object, **headers: str) -> None:
    """Have the first request for a caption answered otherwise than by the server."""
    page.route(
        PREDICTIONS,
        lambda route: route.fulfill(status=status, json=body, headers=headers),
        times=1,
    )


def test_a_busy_server_is_waited_for(visit: Visit, app: RunningApp, render) -> None:
    answer_first(visit.page, 503, {"code": 503}, **{"Retry-After": "1"})
    app.script.gate.clear()
    visit.drop(photo=render())
    visit.expect_trouble("The captioner is busy.")
    app.script.gate.set()
    visit.expect_caption(captions.CAPTION)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, {"code": 500, "type": "x", "message": "m"}, "The captioner failed at this photo."),
        (502, {"code": 502}, "The captioner does not answer."),
        (408, {}, "The captioner failed at this photo."),
        (
            400,
            {"error": {"code": "invalid_option", "message": "beam_size is 99"}},
            "The captioner cannot use an option: beam_size is 99.",
        ),
    ],
)
def test_what_may_go_better_can_be_tried_again(
    visit: Visit, render, status: int, body: object, message: str
) -> None:
    answer_first(visit.page, status, body)
    visit.drop(photo=render())
    visit.expect_trouble(message)
    visit.expect_said(message)
    visit.find("again").click()
    visit.expect_caption(captions.CAPTION)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": {"code": "invalid_image", "message": "m"}}, "This is no photo that can be"),
        (413, None, "This photo is too large for the captioner."),
        (415, {"error": {"code": "unsupported_media_type", "message": "m"}}, "It reads JPEG, PNG."),
        (404, {"code": 404}, "There is no captioner at this address."),
    ],
)
def test_faults_of_a_photo_are_said_in_plain_words(
    visit: Visit, render, status: int, body: object, message: str
) -> None:
    expect(visit.find("beam_size")).to_have_attribute("placeholder", "10")  # it knows the formats
    answer_first(visit.page, status, body)
    visit.drop(photo=render())
    visit.expect_trouble(message)
    expect(visit.find("again")).to_be_hidden()
    expect(visit.find("sure")).to_be_hidden()


def test_a_server_that_has_gone_is_asked_again_by_hand(
    visit: Visit, app: RunningApp, render
) -> None:
    visit.page.route(PREDICTIONS, lambda route: route.abort("connectionrefused"))
    visit.drop(photo=render())
    visit.expect_trouble("The captioner does not answer.")
    visit.page.unroute(PREDICTIONS)
    visit.find("again").click()
    visit.expect_caption(captions.CAPTION)


def test_photos_that_are_empty_or_too_large_are_not_sent(
    browser: Browser, app: RunningApp, render
) -> None:
    asked = []
    with opened(browser, "about:blank") as visit:
        limits = {"options": {}, "formats": [], "limits": {"bytes_a_photo": 100}}
        visit.page.route(DESCRIPTION, lambda route: route.fulfill(json=limits))
        visit.page.route(PREDICTIONS, lambda route: asked.append(route) or route.abort())
        with visit.page.expect_response(DESCRIPTION):
            visit.page.goto(app.url)
        visit.drop(photo=render(size=(300, 200)))
        visit.expect_trouble("This photo is too large. The captioner takes photos of up to 100")
        visit.drop(photo=b"")
        visit.expect_trouble("This file is empty.")
        assert asked == []


def test_a_server_without_a_description_captions_all_the_same(visit: Visit, render) -> None:
    """TorchServe has none at the port for predictions."""
    visit.page.route(DESCRIPTION, lambda route: route.fulfill(status=405, json={"code": 405}))
    visit.page.reload()
    visit.drop(photo=render())
    visit.expect_caption(captions.CAPTION)


@pytest.mark.parametrize("status", [401, 400])  # TorchServe's is 400
def test_a_token_is_asked_for_once_the_server_wants_one(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, render, status: int
) -> None:
    def refuse(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, status=status if reply.status == 401 else reply.status)

    with running_app(monkeypatch, key="secret") as app, opened(browser, "about:blank") as visit:
        app.script.reply = captions.reply
        for address in (PREDICTIONS, DESCRIPTION):
            visit.page.route(address, refuse)
        visit.page.goto(app.url)
        form, refused = visit.find("token-form"), visit.find("token-form-refused")
        expect(form).to_be_visible()
        expect(refused).to_be_hidden()
        visit.drop(one=render(), two=render("blue"))
        visit.find("token").fill("wrong")
        visit.page.keyboard.press("Enter")
        expect(refused).to_be_visible()
        visit.find("token").fill("secret")
        visit.page.keyboard.press("Enter")
        visit.expect_said("2 of 2 captioned.")
        expect(form).to_be_hidden()
        assert "secret" not in visit.page.content()
    assert all(b"secret" not in body for batch in app.script.batches for body in batch)
