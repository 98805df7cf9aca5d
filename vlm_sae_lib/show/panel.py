"""The steering panel of a live notebook: picture, neuron, strength → answers, computed as the reader moves."""

import html
import io
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
from PIL import Image

from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.show.explorer import Neuron
from vlm_sae_lib.steering.intervention import Sae, steered
from vlm_sae_lib.steering.learned import Learned
from vlm_sae_lib.vlms.vlm import Vlm

SIDE = 160  # pixels: how wide the picture is shown
PROMPTS = ("describe the image.", "what is shown in this image? use exactly one word!")


def steering_panel(
    vlm: Vlm,
    sae: Sae,
    pictures: Mapping[str, Image.Image],
    neurons: Sequence[Neuron],
    *,
    prompts: Sequence[str] = PROMPTS,
    highest: float = 8,
    max_new_tokens: int = 32,
) -> widgets.VBox:
    """Widgets for Jupyter and Colab (ipywidgets ≥ 7.7); they need a kernel, unlike ``show.explorer``.

    pictures: of any mode, turned as their EXIF says. The strength is stated in multiples of the neuron's maximum;
    0 holds the latent at 0, negative values suppress. Where the neuron has a learned change, that is applied instead,
    in multiples of what was learned; it keeps what the SAE misses whatever is ticked.
    Raises: UserError when the SAE does not fit the model, a latent does not exist or a picture cannot be read.
    """
    pictures = {label: to_rgb(image) for label, image in pictures.items()}
    for neuron in neurons:
        steered(vlm, sae, {neuron.latent: 0.0})  # complains here rather than at the reader's first click
    picture = widgets.Dropdown(options=list(pictures), description="picture")
    neuron = widgets.Dropdown(
        options=[(n.label, i) for i, n in enumerate(neurons)], description="neuron"
    )
    strength = widgets.FloatSlider(
        value=0, min=-highest / 2, max=highest, step=0.5, description="strength", continuous_update=False
    )
    keep_error = widgets.Checkbox(value=False, description="keep what the SAE misses")
    view = widgets.Image(format="png", width=SIDE)
    text = widgets.HTML()

    def ask() -> list[str]:
        image = pictures[picture.value]
        return [vlm.answer(image, prompt, max_new_tokens=max_new_tokens) for prompt in prompts]

    def update(change: object = None) -> None:
        chosen = neurons[neuron.value]
        absolute, keeps = strength.value * chosen.maximum, keep_error.value or chosen.change is not None
        view.value = _png(pictures[picture.value])
        with steered(vlm, sae, {}, keep_error=keeps):
            before = ask()
        if chosen.change is None:
            told = f"latent {chosen.latent}: {strength.value:g} × {chosen.maximum:.2f} = {absolute:.2f} on every token"
            with steered(vlm, sae, {chosen.latent: absolute}, keep_error=keeps):
                after = ask()
        else:
            told = f"{strength.value:g} × what was learned, on every token"
            with vlm.edited(Learned(chosen.change, strength.value).edit):
                after = ask()
        rows = "".join(
            f"<tr><td>{html.escape(q)}</td><td>{html.escape(b)}</td><td><b>{html.escape(a)}</b></td></tr>"
            for q, b, a in zip(prompts, before, after, strict=True)
        )
        text.value = (
            f"<p>{told}</p>"
            f"<table><tr><th>asked</th><th>unsteered</th><th>steered</th></tr>{rows}</table>"
        )

    for control in (picture, neuron, strength, keep_error):
        control.observe(update, names="value")
    update()
    controls = widgets.VBox([picture, neuron, strength, keep_error])
    return widgets.VBox([widgets.HBox([view, controls]), text])


def _png(image: Image.Image) -> bytes:
    small = to_rgb(image).copy()
    small.thumbnail((2 * SIDE, 2 * SIDE))  # a photograph of a phone would be 20 MB with each move of a control
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()
