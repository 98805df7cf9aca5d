"""``{cite-this} book`` and ``{cite-this} paper``: BibTeX made from ``CITATION.cff``, the one place to change."""

from collections.abc import Mapping
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib import paths

SOURCE = paths.PACKAGE.parent / "CITATION.cff"


class CiteThis(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(SOURCE))
        cited = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
        ways = {"book": lambda: of_book(cited), "paper": lambda: of_paper(cited["references"][0])}
        if self.arguments[0] not in ways:
            raise self.error(f"{self.arguments[0]!r} is none of {', '.join(ways)}.")
        return [nodes.literal_block("", ways[self.arguments[0]](), language="bibtex")]


def of_book(cited: Mapping[str, Any]) -> str:
    authors = " and ".join(f"{{{author['name']}}}" for author in cited["authors"])
    return entry("software", "vlmsaecompanion", title=f"{{{cited['title']}}}", author=authors, version=cited["version"])


def of_paper(cited: Mapping[str, Any]) -> str:
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    key = f"{cited['authors'][0]['family-names'].lower()}{cited['year']}sparse"
    return entry("inproceedings", key, title=cited["title"], author=authors, booktitle=cited["collection-title"],
                 year=cited["year"], url=cited["url"])  # fmt: skip


def entry(kind: str, key: str, **fields: Any) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"


def setup(app: Sphinx) -> dict:
    app.add_directive("cite-this", CiteThis)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
