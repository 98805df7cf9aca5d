"""The neuron atlas in the book: its autoencoders with links into it, and what its columns mean, read from its data.

``{atlas-saes}`` and ``{atlas-columns}`` print the two tables. ``{atlas}`words <#address>` `` is a link into the atlas,
``{atlas-number}`asked` `` one of ``NUMBERS``.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vlm_sae_lib.atlas.book import ASKED
from vlm_sae_lib.atlas.published import folder
from vlm_sae_lib.atlas.steering import AT_LEAST
from vlm_sae_lib.atlas.writing import INDEX
from vlm_sae_lib.files import read_json
from vlm_sae_lib.publishing.edition_switch import PUBLISHED
from vlm_sae_lib.quoting import in_markdown

NUMBERS = {"asked": ASKED, "at least": AT_LEAST}
"""On how many pictures each latent is steered, and on how many it must fire to be tried."""


def home(page: str, edition: str) -> str:
    """The address of the atlas, which the published edition holds, as a page of an edition sees it."""
    return "../" * (page.count("/") + (edition != PUBLISHED)) + "atlas/index.html"


def saes(index: dict[str, Any], address: str) -> list[str]:
    """The autoencoders in Markdown: what each is, how many latents it has, how many are silent, its tree."""
    rows = []
    for sae in index["saes"]:
        at = f"{address}#sae={quote(sae['key'])}"
        steered = f"{sae['steering']['tried']:,}" if sae["steering"] else "–"
        tree = f'<a href="{address}#tree&amp;sae={quote(sae["key"])}">tree</a>' if sae["tree"] else "–"
        title, sentence = in_markdown(sae["title"]), in_markdown(sae["sentence"])
        rows.append((f'<a href="{at}">{title}</a>', sentence, f"{sae['latents']:,}", f"{sae['silent']:,}", steered,
                     tree))  # fmt: skip
    return _table(("autoencoder", "what it is", "latents", "of them silent", "of them steered", ""), rows)


def columns(index: dict[str, Any]) -> list[str]:
    """Every column that some autoencoder has, once, with its meaning."""
    found = {column["name"]: column for sae in index["saes"] for column in sae["columns"]}
    rows = [(in_markdown(column["title"]), in_markdown(column["meaning"])) for column in found.values()]
    return _table(("column", "what it says"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


class Saes(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=False)

    def lines(self) -> list[str]:
        self.env.note_dependency(str(folder() / INDEX))
        return saes(read_json(folder() / INDEX), home(self.env.docname, self.config.edition))


class Columns(Saes):
    def lines(self) -> list[str]:
        self.env.note_dependency(str(folder() / INDEX))
        return columns(read_json(folder() / INDEX))


class Link(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        words, _, address = self.text.partition(" <")
        there = home(self.env.docname, self.config.edition) + re.sub(r">$", "", address)
        return [nodes.reference("", words, refuri=there, internal=True)], []


class Number(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.Text(str(NUMBERS[self.text]))], []


def setup(app: Sphinx) -> dict:
    app.add_directive("atlas-saes", Saes)
    app.add_directive("atlas-columns", Columns)
    app.add_role("atlas", Link())
    app.add_role("atlas-number", Number())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
