"""Other islands: the published one is what it was, the dials do what they say, and names do not collide."""

import hashlib
from collections import defaultdict

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.pocket import growing, language, tree
from vlm_sae_lib.pocket.islands import HOME, ISLANDS, of_kind
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.taxonomy import RANKS

GROWN = [island for island in ISLANDS.values() if island.tree_seed is not None]


def test_the_published_island_is_what_it_was():
    pictures = pocket_pictures(4, 3)
    painted = hashlib.sha256(b"".join(image.tobytes() for image in pictures.images)).hexdigest()
    assert painted.startswith("c9d517602c688542")
    assert pictures.fingerprint == "39df2d352a02a3889ebb9d2c44f492aa78ea6524f4264dff9cb4821769c89f32"
    assert len(tree.all_species()) == HOME.species and len(language.vocabulary()) == 277


@pytest.mark.parametrize("island", GROWN, ids=lambda island: island.name)
def test_a_grown_tree_has_the_published_one_s_shape_and_as_many_species_as_were_asked_for(island):
    species = tree.all_species(island)
    assert len(species) == island.species == len({each.path for each in species})
    assert [len(tree.names(rank, island)) for rank in RANKS[:5]] == [len(tree.names(rank)) for rank in RANKS[:5]]
    words = [name for rank in RANKS for name in tree.names(rank, island)]
    assert len(set(words)) == len(words) and set(words).isdisjoint(name for rank in RANKS for name in tree.names(rank))
    assert {each.body for each in species} == set(tree.names("order"))
    assert set(words) <= set(language.vocabulary(island)) and tree.all_species(island) is species


@pytest.mark.parametrize("island", GROWN, ids=lambda island: island.name)
def test_a_genus_hands_down_one_trait_and_its_species_differ_in_the_other(island):
    genera = defaultdict(list)
    for each in tree.all_species(island):
        traits = {"pattern": each.pattern, "colour": each.colour}
        genera[each.rank("genus")].append((traits.pop(island.genus_trait), *traits.values()))
    for members in genera.values():
        kept, differs = zip(*members, strict=True)
        assert len(set(kept)) == 1 and len(set(differs)) == len(members)


def test_relatives_and_bodies_are_others_and_another_seed_gives_another_tree():
    related = {each.body: each.path[:3] for each in tree.all_species(ISLANDS["atoll"])}
    assert related["beetle"] != related["butterfly"] or related["oak"] != related["daisy"]
    orders = tree.names("order")
    one, two = (growing.grow(seed, 60, tree.TREE, orders, tree.PATTERNS, 8, tree.HABITATS) for seed in (1, 2))
    assert one != two and one == growing.grow(1, 60, tree.TREE, orders, tree.PATTERNS, 8, tree.HABITATS)


@pytest.mark.parametrize("species", [29, 1000])
def test_a_tree_that_cannot_be_grown_is_refused(species):
    with pytest.raises(ValueError, match="cannot be dealt to .* places"):
        growing.grow(1, species, tree.TREE, tree.names("order"), tree.COLOURS, 4, tree.HABITATS)


def test_the_habitat_dial_ties_habitat_to_class():
    def tie(island):
        facts = pocket_pictures(3000, 5, island).factors
        table = facts.groupby(["class", "habitat"]).size().unstack(fill_value=0).to_numpy()
        statistic = chi2_contingency(table)
        return np.sqrt(statistic.statistic / table.sum() / (min(table.shape) - 1)), statistic.pvalue

    (none, p), (now, _), (strong, _) = map(tie, (ISLANDS["atoll"], HOME, ISLANDS["fjord"]))
    assert p > 1e-3 and none < 0.08 < 0.3 < now < strong


def test_pictures_of_an_island_are_a_source_like_any_other():
    pictures = load_pictures("pocket@atoll:5:3")
    assert pictures.name == "pocket@atoll:5:3" and pictures.subset([1]).island is ISLANDS["atoll"]
    assert set(pictures.factors["order"]) <= set(tree.names("order", ISLANDS["atoll"]))
    assert len({pocket_pictures(5, 3, island).fingerprint for island in ISLANDS.values()}) == len(ISLANDS) - 1  # twin
    assert pocket_pictures(5, 3, ISLANDS["twin"]).fingerprint == pocket_pictures(5, 3).fingerprint
    assert len(pictures.captions) == 5 and pictures.folders[0].startswith("000")


def test_an_island_that_is_not_there_and_models_that_are_not_made_are_told_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    for kind in ("pocket@nowhere", "pocket@"):
        with pytest.raises(UserError, match="There is no island .*; write pocket, pocket@twin"):
            of_kind(kind)
    assert of_kind("pocket") is HOME and of_kind("folder") is None
    with pytest.raises(UserError, match="run `make islands ISLANDS=atoll`"):
        ISLANDS["atoll"].folder("clip")
    assert ISLANDS["twin"].folder("llava") == paths.pocket() / "llava"
    with pytest.raises(UserError, match="There is no pocket model 'dog'"):
        HOME.folder("dog")


def test_an_island_has_a_profile_that_differs_in_where_it_looks():
    there, home = load_profile("island-fjord"), load_profile("pocket")
    assert there.tower == there.vlm == there.island == "pocket@fjord" and home.island == "pocket"
    assert dict(there.scoring_towers)["second CLIP"] == "pocket@fjord:second_clip"
    assert there.test_pictures == "pocket@fjord:4000:13" and not there.shipped
    assert (there.k, there.steps, there.hook_points) == (home.k, home.steps, home.hook_points)
    assert load_profile("light").island is None
