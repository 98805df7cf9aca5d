"""``{cover-explorer}``: one picture, a slider, and what the model says: unsteered, steered, and pushed at random.

All of it lies in ``data/cover.json`` (see ``vlm_sae_lib/publishing/cover.py``) and goes into the page; without a script
the table below tells the same.
"""

import html
import json
from collections.abc import Mapping
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib.files import read_json
from vlm_sae_lib.publishing import cover


class CoverExplorer(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(cover.path()))
        if not cover.path().exists():
            raise self.error("There is no data/cover.json: make it by `python -m vlm_sae_lib.publishing.cover`.")
        return [nodes.raw("", explorer(read_json(cover.path())), format="html")]


def explorer(data: Mapping[str, Any]) -> str:
    """The explorer as HTML; its captions, which a model made, are not trusted."""
    concept, strengths = _text(data["concept"]), ["unsteered", *(f"{one:g} × its maximum" for one in data["multiples"])]
    steered = [data["unsteered"], *data["steered"]]
    pushed = [data["unsteered"], *(several[0] for several in data["random"])]
    counts = ["", *(counted(data["concept"], several) for several in data["random"])]
    told = json.dumps({"strengths": strengths, "steered": steered, "random": pushed, "counts": counts,
                       "concept": data["concept"]}).replace("<", "\\u003c")  # fmt: skip
    start = 1  # the weakest push: what the page shows before it is touched
    rows = "".join(
        f"<tr><td>{_text(strength)}</td><td>{_text(one)}</td><td>{_text(other)}</td></tr>"
        for strength, one, other in zip(strengths, steered, pushed, strict=True)
    )
    return f"""<section class="cover-explorer" aria-label="Steer a caption">
<figure><img src="{_text(data["picture"]["src"])}" width="256" height="256" alt="{_text(data["picture"]["label"])}">
<figcaption>{_text(data["picture"]["label"])}</figcaption></figure>
<div>
<div class="ce-control"><label for="ce-strength">Turn the latent for “{concept}” up:</label>
<input id="ce-strength" type="range" min="0" max="{len(strengths) - 1}" step="1" value="{start}" \
aria-valuetext="{strengths[start]}"> <span class="ce-value" aria-hidden="true">{strengths[start]}</span></div>
<dl aria-live="polite">
<dt>The model says, unsteered</dt><dd>{_text(data["unsteered"])}</dd>
<dt>with the latent for “{concept}”</dt><dd class="ce-steered">{_text(steered[start])}</dd>
<dt>with a random direction pushed as far</dt><dd class="ce-random">{_text(pushed[start])}</dd>
</dl>
<p class="ce-count">{_text(counts[start])}</p>
<details><summary>Every strength as a table</summary><table><thead><tr><th>strength</th><th>with the latent</th>
<th>with the random direction</th></tr></thead><tbody>{rows}</tbody></table></details>
</div>
<script type="application/json" class="ce-data">{told}</script>
<script>
{{
const cover = document.querySelector(".cover-explorer"), slider = cover.querySelector("input");
const told = JSON.parse(cover.querySelector(".ce-data").textContent);
// Model text goes in as text; the concept's word is set off where it stands.
const say = (place, text) => {{
  place.replaceChildren();
  for (const part of text.split(new RegExp(`(\\\\b${{told.concept}}\\\\b)`))) {{
    const node = document.createElement(part === told.concept ? "mark" : "span");
    node.textContent = part;
    place.append(node);
  }}
}};
const show = () => {{
  const i = Number(slider.value);
  slider.setAttribute("aria-valuetext", told.strengths[i]);
  cover.querySelector(".ce-value").textContent = told.strengths[i];
  say(cover.querySelector(".ce-steered"), told.steered[i]);
  say(cover.querySelector(".ce-random"), told.random[i]);
  cover.querySelector(".ce-count").textContent = told.counts[i];
}};
slider.addEventListener("input", show);
show();
}}
</script>
</section>"""


def counted(concept: str, captions: list[str]) -> str:
    """How many of several captions name the concept."""
    naming = sum(concept in caption.split() for caption in captions)
    return f"Of {len(captions)} random directions pushed as far, {naming or 'none'} make it say “{concept}”."


def _text(text: str) -> str:
    return html.escape(str(text), quote=True)


def setup(app: Sphinx) -> dict:
    app.add_directive("cover-explorer", CoverExplorer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
