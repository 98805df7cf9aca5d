"""Text from elsewhere, a name or what a model says, stays text on every page.

Names of species, latents, autoencoders, prompts and captions may hold anything. Each place of the library and
the book's extensions that makes HTML is tried with what would be markup.
"""

import base64
import html as escaping
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from book_extensions import extension
from random_saes import make_sae
from toy_card import PICTURES, PLACE, card, scores

from vlm_sae_lib.publishing.figures import PageFigure
from vlm_sae_lib.publishing.sae_card import model_card
from vlm_sae_lib.publishing.stopwatch import Stopwatch
from vlm_sae_lib.quoting import LONGEST, in_markdown, quoted
from vlm_sae_lib.scorecard.page import html
from vlm_sae_lib.show.explorer import explorer_html, without_pictures
from vlm_sae_lib.show.svg import to_svg
from vlm_sae_lib.show.tables import table_html
from vlm_sae_lib.show.tiles import tile_uri
from vlm_sae_lib.terms import INAT2021, Credit

EVIL = (
    "<script>evil()</script>", '"><img src=x onerror=evil()>', "</script><script>evil()</script>", "' onload='evil()",
    "</style><b onclick=evil()>", "<!--", "&lt;script&gt;", "]]>", "`<b>`{raw}`html`", "| a | b", "a\n\n<script>",
)  # fmt: skip
each_evil = pytest.mark.parametrize("evil", EVIL)


class Elements(HTMLParser):
    """Which elements a fragment has, and whether one of them does something: it must not be for the text's sake."""

    def __init__(self, fragment: str):
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.handlers += [
            f"{tag} {name}={value}" for name, value in attrs
            if name.startswith("on") or (name in ("src", "href") and "javascript:" in str(value).lower())
        ]  # fmt: skip

    def handle_comment(self, data):
        self.names.append("comment")

    def handle_data(self, data):
        if self.names and self.names[-1] == "script":
            self.scripts.append(data)


@cache
def harmless(made) -> Elements:
    return Elements(made("harmless"))


def same_elements(made, evil: str) -> None:
    """``made(text)`` has with hostile text the elements that it has with a harmless one, none of which does a thing."""
    plain, hostile = harmless(made), Elements(made(evil))
    if made in DRAWN:  # as many elements as there are lines
        assert set(hostile.names) == set(plain.names)
    else:
        assert hostile.names == plain.names
    assert hostile.handlers == plain.handlers == []


# --- pages of the library -------------------------------------------------------------------------------------------


def scorecard_page(text: str) -> str:
    """Every text of a scorecard, as somebody else's JSON may hold it."""
    own = card()
    measures = tuple(replace(one, title=text, meaning=text, counted=text, group=text) for one in own.measures)
    some = replace(scores("own", 0.5), name=text, what=text)
    missing = {own.measures[0].name: replace(some.values[own.measures[0].name], value=None, why=text)}
    some = replace(some, values={**some.values, **missing})
    evil = replace(own, facts=own.facts | {"hash": text, "trained_with": text}, code=text, notes=(text,), subject=some,
                   place={name: text for name in PLACE}, pictures={name: text for name in PICTURES} | {"n": 9},
                   rivals=(some,), against=(some,), measures=measures)  # fmt: skip
    return html(evil, about=text)


def explorer_data(text: str) -> dict:
    shown = {"src": "data:," + text, "terms": text, "instead": None}
    return {"prompts": [text, text], "multiples": [None, 1.0], "texts": [text], "captions": [[[[0, 0], [0, 0]]]],
            "pictures": [{"label": text, **shown}],
            "neurons": [{"label": text, "name": text, "unit": text, "tops": [shown]}]}  # fmt: skip


def explorer(text: str) -> str:
    return explorer_html(explorer_data(text))


def published_explorer(text: str) -> str:
    return without_pictures(explorer(text))[0]


def table(text: str) -> str:
    frame = pd.DataFrame({text: [text, 1.5], "b": [None, text]}, index=pd.Index([text, "x"], name=text))
    return table_html(frame)


