"""What makes a page usable by keyboard and by ear, and its words understood: the last touch before it is written.

A table scrolls in a box of its own (``tables.js`` lets the keyboard into it where it is too wide); the empty corner of
a table has a word for the ear; what is written on a button is its name. A word that the glossary explains shows its
definition when it is pointed at or focused, by the theme's own tooltips; without a script it is the link's title.
"""

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

GLOSSARY = "book/glossary"
TABLE = re.compile(r'(<div class="[\w-]+-scroll"[^>]*>\s*)?(<table\b.*?</table>)', re.S)
"""A table, and the box that a notebook may have given it."""
EMPTY_HEADING = re.compile(r"<th\b([^>]*)>\s*(?:<p>\s*</p>)?\s*</th>")
NAMED_HEADING = r'<th\1><span class="visually-hidden">row</span></th>'
OTHERWISE_NAMED = re.compile(r'(<summary)( [^>]*?)? aria-label="[^"]*"')
INTERVAL = re.compile(r"\[[−-]?[\d.,]+(?:,| to) [−-]?[\d.,]+\]")
"""``[0.1, 0.2]``, which a narrow column would tear."""
TERM = re.compile(r'<a class="reference internal" href="([^"]*#(term-[^"]+))"')
LONGEST = 420  # letters of a definition: more does not fit beside a word


def finish_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if "body" in context:
        body = reachable(context["body"])
        context["body"] = body if page == GLOSSARY else explained(body, definitions(app.builder.env))


def reachable(body: str) -> str:
    """Tables in boxes, a word in empty headings, buttons named as they are written."""
    body = TABLE.sub(boxed, body)
    body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')  # it has no items
    return OTHERWISE_NAMED.sub(r"\1\2", EMPTY_HEADING.sub(NAMED_HEADING, body))


def boxed(found: re.Match[str]) -> str:
    table = INTERVAL.sub(whole, found[2])
    return f"{found[1]}{table}" if found[1] else f'<div class="table-box">{table}</div>'


def whole(interval: re.Match[str]) -> str:
    return interval[0].replace(" ", "\u00a0")


def explained(body: str, meanings: dict[str, str]) -> str:
    """Each link to a term of the glossary with the term's meaning."""

    def one(found: re.Match[str]) -> str:
        if found[2] not in meanings:
            return found[0]
        meaning = html.escape(meanings[found[2]], quote=True)
        return f'<a class="reference internal term" data-bs-toggle="tooltip" title="{meaning}" href="{found[1]}"'

    return TERM.sub(one, body)


def definitions(env: BuildEnvironment) -> dict[str, str]:
    """By the address of each term within the glossary: what it means, as text; nothing in a book without a glossary."""
    if GLOSSARY not in env.found_docs:
        return {}
    if not hasattr(env.app, "glossary_meanings"):
        glossary = env.get_and_resolve_doctree(GLOSSARY, env.app.builder)
        env.app.glossary_meanings = {
            key: meaning(item[-1])
            for item in glossary.findall(nodes.definition_list_item)
            for term in item.findall(nodes.term)
            for key in term["ids"]
        }
    return env.app.glossary_meanings


def meaning(definition: nodes.Element) -> str:
    """A definition as text: whole sentences, as many as fit."""
    text = " ".join(definition.astext().split())
    if len(text) <= LONGEST:
        return text
    return text[: text.rfind(". ", 0, LONGEST) + 1] or text


def find_scorer(app: Sphinx, config: Config) -> None:
    """Sphinx would look for the search's scorer where the build was started from, which may be anywhere."""
    config.html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", find_scorer)
    app.connect("html-page-context", finish_page, priority=800)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
