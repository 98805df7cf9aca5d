"""The role ``{live}``: a link into the live page, to a picture, a latent and a strength that are ready there.

``{live}`text <picture=blank&latent=18&strength=2>` ``. A latent or a species that the page does not have is a
warning, and so a failed build. The page stands once in a site, beside the published edition; others lead to it.
"""

from urllib.parse import parse_qs

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import ReferenceRole

from vlm_sae_lib.live import latents, studio
from vlm_sae_lib.publishing.edition_switch import PUBLISHED

KNOWN = {"picture", "latent", "strength", "question", "keep", "direction"}


def problem(state: str) -> str | None:
    """What the page would leave out of a state, or None."""
    said = {name: values[0] for name, values in parse_qs(state, strict_parsing=bool(state)).items()}
    island = studio.island()
    first = said.get("picture", "blank").split(",")[0]
    if unknown := said.keys() - KNOWN:
        return f"{', '.join(sorted(unknown))} is no part of a state"
    if first not in {"blank", "nobody"} | {species["name"] for species in island["species"]}:
        return f"there is no species {first!r}"
    if "latent" in said and said["latent"] not in {str(row["latent"]) for row in latents.latents()["latents"]}:
        return f"latent {said['latent']} has no name and never fires"
    return None


def address(page: str, edition: str, state: str) -> str:
    """The link from a page, as Sphinx names it without ending."""
    up = page.count("/") + (edition != PUBLISHED)
    return "../" * up + "live/index.html" + (f"#{state}" if state else "")


class LiveRole(ReferenceRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        state = self.target if self.has_explicit_title else ""
        if said := problem(state):
            message = self.inliner.reporter.warning(f"live: {said}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        link = address(self.env.docname, self.config.edition, state)
        return [nodes.reference(self.rawtext, self.title, refuri=link, internal=False)], []


def setup(app: Sphinx) -> dict:
    app.add_role("live", LiveRole())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
