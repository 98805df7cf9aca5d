"""The built site in a browser, with the network cut: every page, the search, and the steering page's panel."""

import pytest
import yaml
from playwright.sync_api import expect

from vlm_sae_lib import paths

from .browsing import PHONE, facts_of, serve

STEERING = "notebooks/05_llava_steering.html"


def pages_in_toc() -> list[str]:
    toc = yaml.safe_load((paths.root() / "_toc.yml").read_text())
    files = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    return [f"{file}.html" for file in files]


every_page = pytest.mark.parametrize("page", pages_in_toc())


@every_page
def test_page_has_one_title(facts, page):
    assert len(facts(page).headings) == 1


@every_page
def test_page_leaves_no_error_in_the_console(facts, page):
    assert facts(page).console_errors == []


@every_page
def test_page_asks_nothing_of_the_outside(facts, page):
    assert facts(page).outside_requests == []
    assert facts(page).failed_requests == []


@every_page
def test_every_image_has_alternative_text(facts, page):
    assert facts(page).images_without_alt == []


@every_page
def test_page_does_not_scroll_sideways(facts, page):
    for window, width in facts(page).sideways.items():
        assert width <= window, f"{width} px wide in a window of {window} px"


@every_page
def test_links_within_the_site_lead_somewhere(facts, page, site):
    missing = {link for link in facts(page).links if not (site / link.lstrip("/")).exists()}
    assert missing == set()


@every_page
def test_formulas_and_widgets_are_drawn(facts, page):
    for written, drawn in (facts(page).formulas, facts(page).widgets):
        assert drawn == written


def test_the_first_page_is_the_introduction(visit):
    visit.open("index.html").wait_for_url("**/book/intro.html")


def test_some_page_has_formulas(facts):
    assert any(facts(page).formulas[0] for page in pages_in_toc())


def test_the_checks_see_each_kind_of_fault(browser, tmp_path):
    (tmp_path / "bad.html").write_text(
        """<link rel="icon" href="data:,"><img src="data:," alt=" "><div style="width: 2000px">wide</div>
        <a href="/nowhere.html">lost</a><script src="https://example.org/outside.js"></script>
        <script>console.error("a complaint"); fetch("/missing.json")</script>"""
    )
    for origin in serve(tmp_path):
        bad = facts_of(browser, origin, "bad.html")
    assert bad.headings == []
    assert "a complaint" in bad.console_errors
    assert bad.outside_requests == ["https://example.org/outside.js"]
    assert any("missing.json" in request for request in bad.failed_requests)
    assert len(bad.images_without_alt) == 1
    assert bad.sideways[PHONE["width"]] >= 2000
    assert "/nowhere.html" in bad.links


def test_search_finds_a_word(visit):
    page = visit.open("search.html?q=latent")
    expect(page.locator("#search-results li a[href*='glossary']").first).to_be_visible()
    assert visit.outside_requests == visit.console_errors == []


def panel(page):
    """The steering panel: its range, its choice of neurons, its caption."""
    return (
        page.get_by_role("slider", name="steering strength", exact=True),
        page.get_by_role("combobox", name="neuron", exact=True),
        page.get_by_role("status", name="caption", exact=True),
    )


def captions_along(page, strength, caption) -> list[str]:
    """The captions met on the way from the weakest to the strongest steering, by the keyboard."""
    strength.focus()
    page.keyboard.press("Home")
    seen = [caption.inner_text()]
    while strength.evaluate("r => Number(r.value) < Number(r.max)"):
        before = strength.input_value()
        page.keyboard.press("ArrowRight")
        assert strength.input_value() != before
        seen.append(caption.inner_text())
    return seen


def test_moving_the_strength_changes_the_caption(visit):
    page = visit.open(STEERING)
    strength, neuron, caption = panel(page)
    assert neuron.locator("option").count() >= 2
    for option in range(neuron.locator("option").count()):
        neuron.select_option(index=option)
        seen = captions_along(page, strength, caption)
        assert len(seen) >= 3 and all(text.strip() for text in seen)
        assert len(set(seen)) >= 2, f"neuron {option} says {seen[0]!r} at every strength"
    assert visit.outside_requests == visit.console_errors == []


def test_choosing_a_neuron_changes_the_caption(visit):
    page = visit.open(STEERING)
    strength, neuron, caption = panel(page)
    strength.focus()
    page.keyboard.press("End")
    seen = set()
    for option in range(neuron.locator("option").count()):
        neuron.select_option(index=option)
        seen.add(caption.inner_text())
    assert len(seen) >= 2


def test_the_panel_works_with_a_mouse_on_a_phone(visit):
    page = visit.open(STEERING)
    page.set_viewport_size(PHONE)
    strength, _, caption = panel(page)
    strength.scroll_into_view_if_needed()
    box = strength.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    weak = caption.inner_text()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert caption.inner_text() != weak
