"""How much a page asks for, as a server sends it that compresses text, and that nothing is asked for without a use."""

import gzip
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from .browsing import WIDE, visiting
from .test_site import STEERING, every_page

TEXT = (".html", ".css", ".js", ".svg", ".json")
AT_MOST = 1_500_000
OF_WORDS = 600_000
"""A page without a picture and without a formula, even from a server that does not compress."""


@pytest.fixture(scope="session")
def asked(browser, origin, site) -> Callable[[str], dict[str, tuple[int, int]]]:
    """By file of the site: its bytes, and its bytes compressed, for all that a page asks for before it is scrolled."""
    seen: dict[str, dict[str, tuple[int, int]]] = {}

    def look(page: str) -> dict[str, tuple[int, int]]:
        if page not in seen:
            with visiting(browser, origin, WIDE) as visit:
                files: set[str] = set()
                visit.page.on("request", lambda request: files.add(urlsplit(request.url).path.lstrip("/")))
                visit.open(page)
            there = {file: (site / file).read_bytes() for file in files if (site / file).is_file()}
            seen[page] = {
                file: (len(content), len(gzip.compress(content)) if file.endswith(TEXT) else len(content))
                for file, content in there.items()
            }
        return seen[page]

    return look


@every_page
def test_a_page_is_light(asked, page):
    files = asked(page)
    assert sum(sent for _, sent in files.values()) <= AT_MOST, sorted(files.items(), key=lambda one: -one[1][1])[:5]


@every_page
def test_a_page_of_words_is_lighter_still(asked, page):
    files = asked(page)
    if any(file.startswith("_images/") or "mathjax" in file for file in files) or page.startswith("notebooks/"):
        pytest.skip("it has pictures or formulas")
    assert sum(whole for whole, _ in files.values()) <= OF_WORDS, sorted(files.items(), key=lambda one: -one[1][0])[:5]


@every_page
def test_a_page_asks_for_no_script_that_it_does_not_use(asked, site, page):
    body, files = (site / page).read_text(encoding="utf-8"), " ".join(asked(page))
    for script, use in (("mathjax", 'class="math'), ("embed.js", "widget-view+json")):
        assert (script in files) == (use in body), script
    assert "fontawesome.js" not in files and "searchindex.js" not in files


def test_later_pictures_wait(asked):
    assert len([file for file in asked(STEERING) if file.startswith("_images/")]) < 5
