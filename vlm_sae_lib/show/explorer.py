"""The steering explorer of the built page: picture, neuron, strength → caption, without a kernel.

Everything it can show is computed beforehand and stands in the page as JSON. It is one self-contained piece of HTML
with its style and script inside, so that the same cell output works in the book, in Jupyter and on Colab, with the
network cut, and from a file. The page's address follows what is chosen, as #picture=…&neuron=…&strength=…. Where no
script runs, a table tells of the first picture. Each picture says on what terms it comes and
what stands in its place where it may not be published (`without_pictures`).
"""

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vlm_sae_lib.files import content_hash
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.show.tiles import tile_uri
from vlm_sae_lib.steering.asking import Asking
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.learned import Change, Learned
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, StateEdit, SteeringBench
from vlm_sae_lib.terms import TERMS, UNKNOWN, Credit, credit_of
from vlm_sae_lib.vlms.vlm import Vlm

HERE = Path(__file__).parent
N_TOPS = 8
DATA = re.compile(r'<script type="application/json" class="se-data">(.*?)</script>', re.S)


@dataclass(frozen=True)
class Neuron:
    """What the reader steers: a latent, or a change of all latents that was learned for a concept.

    Attributes:
        latent: its index; with a change, of the latent that stands for the same concept.
        name: for people.
        maximum: of the latent, the unit of its strengths.
        top_pictures: those that the latent responds to most.
        change: the learned change; its strengths are multiples of what was learned.
    """

    latent: int
    name: str
    maximum: float
    top_pictures: Sequence[Image.Image] = ()
    change: Change | None = None

    @property
    def label(self) -> str:
        return f"{self.name} (latent {self.latent})" if self.change is None else f"{self.name} (learned)"

    def push(self, multiple: float) -> Intervention | StateEdit:
        """The edit of a strength. A learned one keeps what the SAE misses."""
        if self.change is not None:
            return Learned(self.change, multiple)
        return Intervention(self.latent, multiple * self.maximum)


class Explorer:
    """The explorer as what a notebook's cell shows."""

    def __init__(self, data: Mapping[str, Any]):
        self.data = data

    def _repr_html_(self) -> str:
        return explorer_html(self.data)

    def __repr__(self) -> str:
        return f"explorer: {len(self.data['pictures'])} pictures, {len(self.data['neurons'])} neurons"


def varied(factors: pd.DataFrame, asking: Asking, number: int) -> dict[str, int]:
    """A few pictures that differ in what varies most, by the label for people; each as the place of its row.

    factors: of a gallery, a row per picture; asking: says what varies and how a picture is called.
    """
    places = factors.reset_index(drop=True).dropna(subset=asking.variety).drop_duplicates(asking.variety)
    shown = places.sort_values(asking.variety).head(number)
    return {asking.label.format(**row): place for place, row in shown.to_dict("index").items()}


