"""The directive ``{in-short} layers``: what an experiment comes to, in a few sentences made from its results."""

from docutils import nodes
from experiments import FromResults
from sphinx.application import Sphinx

from vlm_sae_lib.claims.in_short import in_short

BRACKETS = (
    "In brackets: intervals of 95 %, each for itself and not corrected for their number. The n behind each, of what, "
    "and the other controls stand in the tables below."
)


class InShort(FromResults):
    has_content = False

    def show(self) -> list[nodes.Node]:
        told = in_short(self.arguments[0], self.findings(self.arguments[0]))
        return self.markdown([":::{admonition} In short", ":class: important", told, "", BRACKETS, ":::"])


def setup(app: Sphinx) -> dict:
    app.add_directive("in-short", InShort)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
