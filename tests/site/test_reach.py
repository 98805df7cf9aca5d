"""Who can use the pages: axe-core on each of them, the keyboard in wide tables, definitions on focus, icons, paper."""

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from .browsing import PHONE, WIDE, visiting
from .test_site import every_page

SERIOUS = ("serious", "critical")
OURS = {"include": [["article.bd-article"]]}
OPTIONS = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": [
    "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]}}  # fmt: skip
THEME = {
    "region": "the logo of the sidebar stands outside every landmark",
}
"""Findings outside our own content that stay, as the theme makes them, by axe's name of the rule."""


def findings(page, context=None) -> dict[str, list[str]]:
    """By rule and weight: the places on which axe finds fault."""
    found = Axe().run(page, context=context, options=OPTIONS).response["violations"]
    return {
        f"{rule['id']} ({rule['impact']})": [" ".join(map(str, node["target"])) for node in rule["nodes"]]
        for rule in found
        if rule["impact"] in SERIOUS or context is None
    }


@every_page
def test_axe_finds_nothing_serious_in_our_content(visit, page):
    opened = visit.open(page)
    for scheme, window in (("light", WIDE), ("dark", PHONE)):
        opened.emulate_media(color_scheme=scheme)
        opened.set_viewport_size(window)
        opened.wait_for_timeout(300)  # until colours have changed, and wide tables are known as such
        assert findings(opened, OURS) == {}, (scheme, window)


def test_what_axe_finds_in_the_theme_is_listed(visit):
    found = findings(visit.open("book/claims.html"))
    assert {name.partition(" ")[0] for name in found} <= set(THEME), found


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


@every_page
def test_every_icon_of_a_page_is_drawn(browser, origin, page):
    """Each icon has a glyph, and the cut font holds it: what it lacks would be a box, as wide as any."""
    with visiting(browser, origin) as visit:
        icons = visit.open(page).evaluate(
            """[...document.querySelectorAll("[class*='fa-']")].map(i => [i.className,
                getComputedStyle(i, "::before").content])"""
        )
    assert icons
    assert [name for name, content in icons if re.fullmatch("none|normal|", content)] == []


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
