"""The pools that the experiment on agreement compares, its random directions, and a whole run of it on toys."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from toy_bench import ToyBench

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import agreement as claims
from vlm_sae_lib.experiments import agreement, pools
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.language import ABOUT
from vlm_sae_lib.records.effects import ENOUGH

FIRST, SECOND = "self-supervised", "second CLIP"


class WithTruth(ToyBench):
    """The toy workbench whose groups are what its pictures show."""

    def pictures(self, split):
        factors = pd.DataFrame({name: self.groups[split] % (2 + i) for i, name in enumerate(ABOUT)})
        return SimpleNamespace(captions=(), factors=factors)


def test_second_tower_is_scored_by_the_first_encoder_alone():
    benches = pools.towers(Workbench(load_profile("pocket")))
    assert list(benches) == ["", f", {SECOND}"]
    bench = benches[f", {SECOND}"]
    assert bench.profile.tower == "pocket:second_clip" and bench.scoring_names == (FIRST,)


def test_random_directions_stand_for_latents_one_for_one_and_fire_as_often():
    bench = WithTruth(300)
    learned, random = pools.latent_pools({"": bench}, 0)
    again, other = (pools.latent_pools({"": bench}, seed)[1] for seed in (0, 1))
    assert [frame["pool"].iloc[0] for frame in learned] == [frame["pool"].iloc[0] for frame in random]
    for one, two, same, differing in zip(learned, random, again, other, strict=True):
        both = one.index.intersection(two.index)  # numbers of the neurons in their pool
        assert len(both) > 20
        np.testing.assert_allclose(two.loc[both, "rate"], one.loc[both, "rate"], atol=2 / 300)
        assert (two.loc[both, f"MS, {FIRST}"] != one.loc[both, f"MS, {FIRST}"]).mean() > 0.9
        pd.testing.assert_frame_equal(two, same)
        assert not two["maximum"].equals(differing["maximum"])
    assert not np.isin(random[0]["maximum"], random[1]["maximum"]).any()  # the two pools have no direction in common
    neurons = pools.together([pools.raw_pool(bench), *random], bench.scoring_names)
    assert set(neurons.facts["pool"]) == {"raw", "BatchTopK ×4", "Matryoshka ×4"}
    assert len(neurons.ms[FIRST]) == len(neurons.facts) and not np.isnan(neurons.ms[SECOND]).any()


def test_an_encoder_that_does_not_score_a_pool_has_no_score_there():
    bench, other = WithTruth(200), WithTruth(200, seed=1)
    other.scoring_names = (FIRST,)
    neurons = pools.together([pools.raw_pool(bench), pools.raw_pool(other)], (FIRST, SECOND))
    assert np.isnan(neurons.ms[SECOND]).sum() == 16 and not np.isnan(neurons.ms[FIRST]).any()


def test_a_neuron_of_fifteen_training_pictures_is_left_out():
    bench = WithTruth(60)
    train, test = np.zeros((60, 2)), np.ones((60, 2))
    train[:16, 0], train[:15, 1], test[:20] = 1, 1, 0
    assert pools.described(bench, "raw", train, test).index.tolist() == [0]
    test[:59, 0] = 0  # on one test picture a score is undefined
    assert pools.described(bench, "raw", train, test).empty


@pytest.fixture(scope="module")
def toy():
    bench, found = WithTruth(300), Findings("agreement", "pocket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "towers", lambda bench: {"": bench})
        patch.setattr(agreement, "PAIRS", 400)
        agreement.run(bench, found)
    return found


def test_a_whole_run_has_ten_trainings_and_both_populations(toy):
    for ending in ("", ENOUGH):
        effect = toy.effects[f"agreement beyond rules without pictures{ending}"]
        assert effect.values.shape == (10, 3) and effect.n <= 4000
        row = toy.results[f"{FIRST}/all factors/MS{ending}"]
        assert row["seeds"] == list(range(10)) and row["interval"] == "Student's t over the trainings"
    assert all(c in toy.results for row in toy.results.values() for c in row["controls"].values())


def test_answers_rest_on_the_results_of_a_run(toy):
    for line in claims.observe(toy):
        assert set(line.rests_on) <= set(toy.results)