def explorer_data(
    vlm: Vlm,
    sae: Sae,
    pictures: Mapping[str, Image.Image],
    neurons: Sequence[Neuron],
    multiples: Sequence[float] = (0, 0.5, 1, 2, 4, 8),
    prompts: Sequence[str] = ("describe the image.",),
    *,
    keep_error: bool = False,
    max_new_tokens: int = 32,
    shown: Mapping[str, Image.Image] | None = None,
) -> dict[str, Any]:
    """Caption every picture under every neuron at every strength; JSON-able.

    pictures: by the label that the reader chooses, of any mode; shown: larger prints of them, for the eye only.
    multiples: strengths in units of each neuron's maximum. They are put in order, and the unsteered control (SAE in
        place, None among the data's multiples) stands amid them: what suppresses lies before it, what inserts behind.
    prompts: the first asks for the caption, the others' answers stand below it.
    Raises: ValueError for nothing to choose from; UserError as :func:`~vlm_sae_lib.steering.intervention.steered`.
    """
    if not pictures or not neurons or not multiples or not prompts:
        raise ValueError("the explorer needs at least one picture, one neuron, one strength and one prompt")
    pictures = {label: to_rgb(image) for label, image in pictures.items()}
    below, above = (sorted(part) for part in _parted(multiples))
    multiples = [*below, *above]
    said = [np.empty((0, len(pictures)), dtype=object)] * len(prompts)
    rows: dict[int, list[int]] = {}
    keeping = [keep_error or neuron.change is not None for neuron in neurons]
    for keeps in dict.fromkeys(keeping):
        group = [n for n, own in enumerate(keeping) if own == keeps]
        bench = SteeringBench(vlm, sae, list(pictures.values()), keep_error=keeps, description="captions")
        pushes = [UNSTEERED, *(neurons[n].push(multiple) for n in group for multiple in multiples)]
        first = len(said[0])
        said = [np.concatenate([table, bench.captions(pushes, prompt, max_new_tokens=max_new_tokens)])
                for table, prompt in zip(said, prompts, strict=True)]  # fmt: skip
        for place, n in enumerate(group):
            start = first + 1 + place * len(multiples)
            rows[n] = [*range(start, start + len(multiples))]
            rows[n].insert(len(below), first)
    texts = sorted({text for table in said for text in table.ravel()})
    number = {text: i for i, text in enumerate(texts)}

    def words(row: int, picture: int) -> list[int]:
        return [number[table[row, picture]] for table in said]

    prints = {**pictures, **(shown or {})}
    return {
        "prompts": list(prompts),
        "multiples": [*below, None, *above],
        "pictures": [{"label": label, **_shown(prints[label], 320)} for label in pictures],
        "neurons": [
            {
                "label": n.label,
                "name": n.name,
                "unit": f"{n.maximum:.2f}" if n.change is None else None,
                "tops": [_shown(top, 96) for top in n.top_pictures[:N_TOPS]],
            }
            for n in neurons
        ],
        "texts": texts,
        "captions": [[[words(row, p) for row in rows[n]] for p in range(len(pictures))] for n in range(len(neurons))],
    }


def explorer_html(data: Mapping[str, Any]) -> str:
    """The explorer as a fragment of HTML. data: as of :func:`explorer_data`; its texts are not trusted."""
    key = "steering-explorer-" + content_hash(data)[:8]
    middle = data["multiples"].index(None)
    first = [data["texts"][i] for i in data["captions"][0][0][middle]]
    neuron, picture = data["neurons"][0], data["pictures"][0]
    # "<" would let a text of the model end the script element.
    inline = json.dumps(data, separators=(",", ":"), sort_keys=True, allow_nan=False).replace("<", "\\u003c")
    neurons = [n["label"] for n in data["neurons"]]
    pictures = [p["label"] for p in data["pictures"]]
    tops = max(len(n["tops"]) for n in data["neurons"])
    top_pictures = "".join(
        f'<img src="{_text(neuron["tops"][i]["src"])}" alt="picture {i + 1} of those that neuron '
        f'{_text(neuron["name"])} responds to most">' if i < len(neuron["tops"]) else '<img hidden src="data:," alt="">'
        for i in range(tops)
    )  # fmt: skip
    others = "".join(
        f'<p class="se-said"><span>{_text(prompt)}</span> <span class="se-answer">{_text(answer)}</span></p>'
        for prompt, answer in zip(data["prompts"][1:], first[1:], strict=True)
    )
    shown_tops = (
        f'<figure><div class="se-tops">{top_pictures}</div>'
        "<figcaption>the pictures this neuron responds to most</figcaption></figure>" if tops else ""
    )  # fmt: skip
    return f"""<div class="steering-explorer" id="{key}">
<style>{(HERE / "steering_explorer.css").read_text(encoding="utf-8")}</style>
<div class="se-controls">
<div><label for="{key}-p">picture</label>{_select(f"{key}-p", "se-choose-picture", pictures)}</div>
<div><label for="{key}-n">neuron</label>{_select(f"{key}-n", "se-choose-neuron", neurons)}</div>
<div class="se-wide"><label for="{key}-s">steering strength</label>
<input id="{key}-s" class="se-strength" type="range" min="0" max="{len(data["multiples"]) - 1}" step="1" \
value="{middle}" aria-valuetext="unsteered" list="{key}-t">
<datalist id="{key}-t"><option value="{middle}" label="unsteered"></option></datalist>
<div class="se-ends" aria-hidden="true" style="--middle:{_share(middle, data)}"><span>suppressed</span>\
<span>unsteered</span><span>inserted</span></div>
<div class="se-value" aria-hidden="true">unsteered</div></div>
</div>
<div class="se-stage">
<figure class="se-picture"><img src="{_text(picture["src"])}" alt="{_text(picture["label"])}">
<figcaption>what the model looks at</figcaption></figure>
{shown_tops}
</div>
<p class="se-said"><span>asked:</span> <span>{_text(data["prompts"][0])}</span></p>
<output role="status" aria-label="caption" for="{key}-p {key}-n {key}-s">{_text(first[0]) or "(says nothing)"}</output>
<p class="se-said"><span>unsteered:</span> <span class="se-before">{_text(first[0]) or "(says nothing)"}</span></p>
{others}
<details><summary>all captions of “<span class="se-which">{_text(picture["label"])}</span>” as a table</summary>
<div class="se-scroll" tabindex="0" role="group" aria-label="all captions">{_table(data)}</div></details>
<script type="application/json" class="se-data">{inline}</script>
<script>{{{(HERE / "steering_explorer.js").read_text(encoding="utf-8")}}}</script>
</div>"""


