"""What must be true of every page of the book, visited once, wide and then narrow: whole, light, open to all."""

import gzip
import re
from pathlib import Path

import pytest

from .browsing import PHONE, STEERING, Facts, facts_of, pages_in_toc, serve

TEXT = (".html", ".css", ".js", ".svg", ".json")
AT_MOST = 1_500_000
OF_WORDS = 600_000
"""A page without a picture and without a formula, even from a server that does not compress."""


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
def test_every_letter_of_a_drawing_can_be_read_on_a_phone(facts, page):
    assert [(height, text) for height, text in facts(page).letters if height < 9] == []


def test_some_page_has_letters_in_drawings_of_each_kind(facts):
    """In the page itself, as in notebook 3, and in files beside it."""
    assert facts("notebooks/03_monosemanticity_score.html").letters and facts("book/experiments/layers.html").letters


@every_page
def test_links_within_the_site_lead_somewhere(facts, page, site):
    missing = {link for link in facts(page).links if not (site / link.lstrip("/")).exists()}
    assert missing == set()


@every_page
def test_formulas_and_widgets_are_drawn(facts, page):
    for written, drawn in (facts(page).formulas, facts(page).widgets):
        assert drawn == written
    assert facts(page).refused == []


@every_page
def test_axe_finds_nothing_serious_in_our_content(facts, page):
    assert facts(page).barriers == {"light": {}, "dark": {}}


@every_page
def test_every_icon_of_a_page_is_drawn(facts, page):
    """Each icon has a glyph; ``test_reach`` asks whether the cut font holds it, else it were a box, as wide as any."""
    icons = facts(page).icons
    assert icons
    assert [name for name, content in icons if re.fullmatch("none|normal|", content)] == []


def weights(site: Path, facts: Facts) -> dict[str, tuple[int, int]]:
    """By file that a page asks for before it is scrolled: its bytes, and its bytes compressed."""
    there = {file: (site / file).read_bytes() for file in facts.files if (site / file).is_file()}
    return {
        file: (len(content), len(gzip.compress(content)) if file.endswith(TEXT) else len(content))
        for file, content in there.items()
    }


@every_page
def test_a_page_is_light(facts, site, page):
    files = weights(site, facts(page))
    assert sum(sent for _, sent in files.values()) <= AT_MOST, sorted(files.items(), key=lambda one: -one[1][1])[:5]


@every_page
def test_a_page_of_words_is_lighter_still(facts, site, page):
    files = weights(site, facts(page))
    if any(file.startswith("_images/") or "mathjax" in file for file in files) or page.startswith("notebooks/"):
        pytest.skip("it has pictures or formulas")
    assert sum(whole for whole, _ in files.values()) <= OF_WORDS, sorted(files.items(), key=lambda one: -one[1][0])[:5]


@every_page
def test_a_page_asks_for_no_script_that_it_does_not_use(facts, site, page):
    body, files = (site / page).read_text(encoding="utf-8"), " ".join(facts(page).files)
    for script, use in (("mathjax", 'class="math'), ("embed.js", "widget-view+json")):
        assert (script in files) == (use in body), script
    assert "fontawesome.js" not in files and "searchindex.js" not in files


def test_later_pictures_wait(facts):
    assert len([file for file in facts(STEERING).files if file.startswith("_images/")]) < 5


def test_some_page_has_formulas(facts):
    assert any(facts(page).formulas[0] for page in pages_in_toc())


def test_the_checks_see_each_kind_of_fault(browser, tmp_path):
    (tmp_path / "bad.html").write_text(
        """<link rel="icon" href="data:,"><img src="data:," alt=" "><div style="width: 2000px">wide</div>
        <a href="/nowhere.html">lost</a>
        <article class="bd-article"><button></button><p style="color: #bbb; background: #fff">pale</p></article>
        <figure><svg width="400" viewBox="0 0 800 100"><text y="50" font-size="12">tiny</text></svg></figure>
        <figure><img src="bad.svg" width="200" alt="a drawing"></figure>
        <i class="fa-none"></i><script src="https://example.org/outside.js"></script>
        <script>console.error("a complaint"); fetch("/missing.json")</script>"""
    )
    (tmp_path / "bad.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 100"><text y="50" font-size="12">small</text></svg>'
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
    assert ["fa-none", "none"] in bad.icons
    assert [(round(height), text) for height, text in bad.letters] == [(6, "tiny"), (6, "small")]
    assert "button-name (critical)" in bad.barriers["light"]
    assert "color-contrast (serious)" in bad.barriers["dark"]
