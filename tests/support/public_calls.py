"""Every public function that takes numbers, and how it is called: which of its arguments are what kind of numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from bad_numbers import COUNTS, EIGHTHS, SPARSE_EIGHTHS, TRUTHS, WHOLE_NUMBERS, directed, matrices
from hypothesis import strategies as st
from random_saes import make_sae

from vlm_sae_lib.activations.rounding import rounding_loss
from vlm_sae_lib.controls import codes, directions, erasure, probes, rectify, sparse_probes
from vlm_sae_lib.controls import reconstruction as rebuilding
from vlm_sae_lib.sae import KINDS, SaeConfig
from vlm_sae_lib.sae.training import train_sae, train_saes
from vlm_sae_lib.scores import monosemanticity, reconstruction, spread, truth
from vlm_sae_lib.statistics import gather, inputs, intervals, jackknife, meta_analysis
from vlm_sae_lib.statistics.neurons import NeuronStatistics
from vlm_sae_lib.steering import intervention

CODE, SIGNED, ROWS, TALL, VALUES = "code", "signed", "rows", "tall", "values"
SQUARE, POSITIVE, LATENTS, STATES = "square", "positive", "latents", "states"
DIM, SPARSE_TOO = 4, (CODE, SIGNED)


REFUSED, LEFT_OUT, PASSED_ON, IN_ITS_ROW = "refused", "left out", "passed on", "passed on in its own row"


@dataclass(frozen=True)
class Call:
    """``function`` takes the ``slots`` by name, each a kind of numbers.

    ``nan``: what becomes of what is not finite, NaN alone where it is left out. ``together``: what is left out is left
    out of all slots. ``least``: the fewest rows that it takes. ``dear``: it takes long, and is tried less often.
    """

    function: Callable[..., Any]
    slots: Mapping[str, str]
    nan: str = REFUSED
    together: bool = False
    rtol: float = 1e-5
    least: int = 1
    dear: bool = False


def drawn(call: Call, elements: str = "eighths") -> st.SearchStrategy[dict[str, np.ndarray]]:
    """Numbers for all slots; ``elements``: eighths, whole (numbers), counts (not negative) or truths."""
    values = {"eighths": EIGHTHS, "whole": WHOLE_NUMBERS, "counts": COUNTS, "truths": TRUTHS}[elements]
    positive = {"eighths": SPARSE_EIGHTHS, "whole": COUNTS}.get(elements, values)

    def of(kind: str, n: int, width: int) -> st.SearchStrategy[np.ndarray]:
        if kind == CODE:
            return matrices(n, width, positive)
        if kind == SIGNED:
            return matrices(n, width, values)
        if kind == ROWS:
            return directed(n, DIM, values)
        if kind == SQUARE:
            return matrices(n + 2, n + 2, values).map(lambda x: np.triu(x, 1) + np.triu(x, 1).T)
        if kind == POSITIVE:
            return matrices(n, 1, values).map(lambda x: np.abs(x[:, 0]))
        if kind == STATES:
            return matrices(n, DIM, values).map(torch.from_numpy)
        if kind in (TALL, LATENTS):
            return matrices(n, DIM, values)
        return matrices(n, 1, values).map(lambda x: x[:, 0].copy())

    sizes = st.tuples(st.integers(call.least, 8), st.integers(1, 5))
    return sizes.flatmap(lambda s: st.fixed_dictionaries({name: of(kind, *s) for name, kind in call.slots.items()}))


NARROW = make_sae("relu", dim=3, width=DIM)
DIRECTION = torch.ones(DIM)


def _statistics(activations, embeddings):
    """All that one pass tells, of one batch, and of the second half merged into the first."""
    n, found = _n(embeddings), {}
    one = NeuronStatistics(_width(activations), DIM, top_k=3)
    one.update(activations, embeddings, np.arange(n))
    for name in ("minimum", "maximum", "mean", "fires_above"):
        found[name] = getattr(one, name)
    for name in ("histogram", "above_minimum", "firing_count", "firing_rate", "top_images", "top_activations",
                 "monosemanticity"):  # fmt: skip
        found[name] = getattr(one, name)()
    return found


class Held:
    """A store that lies in memory."""

    def __init__(self, rows):
        self.rows, self.image_ids = rows, np.arange(_n(rows)) // 2
        self.metadata, self.dim = {"fingerprint": "same"}, _width(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        if getattr(self.rows, "ndim", 0):
            return self.rows[rows]
        return [self.rows[row] for row in rows] if isinstance(self.rows, list) else self.rows


@cache
def sae_of(kind: str):
    return make_sae(kind, dim=DIM, width=10)


def _factors(n: int) -> pd.DataFrame:
    return pd.DataFrame({"colour": [("red", "blue", "green")[i % 3] for i in range(n)]})


def _truth(n: int) -> np.ndarray:
    return np.stack([np.arange(n) % 2 == 0, np.arange(n) % 3 == 0], axis=1)


def _n(x: Any) -> int:
    """How many rows; 1 of what has none."""
    return x.shape[0] if getattr(x, "ndim", 0) else len(x) if isinstance(x, list) else 1


def _width(x: Any) -> int:
    return x.shape[1] if getattr(x, "ndim", 0) > 1 else len(x[0]) if isinstance(x, list) else 1


def _fitted(training, x):
    neurons = rectify.RectifiedNeurons.fit(training, l0=1.0)
    return neurons.mean, neurons.threshold, neurons.encode(x)


def _directions(maker, **options):
    def call(training, x):
        made = maker(training, **options)
        return made.mean, made.encode(x)

    return call


def _pca(training, x):
    pca = rebuilding.Pca.fit(training)
    return pca.mean, pca.first(x, 2), pca.strongest(x, 1.0)


def _probes(training, x):
    return probes.LinearProbes.fit(training, _truth(_n(training))).encode_sparse(x)


def _sparse_probes(code):
    shown = _truth(_n(code))
    chosen = sparse_probes.choose_latents(code, shown, 2)
    return chosen, sparse_probes.SparseProbes.fit(code, shown, chosen).read(code)


def _trained(kind, x):
    config = SaeConfig(kind=kind, expansion=1.5, k=2, steps=6, batch_size=4, lr=1e-2)
    sae = train_sae(x, config)
    return {name: getattr(sae, name) for name in ("w_enc", "b_enc", "w_dec", "b_dec")}


def _trained_together(x):
    configs = [SaeConfig(expansion=1, k=1, steps=4, batch_size=3, seed=seed) for seed in (0, 1)]
    return [sae.w_dec for sae in train_saes(x, configs)]


PAIR = {"activations": SIGNED, "embeddings": ROWS}
TWO = {"a": VALUES, "b": VALUES}
CALLS: dict[str, Call] = {
    # scores
    "scores.monosemanticity.monosemanticity_score": Call(monosemanticity.monosemanticity_score, PAIR),
    "scores.monosemanticity.ms_bootstrap": Call(
        lambda **x: monosemanticity.ms_bootstrap(**x, n_resamples=4, per_neuron=True), PAIR
    ),
    "scores.reconstruction.r2": Call(reconstruction.r2, {"x": TALL, "x_hat": TALL}, nan=PASSED_ON),
    "scores.reconstruction.r2_paper": Call(reconstruction.r2_paper, {"x": TALL, "x_hat": TALL}, nan=PASSED_ON),
    "scores.reconstruction.reconstruction": Call(
        lambda x: reconstruction.reconstruction(sae_of("batch_top_k"), x), {"x": TALL}
    ),
    "scores.spread.spread": Call(spread.spread, {"x": ROWS}, least=2),
    "scores.spread.mean_cosine": Call(lambda x: spread.mean_cosine(x, n_resamples=20), {"x": ROWS}, least=2),
    "scores.truth.detection_scores": Call(
        lambda activations: truth.detection_scores(activations, _factors(_n(activations)), ["colour"]),
        {"activations": SIGNED},
    ),
    "scores.truth.purity": Call(
        lambda activations: truth.purity(activations, _factors(_n(activations)), "colour", weighted=True),
        {"activations": CODE},
    ),
    # statistics
    "statistics.inputs.activation_matrix": Call(inputs.activation_matrix, {"activations": SIGNED}),
    "statistics.inputs.unit_embeddings": Call(lambda x: inputs.unit_embeddings(x, _n(x)), {"x": ROWS}),
    "statistics.neurons.NeuronStatistics": Call(_statistics, PAIR),
    "statistics.gather.gather_statistics": Call(
        lambda activations, embeddings: gather.gather_statistics(
            Held(activations), Held(embeddings), sae_of("top_k"), keep=True).activations,
        {"activations": TALL, "embeddings": ROWS}, least=2,
    ),  # fmt: skip
    "statistics.intervals.percentiles": Call(lambda a: intervals.percentiles(a, 5), {"a": VALUES}, nan=LEFT_OUT),
    "statistics.intervals.bootstrap_mean": Call(
        lambda a: intervals.bootstrap_mean(a, n_resamples=20), {"a": VALUES}, nan=LEFT_OUT
    ),
    "statistics.intervals.bootstrap_difference": Call(
        lambda **x: intervals.bootstrap_difference(**x, n_resamples=20), TWO, nan=LEFT_OUT
    ),
    "statistics.intervals.bootstrap_ratio": Call(
        lambda **x: intervals.bootstrap_ratio(**x, paired=True, n_resamples=20), TWO, nan=LEFT_OUT, together=True
    ),
    "statistics.intervals.spearman": Call(
        lambda **x: intervals.spearman(**x, n_resamples=20), TWO, nan=LEFT_OUT, together=True, least=2
    ),
    "statistics.intervals.spearman_draws": Call(
        lambda **x: intervals.spearman_draws(**x, n_resamples=20), TWO, nan=LEFT_OUT, together=True, least=2
    ),
    "statistics.intervals.student": Call(intervals.student, {"values": VALUES}, nan=LEFT_OUT),
    "statistics.intervals.of_trainings": Call(
        lambda **x: intervals.of_trainings(list(x.values())), TWO, nan=LEFT_OUT, least=2
    ),
    "statistics.jackknife.pseudo_values": Call(jackknife.pseudo_values, {"pairs": SQUARE}, nan=PASSED_ON),
    "statistics.meta_analysis.random_effects": Call(
        meta_analysis.random_effects, {"means": VALUES, "variances": POSITIVE}, least=2, rtol=1e-4
    ),
    # controls
    "controls.codes.mean_cosine": Call(codes.mean_cosine, {"embeddings": ROWS}),
    "controls.codes.shuffled_code": Call(codes.shuffled_code, {"latents": CODE}),
    "controls.codes.random_directions": Call(codes.random_directions, {"activations": TALL, "latents": CODE}),
    "controls.codes.before_the_cut": Call(
        lambda x: codes.before_the_cut(sae_of("batch_top_k"), x), {"x": TALL}
    ),
    "controls.directions.principal": Call(
        _directions(directions.principal, whiten=True), {"training": TALL, "x": TALL}, least=3, rtol=1e-3
    ),
    "controls.directions.random": Call(
        _directions(directions.random, n_latents=3), {"training": TALL, "x": TALL}
    ),
    "controls.directions.linear_readout_r2": Call(
        lambda code, x: directions.linear_readout_r2(code, x, code, x), {"code": CODE, "x": TALL}, least=2
    ),
    "controls.erasure.project_out": Call(
        lambda x: erasure.project_out(x, np.eye(DIM)[:2], np.ones(DIM)), {"x": TALL}
    ),
    "controls.probes.LinearProbes": Call(_probes, {"training": TALL, "x": TALL}, least=2),
    "controls.sparse_probes.SparseProbes": Call(_sparse_probes, {"code": CODE}, least=2),
    "controls.rectify.RectifiedNeurons": Call(_fitted, {"training": TALL, "x": TALL}),
    "controls.reconstruction.r2_bootstrap": Call(
        lambda **x: rebuilding.r2_bootstrap(**x, n_resamples=10), {"x": TALL, "x_hat": TALL}, least=2
    ),
    "controls.reconstruction.sae_r2": Call(
        lambda x: rebuilding.sae_r2(sae_of("batch_top_k"), x).value, {"x": TALL}, least=2
    ),
    "controls.reconstruction.evaluate": Call(
        lambda x: rebuilding.evaluate({0: sae_of("batch_top_k")}, x), {"x": TALL}, least=2
    ),
    "controls.reconstruction.Pca": Call(_pca, {"training": TALL, "x": TALL}, least=3, rtol=1e-4),
    "controls.reconstruction.untrained_sae": Call(
        lambda x: rebuilding.untrained_sae(x, 6, 2.0).w_dec, {"x": TALL}, least=3
    ),
    # the SAE
    **{f"sae.SparseAutoencoder.encode {kind}": Call(
        lambda x, kind=kind: sae_of(kind).encode(x), {"x": TALL}, nan=IN_ITS_ROW) for kind in KINDS},
    **{f"sae.SparseAutoencoder.encode_sparse {kind}": Call(
        lambda x, kind=kind: sae_of(kind).encode_sparse(x, 3), {"x": TALL}) for kind in KINDS},
    "sae.SparseAutoencoder.pre_activations": Call(
        lambda x: sae_of("relu").pre_activations(x), {"x": TALL}, nan=IN_ITS_ROW),
    "sae.SparseAutoencoder.decode": Call(lambda z: NARROW.decode(z), {"z": LATENTS}, nan=IN_ITS_ROW),
    **{f"sae.training.train_sae {kind}": Call(partial(_trained, kind), {"x": TALL}, dear=True) for kind in KINDS},
    "sae.training.train_saes": Call(_trained_together, {"x": TALL}, dear=True),
    # activations
    "activations.rounding.rounding_loss": Call(
        rounding_loss, {"full": ROWS, "half": ROWS}, least=2
    ),
    # steering
    "steering.intervention.overwrite": Call(
        lambda x: intervention.overwrite(sae_of("relu"), x, {1: 2.0}, keep_error=True), {"x": STATES}, nan=IN_ITS_ROW
    ),
    "steering.intervention.push": Call(
        lambda x: intervention.push(sae_of("relu"), x, DIRECTION, 1, 2.0), {"x": STATES}, nan=IN_ITS_ROW
    ),
}  # fmt: skip
