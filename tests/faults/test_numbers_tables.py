"""Whole numbers that are none, ids that nobody has, paths that lead nowhere, and counts: one sentence each."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from bad_numbers import assert_same, refused
from oracles import jaccard
from oracles import lca_depth as slow_lca_depth

from vlm_sae_lib import ms_bootstrap
from vlm_sae_lib.controls import observers
from vlm_sae_lib.controls.codes import at_rates
from vlm_sae_lib.controls.directions import clusters, independent
from vlm_sae_lib.controls.reconstruction import cut_at_l0
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.scores.hierarchy import level_depth, neuron_depth, neuron_depths
from vlm_sae_lib.scores.truth import detection_scores, purity, top_image_precision
from vlm_sae_lib.scores.uniqueness import uniqueness
from vlm_sae_lib.statistics import NeuronStatistics
from vlm_sae_lib.statistics.inputs import image_id_array, top_image_table
from vlm_sae_lib.statistics.intervals import bootstrap_mean, spearman_draws, wilson
from vlm_sae_lib.taxonomy import as_path, lca_depth, rank_names, taxon_path, taxonomy_fractions

WHAT = "bad numbers and shapes"
PATHS = [f"{i:05d}_Animalia_Arthropoda_Insecta_{name}" for i, name in enumerate(
    ["Coleoptera_Coccinellidae_Coccinella_septempunctata", "Coleoptera_Lucanidae_Lucanus_cervus",
     "Diptera_Syrphidae_Syrphus_ribesii", "Diptera_Syrphidae_Syrphus_vitripennis"])]  # fmt: skip
TOP = np.array([[0, 1, 2], [2, 3, 1], [3, 0, 2]])
FACTORS = pd.DataFrame({"colour": ["red", "blue", "red", "green"], "size": ["s", "s", "l", "l"]})
OF_TOP = {
    "uniqueness": lambda top: (uniqueness(top).mean, uniqueness(top).most_similar),
    "level_depth": lambda top: level_depth(top, PATHS, [1, 2]),
    "neuron_depths": lambda top: neuron_depths(top, PATHS),
    "top_image_precision": lambda top: top_image_precision(top, FACTORS, ["colour"]).astype(str),
    "factor_agreement": lambda top: observers.factor_agreement(top, FACTORS, ["colour", "size"]),
    "most_shared": lambda top: observers.most_shared(top, FACTORS, ["colour", "size"]),
    "surprise": lambda top: observers.surprise(top, FACTORS, ["colour", "size"]),
    "top_image_table": top_image_table,
}
SAME = {
    "int8": lambda x: x.astype(np.int8), "uint64": lambda x: x.astype(np.uint64), "tensor": torch.tensor,
    "int16 tensor": lambda x: torch.tensor(x, dtype=torch.int16), "list": lambda x: x.tolist(),
    "big-endian": lambda x: x.astype(">i8"), "Fortran order": np.asfortranarray, "object": lambda x: x.astype(object),
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1], "transposed": lambda x: x.T.copy().T,
}  # fmt: skip
WRONG = {
    "floats": TOP * 1.0, "truths": TOP > 0, "one axis": TOP[0], "three axes": TOP[None], "words": TOP.astype(str),
    "complex": TOP * 1j, "None": None, "nothing": [], "ragged": [[0, 1], [2]], "NaN": np.full((2, 2), np.nan),
    "masked": np.ma.masked_array(TOP, TOP > 1), "no numbers": torch.tensor(TOP).to("meta"), "gaps": [[0, None], [1, 2]],
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
@pytest.mark.parametrize("name", OF_TOP)
def test_ids_of_any_make_are_the_same_ids(name, form, tried):
    assert_same(OF_TOP[name](SAME[form](TOP)), OF_TOP[name](TOP))
    tried(WHAT)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", OF_TOP)
def test_what_are_no_ids_costs_one_sentence(name, wrong, tried):
    assert "top images" in refused(lambda: OF_TOP[name](WRONG[wrong])).lower()
    tried(WHAT)


@pytest.mark.parametrize("name", [name for name in OF_TOP if name not in ("uniqueness", "top_image_table")])
def test_an_id_that_nobody_has_is_named(name, tried):
    for unknown in (4, 10**12):
        assert str(unknown) in refused(lambda unknown=unknown: OF_TOP[name](np.where(TOP == 3, unknown, TOP)))
        tried(WHAT)


def test_ids_that_are_missing_and_neurons_without_any(tried):
    none = np.full((3, 2), -1)
    assert uniqueness(none).neurons_kept == 0 and math.isnan(uniqueness(none).mean)
    assert np.isnan(level_depth(none, PATHS, [1, 2])).all() and np.isnan(neuron_depths(none, PATHS)).all()
    assert np.isnan(observers.factor_agreement(none, FACTORS, ["colour"])).all()
    for top in (np.zeros((0, 4), int), np.zeros((3, 0), int)):
        for call in OF_TOP.values():
            refused(lambda call=call, top=top: call(top))
        tried(WHAT)
    expected = [[jaccard(a, b) for b in TOP] for a in TOP]
    assert math.isclose(uniqueness(TOP).mean, np.mean([expected[0][1], expected[0][2], expected[1][2]]))


def sized(sizes):
    return level_depth(TOP, PATHS, sizes)


CALLS = {
    # whole numbers that are none
    **{f"groups {sizes!r}": lambda sizes=sizes: sized(sizes)
       for sizes in ([1.5, 1.5], [math.nan, 1], ["1", "2"], None, 3, [[1, 2]], [-1, 4], [1, 1], [2, 2], [None, 3])},
    **{f"valid {valid!r}": lambda valid=valid: level_depth(TOP, PATHS, [1, 2], valid=valid)
       for valid in ([math.nan, 1, 1], [2, 0, 1], ["a", "b", "c"], [True], [[True], [True], [False]], [0.5, 0, 0])},
    **{f"most similar {n!r}": lambda n=n: uniqueness(TOP, most_similar=n) for n in (-1, 1.5, math.nan, None, "3")},
    **{f"last activations {a!r}": lambda a=a: uniqueness(TOP, a) for a in ([1], ["a", "b", "c"], [1j, 2, 3], 3.0)},
    **{f"pairs above {t!r}": lambda t=t: uniqueness(TOP).pairs_above(t) for t in (-1, math.nan, -math.inf)},
    **{f"wilson {given!r}": lambda given=given: wilson(*given)
       for given in ((1.5, 3), (1, 2.5), (1, math.inf), (math.nan, 3), (-1, 3), (4, 3))},
    **{f"resamples {n!r}": lambda n=n: bootstrap_mean([1, 2, 3], n_resamples=n) for n in (0, -1, 1.5, math.nan, None)},
    **{f"draws {n!r}": lambda n=n: spearman_draws([1, 2], [2, 1], n_resamples=n) for n in (0, -1, 1.5, math.nan)},
    **{f"ms resamples {n!r}": lambda n=n: ms_bootstrap(np.eye(3), np.eye(3), n) for n in (0, -1, 1.5, math.nan, None)},
    **{f"seed {n!r}": lambda n=n: bootstrap_mean([1, 2, 3], seed=n) for n in (-1, 1.5, math.nan, None, 2**70, "a")},
    **{f"ms seed {n!r}": lambda n=n: ms_bootstrap(np.eye(3), np.eye(3), 2, n) for n in (-1, 1.5, math.nan, 2**70)},
    **{f"neurons {n!r}": lambda n=n: NeuronStatistics(n, 3) for n in (0, -1, 1.5, math.nan, None, "a", True)},
    **{f"top {n!r}": lambda n=n: NeuronStatistics(3, 3, n) for n in (0, -1, 2.5, math.nan, None)},
    **{f"L0 {n!r}": lambda n=n: RectifiedNeurons.fit(np.eye(4), n) for n in (0, -1, math.nan, math.inf, -math.inf)},
    **{f"cut {n!r}": lambda n=n: cut_at_l0(np.eye(4), n) for n in (0, -1, math.nan, math.inf, 5)},
    # ids of pictures
    **{f"ids {ids!r}": lambda ids=ids: image_id_array(ids, 3)
       for ids in ([0, 1], [0, 1, 1], [0, 1, -1], [0.0, 1.0, 2.0], [0, 1, math.nan], None, list("abc"), [[0, 1, 2]])},
    # paths
    **{f"path {path!r}": lambda path=path: lca_depth(path, PATHS[0])
       for path in (None, math.nan, 5, "", "no folder", b"00042_Animalia", 3.5, True)},
    **{f"folder {path!r}": lambda path=path: taxon_path(path) for path in (None, math.nan, 5, "", ("a", "b"))},
    **{f"first {path!r}": lambda path=path: neuron_depth([path, PATHS[0]]) for path in (None, math.nan)},
    "a folder that is missing": lambda: neuron_depths(TOP, [PATHS[0], math.nan, *PATHS[2:]]),
    "a folder that is None": lambda: neuron_depths(TOP, [PATHS[0], None, *PATHS[2:]]),
    "names of a short path": lambda: rank_names(("a", "b")),
    "no folder": lambda: taxonomy_fractions([]),
    "only pictures without a folder": lambda: taxonomy_fractions([None, ""]),
    # tables
    "no factor": lambda: detection_scores(np.eye(4), FACTORS, []),
    "an unknown factor": lambda: detection_scores(np.eye(4), FACTORS, ["weight"]),
    "fewer rows than factors": lambda: purity(np.eye(3), FACTORS, "colour"),
    "rates beyond the pictures": lambda: at_rates(np.eye(3), [4, 1, 1]),
    "no rate": lambda: at_rates(np.eye(3), []),
    "components of one picture": lambda: independent(np.ones((1, 3))),
    "components of what does not vary": lambda: independent(np.ones((9, 3))),
    "clusters of nothing": lambda: clusters(np.zeros((0, 3)), 2),
    "clusters of NaN": lambda: clusters(np.full((4, 3), np.nan), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_it_costs_one_sentence(name, tried):
    assert refused(CALLS[name])
    tried(WHAT)


def test_paths_of_any_make_have_one_ancestor(tried):
    names = taxon_path(PATHS[0])
    for path in (names, list(names), np.array(names).tolist()):
        assert as_path(path) == names and lca_depth(path, PATHS[1]) == slow_lca_depth(names, taxon_path(PATHS[1]))
        tried(WHAT)
    frame = pd.Series(PATHS, index=[7, 3, 5, 9])  # whose labels are no places
    assert_same(neuron_depths(TOP, frame), neuron_depths(TOP, PATHS))


def test_counts_of_any_make_are_counts(tried):
    for number in (3, np.int64(3), np.uint8(3)):
        assert_same(wilson(number, np.int32(5)), wilson(3, 5))
        assert_same(bootstrap_mean([1, 2, 3], n_resamples=number, seed=number),
                    bootstrap_mean([1, 2, 3], n_resamples=3, seed=3))  # fmt: skip
        assert NeuronStatistics(number, number, number).top_images().shape == (3, 3)
        tried(WHAT)
    for sizes in ((1, 2), np.array([1, 2]), torch.tensor([1, 2]), np.array([1, 2], dtype=np.uint8)):
        assert_same(sized(sizes), sized([1, 2]))
        tried(WHAT)
