"""Directives that tell of the islands: ``{islands-asked}`` where the claims have been asked, in a sentence;
``{islands}`` what differs on each, how good its models are, what they are, and which of its experiments have results.

All of it is read from the settings, from ``data/islands`` and from the published results.
"""

from collections.abc import Callable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib.claims import island_markdown, islands
from vlm_sae_lib.pretraining.islands import RECORDS
from vlm_sae_lib.show.island_tables import dials, models, provenance


class Told(SphinxDirective):
    """Lines that follow from the results of all islands."""

    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        for path in islands.files(islands.evidences()):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


class Asked(Told):
    def run(self) -> list[nodes.Node]:
        return self.markdown([island_markdown.asked(islands.evidences())])


class Islands(Told):
    """``dials``, ``models`` or ``provenance``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        tables: dict[str, Callable[[], list[str]]] = {
            "dials": dials,
            "models": lambda: models(RECORDS),
            "provenance": lambda: provenance(RECORDS, islands.evidences()),
        }
        if self.arguments[0] not in tables:
            raise self.error(f"{self.arguments[0]!r} is none of {', '.join(tables)}.")
        for path in sorted(RECORDS.glob("*.json")):
            self.env.note_dependency(str(path))
        return self.markdown(tables[self.arguments[0]]())


def setup(app: Sphinx) -> dict:
    app.add_directive("islands-asked", Asked)
    app.add_directive("islands", Islands)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
