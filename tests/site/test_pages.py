"""The first page, the claims page, the search: what a reader does there."""

import json
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from vlm_sae_lib import paths
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.judging import judged
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.publishing import cover

from . import cover_picture
from .browsing import PHONE

INTRO, PAGE = "book/intro.html", "book/claims.html"


@pytest.fixture(scope="module")
def words():
    return {one.claim.key: one.verdict for one in judged(Evidence())}


def test_the_slider_of_the_first_page_shows_what_was_computed(visit):
    told = json.loads(cover.path().read_text(encoding="utf-8"))
    page = visit.open(INTRO)
    slider = page.get_by_role("slider")
    for place, key in ((0, "Home"), (len(told["multiples"]), "End")):
        slider.focus()
        page.keyboard.press(key)
        steered = told["steered"][place - 1] if place else told["unsteered"]
        pushed = told["random"][place - 1][0] if place else told["unsteered"]
        expect(page.locator(".ce-steered")).to_have_text(steered)
        expect(page.locator(".ce-random")).to_have_text(pushed)
    assert visit.console_errors == []


def test_the_picture_of_the_readme_is_small_and_shows_the_first_page_of_today(site):
    """If not: ``python -m tests.site.cover_picture``."""
    assert paths.cover().stat().st_size < 150_000
    with Image.open(paths.cover()) as picture:
        assert picture.width > 500 and picture.text[cover_picture.MADE_FROM] == cover_picture.made_from(site)


def test_the_first_page_begins_with_it_and_links_the_claims_and_the_paper(visit):
    page = visit.open(INTRO)
    assert page.locator(".cover-explorer").bounding_box()["y"] < 400
    for address in ("arxiv.org/abs/2504.02821", "claims.html", "05_llava_steering.html", "tour.html"):
        assert page.locator(f"article a[href*='{address}']").count(), address


def test_the_first_page_tells_the_same_without_a_script(browser, origin):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{origin}/{INTRO}")
    expect(page.get_by_role("slider")).to_have_count(0)
    page.get_by_text("Every strength as a table").click()
    expect(page.locator(".cover-explorer tbody tr").last).to_be_visible()
    context.close()


def test_each_line_of_the_strip_leads_to_its_claim(visit, words):
    page = visit.open(INTRO)
    lines = page.locator(".verdict-strip a")
    assert lines.count() == len(CLAIMS)
    for claim, line in zip(CLAIMS, lines.all(), strict=True):
        assert words[claim.key].value in line.inner_text() and claim.title in line.inner_text().replace("’", "'")
        assert line.get_attribute("href").endswith(f"claims.html#claim-{claim.key}")
    lines.last.click()
    page.wait_for_url(f"**/claims.html#claim-{CLAIMS[-1].key}")
    assert page.locator(f"#claim-{CLAIMS[-1].key}").bounding_box()["y"] < page.viewport_size["height"]


def test_the_contents_of_the_claims_page_name_every_claim(visit):
    page = visit.open(PAGE)
    for claim in CLAIMS:
        expect(page.locator(f".bd-toc a[href='#claim-{claim.key}']")).to_have_count(1)


def test_the_choice_of_a_word_shows_those_claims_and_no_others(visit, words):
    page = visit.open(PAGE)
    for verdict in set(words.values()):
        page.locator(".verdict-choice label", has_text=verdict.value).click()
        shown = {claim.key for claim in CLAIMS if page.locator(f"#claim-{claim.key}").is_visible()}
        assert shown == {key for key, word in words.items() if word is verdict}
    page.locator(".verdict-choice label", has_text="all").click()
    assert all(page.locator(f"#claim-{claim.key}").is_visible() for claim in CLAIMS)


def test_a_link_to_a_claim_that_is_not_chosen_shows_it(visit, words):
    hidden = next(key for key, word in words.items() if word is not Verdict.HOLDS)
    page = visit.open(PAGE)
    page.locator(".verdict-choice label", has_text=Verdict.HOLDS.value).first.click()
    expect(page.locator(f"#claim-{hidden}")).to_be_hidden()
    page.locator(f".bd-toc a[href='#claim-{hidden}']").click()
    expect(page.locator(f"#claim-{hidden}")).to_be_visible()


def test_the_strips_of_the_claims_have_their_words_and_can_be_read_on_a_phone(visit):
    page = visit.open(PAGE)
    boxes = page.locator(".figure-box", has=page.locator("img[src*='claim-']"))
    strips = boxes.locator("img")
    assert strips.count() > 5
    for image in strips.all():
        assert image.get_attribute("src").endswith(".svg")
        assert " islands. published island: " in image.get_attribute("alt")
    page.set_viewport_size(PHONE)
    strips.first.scroll_into_view_if_needed()
    box = boxes.first
    expect(box).to_have_attribute("aria-label", re.compile("^Figure, wider than the page: "))
    assert box.get_attribute("tabindex") == "0" and box.evaluate("e => e.scrollWidth > e.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize(("query", "first"), [
    ("taxonomy", "notebooks/04_taxonomy_alignment"), ("activation", "notebooks/01|glossary.html#term-activation"),
    ("steering", "notebooks/05|glossary.html#term-steering"), ("plan", "book/analysis_plan"),
    ("benchmarks", "book/benchmarks"), ("layers", "book/experiments/layers"),
])  # fmt: skip
def test_the_search_puts_what_a_word_means_and_the_story_first(visit, query, first):
    page = visit.open(f"search.html?q={query}")
    expect(page.locator("#search-results li a").first).to_have_attribute("href", re.compile(first))
