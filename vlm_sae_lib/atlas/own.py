"""An atlas of one's own autoencoder and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm_sae_lib.atlas.known import Known
from vlm_sae_lib.atlas.measuring import Measured, measure
from vlm_sae_lib.atlas.naming import Names, embedded, names_of, vocabulary_of
from vlm_sae_lib.atlas.pictures import write_sheets
from vlm_sae_lib.atlas.steering import Steered, steer_all
from vlm_sae_lib.atlas.writing import SHEETS, atlas_folder, write_data, write_page
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.islands import of_kind
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.steering.asking import asking_of, in_words, own_answers
from vlm_sae_lib.steering.concepts import Gallery, pool_latents
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.vlms import Vlm, load_vlm

LOOKED_AT, ASKED = 400, 12
"""Pictures on which strengths and concepts are looked up, and others on which the model is asked."""
COMPARED = 8
"""Pictures on which a store is held against the model's own tower."""
ALIKE = 0.5
"""How far, as a share of its length, an activation may lie from the tower's own: another library's preparation of a
picture moves it a little, another tower altogether."""


def own_atlas(
    out: Path, sae: SparseAutoencoder, activations: Any, embeddings: Sequence[Any], source: Any = None, *, name: str,
    title: str, tower: str | None = None, vlm: str | None = None, at_most: int = 64, publish: bool = False,
    device: str | None = None,
) -> Path:  # fmt: skip
    """Measure every latent, write the folder, and return it.

    Args:
        activations, embeddings: stores of what the SAE reads and of scoring encoders, the main one first.
        source: of the pictures; without it there are none, and nothing is known of them.
        tower: a CLIP that names the latents.
        vlm: the model to steer with the ``at_most`` latents that fire most often.
        publish: tiles for pictures whose terms forbid to show them to others.

    Raises:
        UserError: what does not belong together, or ``out`` is no folder for an atlas.
    """
    with atlas_folder(out) as folder:
        if source is None and (tower or vlm):
            raise UserError("Names and steering need the pictures: give --pictures.")
        measured = measure(
            sae, activations, _by_encoder(embeddings), source, key="sae", title=name,
            sentence=_sentence(name, activations),
            names=None if tower is None else _names(sae, activations, source, tower, device),
            steered=None if vlm is None else _steered(sae, activations, source, vlm, at_most, device),
        )  # fmt: skip
        _write(folder, measured, source, title, publish)
    return out


def _write(folder: Path, measured: Measured, source: Any, title: str, publish: bool) -> None:
    ids = write_data(folder, [measured], title, sheets=source is not None)
    if source is not None:
        write_sheets(folder / SHEETS, source, ids, publish=publish)
    write_page(folder)


def _by_encoder(embeddings: Sequence[Any]) -> dict[str, Any]:
    """The stores by what people call their towers; where two share a tower, by their hook points, too."""
    if len({store.id for store in embeddings}) < len(embeddings):
        raise UserError("The same store of embeddings is given twice.")
    towers = [str(store.metadata.get("tower")) for store in embeddings]
    alone = len(set(towers)) == len(towers)
    found = {
        tower if alone else f"{tower} at {store.metadata.get('hook_point')}, {store.metadata.get('tokens')}": store
        for tower, store in zip(towers, embeddings, strict=True)
    }
    if len(found) < len(embeddings):
        raise UserError("Two stores of embeddings are of one tower, hook point and rule: give one of them.")
    return found


def _sentence(name: str, activations: Any) -> str:
    facts = activations.metadata
    return f"{name}, at {facts.get('hook_point')} of {facts.get('tower')}, on {facts.get('source')}."


def _names(sae: SparseAutoencoder, activations: Any, source: Any, tower: str, device: str | None) -> Names:
    """By the same pictures that are shown: a store of one's own has no others."""
    kind, _, which = tower.partition(":")
    if of_kind(kind) is not None and which not in ("", "clip"):
        raise UserError(f"{tower} embeds pictures where the island's words do not lie: give --names {kind}, its CLIP.")
    loaded = load_tower(tower, device=device)
    words = [(f.name, value) for f in Known.of(source, source.ids.tolist()).factors for value in f.values]
    vocabulary = vocabulary_of(loaded, words)
    gathered = gather_statistics(activations, activations, sae, keep=True)
    return names_of(gathered.activations, embedded(loaded, source.subset(gathered.image_ids.tolist())), vocabulary,
                    "these pictures")  # fmt: skip


def _steered(
    sae: SparseAutoencoder, activations: Any, source: Any, vlm: str, at_most: int, device: str | None
) -> Steered:
    if source.factors is None:
        raise UserError("Nothing is known of the pictures, so there is nothing to steer towards: leave --vlm out.")
    model, factors = load_vlm(vlm, device=device), in_words(source.factors)
    asking = asking_of(factors)
    drawn = np.random.default_rng(0).permutation(source.ids)[: LOOKED_AT + ASKED].tolist()
    asked, looked_at = drawn[:ASKED], drawn[ASKED:]
    if not looked_at:
        raise UserError(f"Steering needs more than {ASKED} pictures: {ASKED} to ask about, others to set strengths by.")
    check_place(model, vlm, activations, source)
    pooled = pool_latents(model, sae, [picture for _, picture in source.subset(looked_at)])
    shown = dict(source.subset(asked))
    own = own_answers(model, asking, list(shown.values()), factors.loc[list(shown)])
    return steer_all(model, sae, pooled, Known.of(source, sorted(looked_at)), Gallery(list(shown.values()), own),
                     asking, at_most=at_most)  # fmt: skip


def check_place(model: Vlm, vlm: str, activations: Any, source: Any) -> None:
    """Whether the SAE, which reads what the store holds, stands where the model would be steered.

    A tower has other names elsewhere, and other hashes, so that the activations themselves are compared.

    Raises:
        UserError: the store is of another block, or of another tower.
    """
    facts = activations.metadata
    stored, mend = f"{facts.get('hook_point')} of {facts.get('tower')}", f"of {model.hook_point} of vlm:{vlm}"
    if activations.dim != model.dim or facts.get("hook_point") != model.hook_point:
        raise UserError(f"The SAE reads {stored}, and {vlm} is steered at {model.hook_point} (width {model.dim}): "
                        f"take an SAE and a store {mend}.")  # fmt: skip
    ids = np.unique(np.asarray(activations.image_ids))[:COMPARED].tolist()
    states = model.states([picture for _, picture in source.subset(ids)]).cpu()
    apart = []
    for image_id, tokens in zip(ids, states, strict=True):
        rows = activations[np.flatnonzero(np.asarray(activations.image_ids) == image_id)]
        apart.append((torch.cdist(rows, tokens).amin(1) / rows.norm(dim=1)).median())
    if float(torch.stack(apart).median()) > ALIKE:
        raise UserError(f"The SAE reads {stored}, which is not the tower of {vlm}: take an SAE and a store {mend}.")
