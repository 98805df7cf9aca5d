"""Figures, tables and code on the notebooks' pages: legible in the dark, pictures untouched, data at hand."""

import csv
import io
import re
from xml.dom import minidom
from xml.parsers.expat import ExpatError

import pytest
from playwright.sync_api import expect

from vlm_sae_lib import paths

from .browsing import PHONE, visiting

PAGES = [f"notebooks/{path.stem}.html" for path in sorted(paths.notebooks().glob("0*.ipynb"))]
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module", params=PAGES)
def page(request):
    return request.param


@pytest.fixture(scope="module")
def opened(browser, origin, page):
    """A notebook's page, opened once for all that is asked of it."""
    with visiting(browser, origin) as visit:
        yield visit.open(page)


def test_every_drawing_of_the_site_can_be_read(site):
    drawings = sorted(site.rglob("*.svg"))
    assert len(drawings) > 50
    broken = {}
    for path in drawings:
        try:
            minidom.parse(str(path))
        except ExpatError as error:
            broken[path.relative_to(site).as_posix()] = str(error)
    assert broken == {}


def test_plots_take_the_pages_colours_and_pictures_keep_their_own(opened):
    opened.evaluate("document.documentElement.dataset.theme = 'dark'")
    grounds = opened.evaluate(
        "[...document.querySelectorAll('figure.plot svg path')].slice(0, 1).map(p => getComputedStyle(p).fill)"
    )
    assert grounds == [] or grounds == [opened.evaluate(GROUND)]
    assert opened.locator("figure.plot").count() >= 3
    filters = opened.evaluate(
        "[...document.querySelectorAll('figure.plot img, .steering-explorer img')].map(i => getComputedStyle(i).filter)"
    )
    assert set(filters) <= {"none"}


def test_each_figure_is_numbered_named_and_gives_its_data_and_its_code(opened, page, site):
    number = int(page.partition("/")[2][:2])
    captions = opened.locator("figure.plot figcaption").all_inner_texts()
    assert [text.split()[1] for text in captions] == [f"{number}.{i}." for i in range(1, len(captions) + 1)]
    hrefs = opened.evaluate(
        "[...document.querySelectorAll('figure.plot figcaption a')].map(a => a.getAttribute('href'))"
    )
    anchors = [href[1:] for href in hrefs if href.startswith("#code-")]
    assert len(anchors) == len(captions)
    assert all(opened.locator(f"[id='{anchor}']").count() == 1 for anchor in anchors)
    tables = [site / "notebooks" / href for href in hrefs if href.endswith(".csv")]
    assert tables
    for table in tables:
        rows = list(csv.reader(io.StringIO(table.read_text(encoding="utf-8"))))
        assert len(rows) > 1 and {len(row) for row in rows} == {len(rows[0])}


def test_plates_wait_until_the_reader_comes_near(opened):
    assert opened.evaluate(
        "[...document.querySelectorAll('figure.plot img')].every(i => i.loading === 'lazy' && i.width && i.height)"
    )


def test_code_fits_its_column_and_one_switch_hides_it(opened):
    wide = opened.evaluate(
        """[...document.querySelectorAll('.cell_input pre')]
            .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
            .map(e => e.textContent.slice(0, 60))"""
    )
    assert wide == []
    cells = opened.locator(".cell_input:visible")
    assert cells.count() > 5
    opened.get_by_role("button", name="Hide all code").click()
    assert cells.count() == 0
    opened.reload()
    assert cells.count() == 0, "the choice is kept"
    opened.locator("figure.plot a[href^='#code-']").first.click()
    expect(cells.first, "who asks for the code sees it").to_be_visible()
    assert cells.count() > 5


def test_tables_are_whole_and_reachable_by_keyboard(opened):
    boxes = opened.locator(".table-scroll")
    assert boxes.count() >= 2
    assert opened.evaluate("[...document.querySelectorAll('.table-scroll')].every(b => b.tabIndex === 0)")
    assert opened.locator(".table-scroll th").all_inner_texts().count("") == 0
    assert not [text for text in opened.locator(".table-scroll td").all_inner_texts() if text.endswith(("...", "…"))]
    assert opened.locator(".cell_output").filter(has_text="|:--").count() == 0


@pytest.mark.parametrize(("path", "name"), [
    ("notebooks/04_taxonomy_alignment.html", "Figure 4.1."), ("book/experiments/layers.html", "Fig. "),
    ("book/architecture.html", "Fig. "),
])  # fmt: skip
def test_a_figure_that_is_wider_than_a_phone_scrolls_by_keyboard_in_a_box_with_its_name(visit, path, name):
    page = visit.open(path)
    expect(page.locator(".figure-box[tabindex]")).to_have_count(0)
    page.set_viewport_size(PHONE)
    box = page.locator(".figure-box.scrolls").first
    expect(box).to_have_attribute("aria-label", re.compile(f"Figure, wider than the page: {re.escape(name)}"))
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
