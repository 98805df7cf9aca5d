"""The steering panel of a live notebook: picture, neuron, strength, question → answers, computed as one moves."""

import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from PIL import Image

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures.reading import printable, read
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.show.explorer import N_TOPS, Neuron, data_uri
from vlm_sae_lib.steering.intervention import Sae, steered
from vlm_sae_lib.steering.learned import Learned
from vlm_sae_lib.vlms.vlm import Vlm

SIDE = 160  # pixels: how wide the picture is shown
TOP = 64
PROMPTS = ("describe the image.", "what is shown in this image? use exactly one word!")
UNSTEERED = "unsteered"


def steering_panel(
    vlm: Vlm,
    sae: Sae,
    pictures: Mapping[str, Image.Image],
    neurons: Sequence[Neuron],
    *,
    prompts: Sequence[str] = PROMPTS,
    highest: float = 8,
    max_new_tokens: int = 32,
) -> "SteeringPanel":
    """Widgets for Jupyter and Colab (ipywidgets ≥ 7.7); they need a kernel, unlike ``show.explorer``.

    pictures: of any mode, turned as their EXIF says; the reader may add files. The strength is stated in multiples of
    the neuron's maximum, unsteered in the middle; 0 holds the latent at 0, negative values suppress. Where the neuron
    has a learned change, that is applied instead, in multiples of what was learned; it keeps what the SAE misses
    whatever is ticked. ``prompts`` are always asked, and behind them what the reader writes.
    Raises: UserError when the SAE does not fit the model, a latent does not exist or a picture cannot be read.
    """
    return SteeringPanel(vlm, sae, pictures, neurons, prompts, highest, max_new_tokens)


