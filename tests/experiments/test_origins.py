"""The origins experiment: an untrained tower, published numbers that come again, verdicts that follow them."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import oracles
import pytest

from vlm_sae_lib.claims import origins as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import origins, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.towers import load_tower


@pytest.fixture(scope="module")
def published():
    return Findings.read(running.published("origins"))


def test_an_untrained_tower_is_the_same_architecture_and_another_for_each_seed():
    trained, zero, again, one = (
        load_tower(spec) for spec in ("pocket", "pocket:random:0", "pocket:random:0", "pocket:random:1")
    )
    shapes = [{name: tensor.shape for name, tensor in tower.module.state_dict().items()} for tower in (trained, zero)]
    assert shapes[0] == shapes[1] and zero.hook_points == trained.hook_points
    assert zero.preprocessing == trained.preprocessing
    assert zero.weights_hash == again.weights_hash
    assert len({tower.weights_hash for tower in (trained, zero, one)}) == 3
    assert (zero.name, one.name) == ("pocket:random:0", "pocket:random:1")


@pytest.mark.parametrize("spec", ["pocket:random", "pocket:random:", "pocket:random:x", "pocket:random:-1"])
def test_an_untrained_tower_needs_a_seed(spec):
    with pytest.raises(UserError, match="pocket:random:<seed>"):
        load_tower(spec)


def test_building_it_leaves_the_random_numbers_of_others_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_tower("pocket:random:3")
    assert torch.equal(torch.rand(3), expected)


def test_other_towers_have_no_known_twin():
    bench = SimpleNamespace(profile=replace(load_profile("pocket"), tower="hf:somewhere"))
    with pytest.raises(UserError, match="untrained twin"):
        origins.on_untrained_tower(bench, 0)


def test_published_scores_come_again_by_the_slow_definition(published):
    """MS of the shipped SAE's most active latents on the first test pictures, pair by pair, from the pixels on."""
    from vlm_sae_lib import Workbench

    bench = Workbench(load_profile("pocket"))
    sample = published.frame("sample")
    pictures = bench.pictures("test").subset(range(int(sample["pictures"][0])))
    latents = bench.shown("main_matryoshka").encode(bench.tower().activations(pictures.images, "block_5")).numpy()
    embeddings = bench.scoring_tower().activations(pictures.images, "projection").numpy()
    for row in list(sample.itertuples())[::2]:
        assert oracles.monosemanticity(latents[:, row.latent], embeddings) == pytest.approx(row.ms, abs=1e-3)


def test_published_differences_are_differences_and_all_are_as_sparse(published):
    for rival in origins.RIVALS:
        for name in ("MS/self-supervised", "F1/all factors", "F1/coarse ranks"):
            difference = published.value(f"{name}/SAE") - published.value(f"{name}/{rival}")
            assert published.value(f"{name}/SAE minus {rival}") == pytest.approx(difference)
        if rival != origins.RANDOM_TOWER:
            assert published.value(f"L0/{rival}") == pytest.approx(published.value("L0/SAE"), rel=0.15)


def test_the_verdict_follows_the_numbers(published):
    found = copy.deepcopy(published)
    names = [name for name in found.results if name.endswith("SAE minus k-means")]

    def verdict():
        return next(line.verdict for line in claims.conclude(found) if "k-means" in line.claim)

    for name in names:
        found.results[name].update(value=0.1, ci_low=0.05, ci_high=0.15)
    assert verdict() is Verdict.HOLDS
    found.results["F1/all factors/SAE minus k-means"].update(value=0.0, ci_low=-0.05, ci_high=0.05)
    assert verdict() is Verdict.IN_PART
    for name in names:
        found.results[name].update(value=np.nan, ci_low=None, ci_high=None)
    assert verdict() is Verdict.FAILS
