"""What the page shows of a latent once it is opened: a few hundred numbers, so many latents to a file."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from vlm_sae_lib.atlas.measuring import Measured
from vlm_sae_lib.atlas.neighbours import Neighbours
from vlm_sae_lib.atlas.pictures import Numbered
from vlm_sae_lib.atlas.steering import AT_LEAST, DOSES, Steered

PER_FILE = 64


def details(measured: Measured, pictures: Numbered) -> Iterator[dict[str, Any]]:
    """The files' contents in order, each ``PER_FILE`` latents; a picture that a latent shows is told of beside it."""
    statistics, n = measured.statistics, measured.sae.n_latents
    ids, activations, counts = statistics.top_images(), statistics.top_activations(), statistics.histogram()
    rows = np.searchsorted(measured.known.image_ids, np.maximum(ids, 0))
    ends = np.searchsorted(measured.detects.latent, np.arange(n + 1))
    tried = {} if measured.steered is None else {int(k): i for i, k in enumerate(measured.steered.latents)}
    for start in range(0, n, PER_FILE):
        shown: dict[str, list[Any]] = {}
        entries = []
        for latent in range(start, min(start + PER_FILE, n)):
            top = []
            for image_id, row, value in zip(ids[latent], rows[latent], activations[latent], strict=True):
                if image_id >= 0:
                    number = pictures.number(int(image_id))
                    shown[str(number)] = [int(image_id), measured.known.labels[row]]
                    top.append([number, _short(value)])
            entries.append({
                "top": top,
                "histogram": _histogram(counts[latent]),
                "detects": [_detected(measured, i) for i in range(ends[latent], ends[latent + 1])],
                "near": _pairs(measured.by_decoder, latent),
                "together": _pairs(measured.by_firing, latent),
                "named_by": 0 if measured.names is None else int(measured.names.pictures[latent]),
                "steering": _steering(measured.steered, tried, latent),
            })  # fmt: skip
        yield {"schema": 1, "first": start, "pictures": shown, "latents": entries}


def _histogram(counts: np.ndarray) -> dict[str, Any]:
    """On how many pictures it is silent, and those of the bins from the first that is not empty to the last."""
    some = np.flatnonzero(counts[1:]) + 1
    first = int(some[0]) if len(some) else 0
    kept = counts[first : some[-1] + 1].tolist() if len(some) else []
    return {"silent": int(counts[0]), "first": first, "counts": kept}


def _detected(measured: Measured, place: int) -> list[Any]:
    """Factor, value, precision, recall, F1, and the place of the taxon in the tree or None."""
    found = measured.detects
    factor, value = measured.known.factors[found.factor[place]], int(found.value[place])
    node = None if factor.nodes is None else int(factor.nodes[value])
    numbers = [round(float(column[place]), 3) for column in (found.precision, found.recall, found.f1)]
    share = float((factor.codes == value).mean())
    return [factor.name, factor.values[value], *numbers, node, round(share, 4)]


def _pairs(neighbours: Neighbours, latent: int) -> list[list[float]]:
    pairs = zip(neighbours.latents[latent].tolist(), neighbours.likeness[latent].tolist(), strict=True)
    return [[other, round(likeness, 3)] for other, likeness in pairs if other >= 0]


def _steering(steered: Steered | None, tried: dict[int, int], latent: int) -> dict[str, Any] | None:
    """What steering does; or why it was not tried; None where nothing was steered at all."""
    if steered is None:
        return None
    if (row := tried.get(latent)) is None:
        return {"why": _why_not(steered, int(steered.fires[latent]))}
    return {
        "about": steered.about[row], "concept": steered.concept[row], "lacking": int(steered.lacking[row]),
        "maximum": _short(steered.maximum[row]),
        **{name: [_share(value) for value in getattr(steered, name)[row]] for name in ("said", "kept", "random")},
        "captions": [[str(text) for text in steered.captions[row, dose]] for dose in range(len(DOSES))],
    }  # fmt: skip


def _why_not(steered: Steered, fires: int) -> str:
    if fires < AT_LEAST:
        return (f"Not tried: of the {steered.looked_at} pictures by which strengths are set it fires on {fires}, and a "
                f"largest value is worth a multiple from {AT_LEAST} on.")  # fmt: skip
    return "Not tried: it detects nothing that the model could be asked, or others that fire more often were tried."


def _share(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
