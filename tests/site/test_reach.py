"""Who can use the pages: what axe sees, the keyboard in wide tables, definitions on focus, icons, paper."""

import re

import pytest
from playwright.sync_api import expect

from .browsing import OURS, PHONE, SERIOUS, findings, visiting

THEME = {
    "region": "the logo of the sidebar stands outside every landmark",
}
"""Findings outside our own content that stay, as the theme makes them, by axe's name of the rule."""


def test_what_axe_finds_in_the_theme_is_listed(visit):
    found = findings(visit.open("book/claims.html"), weights=("minor", "moderate", *SERIOUS))
    assert {name.partition(" ")[0] for name in found} <= set(THEME), found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_code_and_long_tables(browser, origin, scheme):
    for page, part in (("notebooks/02_sae_training.html", ".highlight"), ("book/leaderboard.html", "table")):
        with visiting(browser, origin, scheme=scheme) as visit:
            assert findings(visit.open(page), part) == {}


def test_axe_sees_each_kind_of_fault(visit):
    page = visit.open("book/claims.html")
    page.evaluate("""document.querySelector("article").insertAdjacentHTML("afterbegin",
        '<button></button><p style="color: #bbb; background: #fff">pale</p><img src="data:,">')""")
    assert {"button-name", "color-contrast", "image-alt"} <= {name.partition(" ")[0] for name in findings(page, OURS)}


def test_a_wide_table_can_be_scrolled_by_the_keyboard_and_says_that_there_is_more(browser, origin):
    with visiting(browser, origin, PHONE) as visit:
        page = visit.open("book/experiments/uniqueness.html")
        table = page.locator(".table-box.scrolls").first
        expect(table).to_have_attribute("tabindex", "0")
        assert "wider than the page" in table.get_attribute("aria-label")
        table.focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("box => box.scrollLeft > 0", arg=table.element_handle())
        page.set_viewport_size({"width": 2400, "height": 900})
        expect(page.locator(".table-box[tabindex]")).to_have_count(0)


def test_the_definition_of_a_word_shows_on_focus(visit):
    page = visit.open("book/intro.html")
    word = page.locator("a.term", has_text="latent").first
    word.focus()
    shown = page.get_by_role("tooltip")
    expect(shown).to_contain_text("One unit of a sparse autoencoder")
    assert word.get_attribute("aria-describedby") == shown.get_attribute("id")
    page.keyboard.press("Tab")
    expect(shown).to_have_count(0)


def test_the_fonts_hold_every_icon(site):
    from fontTools.ttLib import TTFont

    fonts = [TTFont(path) for path in (site / "_static" / "fonts").glob("*.woff")]
    held = set().union(*(font.getBestCmap() for font in fonts))
    style = (site / "_static" / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    asked = {int(code, 16) for code in re.findall(r'before\{content:"\\([0-9a-f]{4})"\}', style)}
    assert len(asked) > 5 and asked <= held


def test_a_page_printed_from_the_dark_theme_is_black_on_white(visit):
    visit.page.emulate_media(color_scheme="dark", media="print")
    page = visit.open("book/claims.html")
    for place in ("article p", "article h1", ".claim .admonition p", "article p a"):
        colour = page.locator(place).first.evaluate("e => getComputedStyle(e).color")
        assert max(int(part) for part in re.findall(r"\d+", colour)[:3]) < 170, (place, colour)
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
