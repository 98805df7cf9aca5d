"""Every comparison is told so that it can be read alone: its interval, n and of what, whether it is corrected; and
every word of the glossary shows what it means where a page first uses it.

Looked up in the built pages without a browser.
"""

import re

import pytest
from book_extensions import extension
from bs4 import BeautifulSoup

from vlm_sae_lib import paths
from vlm_sae_lib.experiments.registry import NAMES

OTHERS = ("claims", "leaderboard", "islands", "tour")
PAGES = [*(f"book/experiments/{name}" for name in NAMES), *(f"book/{name}" for name in OTHERS)]
INTERVAL = re.compile(r"[−-]?\d[\d.,]*\s[\[(][−-]?[\d.,]+(?:,| to)\s[−-]?[\d.,]+[\])]")
N = re.compile(r"^n( on each| [a-z].*)?$")
SAID_ELSEWHERE = {
    "book/leaderboard": re.compile(r"\(n = [\d,]+( to [\d,]+)? [a-z]+; "),
    "book/islands": re.compile("n counts pictures"),
}  # fmt: skip
"""Where n stands in the text before a table, or in its cells."""


@pytest.fixture(scope="module", params=PAGES)
def page(request, site):
    soup = BeautifulSoup((site / f"{request.param}.html").read_text(encoding="utf-8"), "html.parser")
    return request.param, soup.find("article")


def text(element) -> str:
    return " ".join(element.get_text(" ").split())


def with_intervals(article):
    return [table for table in article.find_all("table") if INTERVAL.search(text(table))]


def test_every_table_with_an_interval_says_n_and_of_what(page):
    name, article = page
    for table in with_intervals(article):
        if name in SAID_ELSEWHERE:
            assert SAID_ELSEWHERE[name].search(text(article))
            continue
        rows = [[text(cell) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
        (place,) = (i for i, head in enumerate(rows[0]) if N.match(head))
        for row in rows[1:]:
            alone = rows[0][place] in ("n", "n on each") and re.search(r"\d", row[place])
            assert not alone or re.search("[a-z]{4}", row[place]), (rows[0], row)
            if INTERVAL.search(row[1]):
                assert re.search(r"\d", row[place]), (rows[0], row)


def test_below_every_table_of_an_experiment_stands_what_its_brackets_are_and_whether_they_are_corrected(page):
    name, article = page
    if "/experiments/" not in name:
        pytest.skip("says so once, in its text")
    tables = with_intervals(article)
    assert tables
    for table in tables:
        note = text(table.find_next(class_="table-note"))
        assert "In brackets: intervals of 95 %" in note and "Not corrected for their number" in note


def test_every_page_with_an_interval_says_what_is_corrected(page):
    _, article = page
    told = text(article)
    assert INTERVAL.search(told) and "corrected" in told and "95 %" in told


def test_the_words_of_the_glossary_show_what_they_mean(page, site):
    """Each entry of which a page uses a word, outside of headings, code and other links, is linked from it."""
    _, article = page
    words = extension("words")
    glossary = BeautifulSoup((site / "book" / "glossary.html").read_text(encoding="utf-8"), "html.parser")
    entry = {term["id"]: text(term.find_next("dd")) for term in glossary.select("dl.glossary dt")}
    shown = {link["href"].partition("#")[2]: link.get("title") for link in article.select("a.term")}
    assert shown and all(shown.values())
    reached = {entry[key] for key in shown}
    for gone in article.select("h1, h2, h3, code, pre, svg, script, style, .math, dt, a, .admonition-title, summary, "
                               ".sd-summary-title, .verdict-strip, .verdict-choice, .table-note"):  # fmt: skip
        gone.decompose()
    found = words.words_of(words.entries_of((paths.root() / "book" / "glossary.md").read_text(encoding="utf-8")))
    pattern, terms = words.pattern_of(found), list(found.values())
    used = {terms[match.lastindex - 1] for match in pattern.finditer(text(article).replace("’", "'"))}
    named = {text(term).rstrip("# ").replace("’", "'"): entry[term["id"]] for term in glossary.select("dl.glossary dt")}
    assert not {term for term in used if named[term] not in reached}
