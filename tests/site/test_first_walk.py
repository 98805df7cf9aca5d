"""A new reader's walk, without a word of help: from the cover to a steered answer, and to a neuron in the atlas."""

import re

import pytest
from playwright.sync_api import Page, expect

from .browsing import PATIENCE, PHONE, visiting
from .test_live_model import settle

FEW = 6  # presses of the tab key from the top of a chapter's text to what it is about


def tab_to(page: Page, words: str, within: int) -> None:
    """Press the tab key until the link or button with these words has the focus."""
    for _ in range(within):
        page.keyboard.press("Tab")
        if words in page.evaluate("document.activeElement.textContent"):
            return
    raise AssertionError(f"{words!r} is not among the next {within} places that the keyboard reaches")


def into_the_text(page: Page) -> None:
    """Past the menus, by the page's first link."""
    tab_to(page, "Skip to main content", 1)
    page.keyboard.press("Enter")


def follow(page: Page, words: str, where: str, within: int = FEW) -> None:
    tab_to(page, words, within)
    page.keyboard.press("Enter")
    page.wait_for_url(where)
    page.wait_for_load_state("networkidle")


def test_by_keyboard_from_the_cover_to_a_steered_answer(visit):
    page = visit.open("index.html")
    into_the_text(page)
    follow(page, "the whole model in your browser", "**/book/live.html", within=12)
    into_the_text(page)
    follow(page, "Open the live page", "**/live/index.html*")
    tab_to(page, "Load the model", 2)
    page.keyboard.press("Enter")
    settle(page, 0)
    answer = page.get_by_role("status", name="answer", exact=True)
    unsteered = answer.inner_text()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    slider = page.get_by_role("slider", name="steering strength")
    expect(slider).to_be_enabled()
    for _ in range(12):
        page.keyboard.press("Tab")
        if slider.evaluate("s => s === document.activeElement"):
            break
    page.keyboard.press("End")
    expect(answer).not_to_have_text(unsteered)
    assert visit.console_errors == visit.outside_requests == visit.failed_requests == []


def test_by_keyboard_from_the_cover_to_a_neuron_in_the_atlas(visit):
    page = visit.open("index.html")
    into_the_text(page)
    follow(page, "The atlas", "**/book/atlas.html", within=16)
    into_the_text(page)
    follow(page, "Open the atlas", "**/atlas/index.html*")
    expect(page.locator(".panel h2")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".keys")).to_contain_text("/ searches")
    page.keyboard.press("/")
    page.keyboard.type("beetle")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#first-title")).to_be_focused()
    assert "latent=" in page.evaluate("location.hash")
    assert visit.console_errors == visit.outside_requests == visit.failed_requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_picture_stays_in_sight_and_a_button_leads_from_the_list_to_the_slider(browser, origin, scheme):
    with visiting(browser, origin, PHONE, scheme) as visit:
        page = visit.open("live/index.html")
        expect(page.locator("#facts")).to_be_hidden()  # words of a list that is not there yet
        page.get_by_role("button", name=re.compile("Load the model")).click()
        settle(page, 0)
        expect(page.locator("#facts")).to_be_visible()
        assert page.evaluate("document.activeElement.id") == "picture-title"
        expect(page.locator("#picture")).to_be_in_viewport(ratio=1)
        expect(page.locator("#turn")).to_be_hidden()
        page.get_by_role("radio").first.check()
        page.locator("#turn").click()
        slider, answer = page.locator("#strength"), page.locator("#answer")
        expect(slider).to_be_focused()
        for part in (slider, answer):
            expect(part).to_be_in_viewport(ratio=1)
        unsteered = answer.inner_text()
        page.keyboard.press("End")
        expect(answer).not_to_have_text(unsteered)
        assert visit.console_errors == visit.failed_requests == []


def test_beside_the_list_the_slider_needs_no_such_button(visit):
    page = visit.open("live/index.html#latent=18")
    page.get_by_role("button", name=re.compile("Load the model")).click()
    settle(page, 0)
    expect(page.locator("#strength")).to_be_focused()
    expect(page.locator("#turn")).to_be_hidden()


def test_the_picture_of_the_cover_stands_at_its_edge_on_a_phone(browser, origin):
    with visiting(browser, origin, PHONE) as visit:
        page = visit.open("book/intro.html")
        image, label = (page.locator(f".cover-explorer {part}").first.bounding_box() for part in ("img", "label"))
        assert image["x"] == pytest.approx(label["x"], abs=2)