def figure(text: str) -> str:
    drawn, axes = plt.subplots()
    axes.set_xlabel(text)
    svg = to_svg(drawn)
    plt.close(drawn)
    return PageFigure("3.1", text, svg, text).html("figures")


def stopwatch(text: str) -> str:
    watch = Stopwatch(first=text, now=iter(range(100)).__next__)
    watch.part(text + "2")
    return watch.table()


def tile(text: str) -> str:
    """What stands in the place of a picture; it names the folder, which is a species."""
    uri = tile_uri(Credit(INAT2021, 3, f"00042_A_B_C_D_E_F_{text.replace('/', '-')}"))
    return base64.b64decode(uri.partition(",")[2]).decode() if ";base64," in uri else unquote(uri.partition(",")[2])


PAGES = (scorecard_page, explorer, published_explorer, table, figure, stopwatch, tile)
DRAWN = (figure, tile)


@each_evil
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_text_stays_text_on_a_page(page, evil, tried):
    same_elements(page, evil)
    tried("texts that would be markup")


@each_evil
def test_the_data_of_an_explorer_end_where_they_should(evil):
    data = explorer_data(evil)
    found = re.findall(r'<script type="application/json" class="se-data">(.*?)</script>', explorer_html(data), re.S)
    assert [json.loads(one) for one in found] == [data]


# --- pages of the book ----------------------------------------------------------------------------------------------


def cover(text: str) -> str:
    data = {"concept": text, "multiples": [1.0], "unsteered": text, "steered": [text], "random": [[text]],
            "picture": {"src": "data:," + text, "label": text}}  # fmt: skip
    return extension("cover").explorer(data)


def in_html(lines: list[str]) -> str:
    """Markdown as the book reads it: MyST lets HTML and roles through."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.myst_role import myst_role_plugin

    made = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).use(myst_role_plugin)
    return made.render("\n".join(lines))


def atlas_table(text: str) -> str:
    column = {"name": "a", "title": text, "meaning": text}
    sae = {"key": "a", "title": text, "sentence": text, "latents": 3, "silent": 1, "steering": None, "tree": True,
           "columns": [column]}  # fmt: skip
    page = extension("atlas")
    return in_html(page.saes({"saes": [sae]}, "atlas/")) + in_html(page.columns({"saes": [sae]}))


def leaderboard(text: str) -> str:
    """What somebody enters: its name is a file's, all else is free."""
    entries = [card(0.5, name="a"), card(0.6, name="b", hash="d" * 64)]
    for place, one in enumerate(entries):
        subject = replace(one.subject, what=text)
        entries[place] = replace(one, subject=subject, facts=one.facts | {"trained_with": text},
                                 place={name: text for name in PLACE}, pictures=PICTURES | {"test": text})  # fmt: skip
    return in_html(extension("leaderboard").page(entries, "c" * 64))


def hub_card(text: str) -> str:
    facts = {"provenance": dict.fromkeys(("tower", "hook_point", "tokens", "source", "rows", "weights_hash"), text),
             "config": {"seed": text}}  # fmt: skip
    body = model_card(make_sae("relu", metadata=facts), {text: 0.5})
    return in_html(body.partition("\n---\n")[2].splitlines())


@each_evil
@pytest.mark.parametrize("page", [cover, atlas_table, leaderboard, hub_card], ids=lambda page: page.__name__)
def test_a_text_stays_text_in_the_book(page, evil, tried):
    same_elements(page, evil)
    tried("texts that would be markup")


@each_evil
def test_what_is_quoted_in_markdown_reads_as_it_is(evil):
    shown = Elements(made := in_html([f"before {in_markdown(evil)} after"]))
    assert shown.names == ["p"]
    seen = "".join(re.findall(r">([^<]*)<", made))
    assert escaping.unescape(seen).split() == ["before", *evil.split(), "after"]


def test_what_is_quoted_in_a_sentence_is_printable_and_ends():
    for text in ("\x1b[2J\x07", "a\r\nb\u2028c", "\ud800", "\u202egnp.exe", "x" * 10**6, "\0" * 10**4):
        assert quoted(text).isprintable() and len(quoted(text)) <= LONGEST + 1
    assert quoted("as it is, é 未") == "as it is, é 未"