def data_uri(image: Image.Image, side: int) -> str:
    """A picture as a JPEG inside a URL, at most ``side`` pixels wide and high; never enlarged."""
    image = to_rgb(image).copy()
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def without_pictures(fragment: str) -> tuple[str, list[str]]:
    """An explorer with a tile in the place of each picture that may not be published, and the names of their terms.

    It is made anew from its own data, so that nothing of a picture is left. ValueError: the fragment is no explorer.
    """
    if (inline := DATA.search(fragment)) is None:
        raise ValueError("this HTML is no explorer")
    data, hidden = json.loads(inline[1]), set()
    try:
        for entry in (*data["pictures"], *(top for neuron in data["neurons"] for top in neuron["tops"])):
            terms = TERMS.get(entry["terms"], UNKNOWN)
            if not terms.may_be_published:
                entry["src"] = entry["instead"] or tile_uri(Credit())
                hidden.add(terms.name)
        return explorer_html(data), sorted(hidden)
    except (KeyError, TypeError) as error:
        raise ValueError("this explorer was made before its pictures said on what terms they come") from error


def _shown(image: Image.Image, side: int) -> dict[str, str | None]:
    """A picture in the data: itself, the name of its terms, and what is published in its place (None: itself)."""
    credit = credit_of(image)
    instead = None if credit.terms.may_be_published else tile_uri(credit)
    return {"src": data_uri(image, side), "terms": credit.terms.name, "instead": instead}


def _select(key: str, name: str, options: Sequence[str]) -> str:
    inside = "".join(f"<option>{_text(option)}</option>" for option in options)
    return f'<select id="{key}" class="{name}">{inside}</select>'


def _table(data: Mapping[str, Any]) -> str:
    """All captions of the first picture; the script fills the cells anew for another."""
    head = '<tr><th scope="col">neuron</th><th scope="col">strength</th><th scope="col">caption</th></tr>'
    middle = data["multiples"].index(None)
    rows = [_row(data, "none", "unsteered", 0, middle)]
    for n, neuron in enumerate(data["neurons"]):
        for s, multiple in enumerate(data["multiples"]):
            if multiple is not None:
                stated = f"{multiple:g} × {neuron['unit'] or 'what was learned'}"
                rows.append(_row(data, neuron["label"], stated, n, s))
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _row(data: Mapping[str, Any], name: str, stated: str, n: int, s: int) -> str:
    caption = data["texts"][data["captions"][n][0][s][0]]
    cell = f'<td data-n="{n}" data-s="{s}">{_text(caption)}</td>'
    return f"<tr><td>{_text(name)}</td><td>{_text(stated)}</td>{cell}</tr>"


def _parted(multiples: Sequence[float]) -> tuple[list[float], list[float]]:
    """Strengths that suppress, zero among them, and those that insert."""
    return [m for m in multiples if m <= 0], [m for m in multiples if m > 0]


def _share(place: int, data: Mapping[str, Any]) -> str:
    """How far along the slider a place lies."""
    return f"{place / max(len(data['multiples']) - 1, 1):.3f}"


def _text(text: str) -> str:
    return html.escape(str(text), quote=True)