class SteeringPanel(widgets.VBox):
    """The panel: its controls, what they show, and one sentence where something cannot be done."""

    def __init__(
        self, vlm: Vlm, sae: Sae, pictures: Mapping[str, Image.Image], neurons: Sequence[Neuron],
        prompts: Sequence[str], highest: float, max_new_tokens: int,
    ):  # fmt: skip
        super().__init__()  # a widget holds nothing before
        self._vlm, self._sae, self._neurons, self._prompts = vlm, sae, neurons, prompts
        self._max_new_tokens = max_new_tokens
        self._pictures = {label: to_rgb(image) for label, image in pictures.items()}
        for each in neurons:
            steered(vlm, sae, {each.latent: 0.0})  # complains here rather than at the reader's first click
        self.picture = widgets.Dropdown(options=list(self._pictures), description="picture")
        self.neuron = widgets.Dropdown(options=[(n.label, i) for i, n in enumerate(neurons)], description="neuron")
        self.strength = widgets.SelectionSlider(
            options=_strengths(highest), value=UNSTEERED, description="strength", continuous_update=False
        )
        self.keep_error = widgets.Checkbox(value=False, description="keep what the SAE misses")
        self.question = widgets.Text(
            description="question", placeholder="a question of your own", continuous_update=False
        )
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="a picture of yours")
        self.view = widgets.Image(format="png", width=SIDE)
        self.tops, self.text, self.complaint = widgets.HTML(), widgets.HTML(), widgets.HTML()
        controls = [self.picture, self.neuron, self.strength, self.keep_error, self.question, self.upload]
        for control in controls[:-1]:
            control.observe(self._update, names="value")
        self.upload.observe(lambda change: self.add(change["new"]), names="value")
        self._update()
        stage = widgets.HBox([self.view, widgets.VBox(controls), self.tops])
        self.children = [stage, self.complaint, self.text]

    def add(self, files: Any) -> None:
        """Files of the reader's, through the door of all files: each joins the pictures, or a sentence says why not.

        files: the value of a ``FileUpload``, of ipywidgets 8 or 7.
        """
        for name, content in _files(files):
            picture, reason = read(content, self._seen)
            if picture is None:
                self.complaint.value = _sentence(f"{name} cannot be used: {reason}. Choose another picture.")
                continue
            label = f"yours: {name}"
            self._pictures[label] = picture
            self.picture.options = list(self._pictures)
            self.picture.value = label

    def _seen(self, picture: Image.Image) -> Image.Image:
        """The picture, once the model has looked at it: what it cannot look at is refused at the door."""
        self._vlm.answer(picture, self._prompts[0], max_new_tokens=1)
        return picture

    def _update(self, change: Any = None) -> None:
        if self.picture.value is None:  # while the list is being replaced
            return
        chosen = self._neurons[self.neuron.value]
        self.view.value = _png(self._pictures[self.picture.value])
        self.tops.value = _tops(chosen)
        try:
            told, rows = self._answers(chosen)
        except UserError as error:
            self.complaint.value = _sentence(str(error))
            return
        self.complaint.value = ""
        cells = "".join(
            f"<tr><td>{html.escape(q)}</td><td>{html.escape(b)}</td><td><b>{html.escape(a)}</b></td></tr>"
            for q, b, a in rows
        )
        self.text.value = (
            f"<p>{told}</p><table><tr><th>asked</th><th>unsteered</th><th>steered</th></tr>{cells}</table>"
        )

    def _answers(self, chosen: Neuron) -> tuple[str, list[tuple[str, str, str]]]:
        """What is done, in words, and each question with its answer before and after."""
        keeps = self.keep_error.value or chosen.change is not None
        with steered(self._vlm, self._sae, {}, keep_error=keeps):
            before = self._ask()
        multiple = self.strength.value
        if multiple == UNSTEERED:
            told, after = "unsteered: the SAE in place, nothing changed", before
        elif chosen.change is None:
            absolute = multiple * chosen.maximum
            told = f"latent {chosen.latent}: {multiple:g} × {chosen.maximum:.2f} = {absolute:.2f} on every token"
            with steered(self._vlm, self._sae, {chosen.latent: absolute}, keep_error=keeps):
                after = self._ask()
        else:
            told = f"{multiple:g} × what was learned, on every token"
            with self._vlm.edited(Learned(chosen.change, multiple).edit):
                after = self._ask()
        return told, list(zip(self._asked(), before, after, strict=True))

    def _ask(self) -> list[str]:
        image = self._pictures[self.picture.value]
        return [self._vlm.answer(image, prompt, max_new_tokens=self._max_new_tokens) for prompt in self._asked()]

    def _asked(self) -> list[str]:
        own = self.question.value.strip()
        return [*self._prompts, own] if own else list(self._prompts)


def _strengths(highest: float) -> list[tuple[str, float | str]]:
    """The slider's stops: what suppresses on the left, unsteered, what inserts on the right."""
    halves = int(highest)  # half of it, in halves
    below = [(f"{-half / 2:g} ×", -half / 2) for half in range(halves, 0, -1)]
    above = [(f"{half / 2:g} ×", half / 2) for half in range(1, int(2 * highest) + 1)]
    return [*below, ("0 ×", 0.0), (UNSTEERED, UNSTEERED), *above]


def _files(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of what was chosen, as ipywidgets 8 tells it and as 7 does."""
    entries = value.values() if isinstance(value, Mapping) else value
    return [
        (printable(str(entry.get("name") or entry["metadata"]["name"])), bytes(entry["content"])) for entry in entries
    ]


def _tops(neuron: Neuron) -> str:
    shown = "".join(
        f'<img src="{data_uri(top, TOP)}" width="{TOP}" height="{TOP}" style="margin:1px" alt="picture {i}">'
        for i, top in enumerate(neuron.top_pictures[:N_TOPS], 1)
    )
    return f'<div style="max-width:{4 * (TOP + 4)}px;line-height:0">{shown}</div>' + (
        "<small>the pictures this neuron responds to most</small>" if shown else ""
    )


def _sentence(text: str) -> str:
    return f'<p role="alert" style="color:#b00020">{html.escape(text)}</p>'


def _png(image: Image.Image) -> bytes:
    small = to_rgb(image).copy()
    small.thumbnail((2 * SIDE, 2 * SIDE))  # a photograph of a phone would be 20 MB with each move of a control
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()
