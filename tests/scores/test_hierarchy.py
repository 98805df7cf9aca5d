"""Taxonomy paths, common ancestors and level depths against path walks and the authors' code."""

import json

import data_files
import numpy as np
import oracles
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores import hierarchy
from vlm_sae_lib.scores.hierarchy import level_depth, neuron_depth, neuron_depths
from vlm_sae_lib.taxonomy import RANKS, lca_depth, taxon_path

REFERENCE = json.loads((data_files.REFERENCE / "hierarchy_and_uniqueness.json").read_text())
BEETLE = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"
TOP = np.array(REFERENCE["top_images"])
VALID = np.array(REFERENCE["sixteenth_activation"]) != 0


def small_world(seed=0, images=60, neurons=25, k=5):
    rng = np.random.default_rng(seed)
    folders = [f"{i:05d}_" + "_".join(f"{r}{rng.integers(2)}" for r in "KPCOFGs") for i in range(images)]
    return folders, np.array([rng.choice(images, size=k, replace=False) for _ in range(neurons)])


def test_a_path_is_the_seven_names_behind_the_index():
    path = taxon_path(f"/somewhere/train/{BEETLE}/")
    assert path == ("Animalia", "Arthropoda", "Insecta", "Coleoptera", "Coccinellidae", "Coccinella", "septempunctata")
    assert len(path) == len(RANKS)
    assert taxon_path(BEETLE + "_minor")[-1] == "septempunctata_minor"
    assert taxon_path("00001_Animal_Arthropod_Insect_Beetle_Roundshell_Dotshell_ruby-dotshell")[-1] == "ruby-dotshell"


@pytest.mark.parametrize("folder", ["n01440764", "00042_Animalia_Arthropoda", BEETLE[6:], "00042_A__C_D_E_F_g", ""])
def test_other_folders_are_refused_with_an_example(folder):
    with pytest.raises(UserError, match="no iNaturalist folder name"):
        taxon_path(folder)


def test_lca_depth_walks_both_paths():
    assert lca_depth(BEETLE, BEETLE) == 7
    assert lca_depth(BEETLE, BEETLE.replace("septempunctata", "undecimpunctata")) == 6
    assert lca_depth(BEETLE, BEETLE.replace("Animalia", "Plantae")) == 0  # equal names lower down do not count
    assert lca_depth(("a", "b"), ("a", "b", "c")) == 2
    assert lca_depth((), ("a",)) == 0


@pytest.mark.parametrize("reduce", ["rounded_mean", "mode"])
def test_agrees_with_the_authors_code(reduce):
    depths = neuron_depths(TOP, REFERENCE["folders"], reduce=reduce)
    np.testing.assert_array_equal(depths, REFERENCE[f"neuron_depth_{reduce}"])
    one_by_one = [neuron_depth([REFERENCE["folders"][i] for i in row], reduce) for row in TOP[:20]]
    assert one_by_one == REFERENCE[f"neuron_depth_{reduce}"][:20]
    levels = level_depth(TOP, REFERENCE["folders"], REFERENCE["group_sizes"], valid=VALID, reduce=reduce)
    np.testing.assert_allclose(levels, REFERENCE[f"level_depth_{reduce}"], rtol=1e-14)


@pytest.mark.parametrize("reduce", ["mean", "rounded_mean", "mode"])
@pytest.mark.parametrize("k", [2, 3, 4, 5, 16])
def test_is_the_walk_over_all_pairs(monkeypatch, reduce, k):
    monkeypatch.setattr(hierarchy, "BLOCK", 7)
    folders, top = small_world(k, k=k)
    paths = [taxon_path(folder) for folder in folders]
    truth = [oracles.neuron_depth([paths[i] for i in row], reduce) for row in top]
    np.testing.assert_allclose(neuron_depths(top, folders, reduce=reduce), truth, rtol=1e-15)


def test_ties():
    a, b = ("x", "1", "1"), ("x", "1", "2")
    c, d = ("y", "1", "1"), ("y", "1", "1")
    # depths 2 0 0 0 0 3: zero is most frequent; without d: 2 0 0
    assert neuron_depth([a, b, c, d], "mode") == 0
    # a tie of depths 2 and 0 (pairs ab ac): whichever pair comes first
    one, two = [a, b, ("x", "1", "3"), c], [c, a, b, ("x", "1", "3")]
    assert [neuron_depth(paths, "mode") for paths in (one, two)] == [2, 0]
    halves = [[a, a, b], [a, b, b]]
    assert [oracles.neuron_depth(p, "mean") for p in halves] == [7 / 3, 7 / 3]
    # means of exactly 0.5 and 1.5 round to the even neighbour
    assert neuron_depth([("x", "1"), ("x", "2"), ("y", "1"), ("y", "2")], "mean") == pytest.approx(1 / 3)
    four = [("x", "1", "a"), ("x", "2", "b"), ("x", "3", "c"), ("y", "4", "d")]
    assert (neuron_depth(four, "mean"), neuron_depth(four, "rounded_mean")) == (0.5, 0)
    deep = [("z", *path) for path in four]
    assert (neuron_depth(deep, "mean"), neuron_depth(deep, "rounded_mean")) == (1.5, 2)


def test_paths_of_different_length_end_where_they_end():
    paths = [("a",), ("a",), ("a", "b"), ()]
    assert neuron_depth(paths, "mean") == oracles.neuron_depth(paths, "mean") == 0.5


@pytest.mark.parametrize("reduce", ["mean", "rounded_mean", "mode"])
def test_nothing_valid_is_nan(reduce):
    folders, top = small_world()
    top[:10] = -1
    top[10, 3] = -1
    levels = level_depth(top, folders, [10, 1, 0, 14], reduce=reduce)
    assert np.isnan(levels[:3]).all() and np.isfinite(levels[3])
    assert np.isnan(level_depth(top, folders, [25], valid=np.zeros(25, dtype=bool), reduce=reduce)).all()
    assert np.isnan(neuron_depth([BEETLE], reduce)) and np.isnan(neuron_depth([], reduce))


def test_missing_images_never_stand_for_the_last_folder():
    folders, top = small_world()
    top[4, 2:] = -1
    paths = [taxon_path(folders[i]) for i in top[4, :2]]
    assert neuron_depths(top, folders)[4] == lca_depth(*paths)
    levels = level_depth(top, folders, [4, 1, 20], valid=np.ones(25, dtype=bool))
    assert levels[1] == lca_depth(*paths)


def test_mistakes_are_one_sentence():
    folders, top = small_world()
    with pytest.raises(UserError, match="hold 24 neurons"):
        level_depth(top, folders, [12, 12])
    with pytest.raises(UserError, match="no reduction 'median'"):
        level_depth(top, folders, [25], reduce="median")
    with pytest.raises(UserError, match="has no folder name"):
        level_depth(top, folders[:10], [25])
    with pytest.raises(UserError, match="lies in no taxonomy folder"):
        level_depth(top, [None] * 60, [25])
    with pytest.raises(UserError, match="valid has shape"):
        level_depth(top, folders, [25], valid=np.ones(3, dtype=bool))
