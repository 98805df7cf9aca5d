"""The origins experiment: an untrained tower, rivals at equal rates by the slow definition, numbers that come again."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import oracles
import pytest
from matplotlib import pyplot as plt
from scipy import stats

from vlm_sae_lib.claims import origins as claims
from vlm_sae_lib.claims.verdict import said
from vlm_sae_lib.controls import directions
from vlm_sae_lib.controls.codes import at_rates, before_the_cut
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import origins, rivals, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.show.experiments.origins import FIGURES
from vlm_sae_lib.statistics.intervals import student
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.workbench import Workbench

TEN = origins.SEEDS


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
        rivals.on_untrained_tower(bench, 0)


def test_published_scores_come_again_by_the_slow_definition(published):
    """MS of the shipped SAE's most active latents on the first test pictures, pair by pair, from the pixels on."""
    bench = Workbench(load_profile("pocket"))
    sample = published.frame("sample")
    pictures = bench.pictures("test").subset(range(int(sample["pictures"][0])))
    latents = bench.shown("main_matryoshka").encode(bench.tower().activations(pictures.images, "block_5")).numpy()
    embeddings = bench.scoring_tower().activations(pictures.images, "projection").numpy()
    for row in list(sample.itertuples())[::2]:
        assert oracles.monosemanticity(latents[:, row.latent], embeddings) == pytest.approx(row.ms, abs=1e-3)


def test_published_differences_are_differences_and_all_are_as_sparse(published):
    for rival in rivals.AT_ONE_CUT:
        for name in ("MS/self-supervised", "F1/all factors", "F1/coarse ranks"):
            difference = published.value(f"{name}/SAE") - published.value(f"{name}/{rival}")
            assert published.value(f"{name}/SAE minus {rival}") == pytest.approx(difference)
        if rival != rivals.TWIN:
            assert published.value(f"L0/{rival}") == pytest.approx(published.value("L0/SAE"), rel=0.15)


def test_what_the_page_says_in_words_is_so(published):
    """At one L0 k-means' centres score higher under the second encoder; random directions score higher the rarer."""
    for name in ("MS", "MS of at least 10 pictures"):
        assert published.results[f"{name}/second CLIP/SAE minus k-means"]["ci_high"] < 0
    for encoder in ("self-supervised", "second CLIP"):
        name = f"MS by firing/{encoder}/{rivals.RANDOM}/2 to 9 minus 300 and more"
        assert published.results[name]["ci_low"] > 0


def test_the_plan_asks_for_ten_trainings():
    assert len(TEN) == 10


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The whole experiment, very small, with three seeds; and what it measured at equal rates."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VLM_SAE_RUNS", str(tmp_path_factory.mktemp("runs")))
    patch.setattr(origins, "SEEDS", (0, 1, 2))
    patch.setattr(origins, "RESAMPLES", 5)
    patch.setattr(origins, "READ_OUT", 2)
    patch.setattr(rivals, "EXPANSION", 0.5)
    sizes = {"train_pictures": "pocket:200:11", "test_pictures": "pocket:80:13", "choosing_pictures": "pocket:60:12"}
    bench = Workbench(load_profile("pocket", steps=15, batch_size=100, k=6, **sizes))
    found = Findings("origins", "pocket")
    origins.run(bench, found)
    found.write()
    yield bench, found
    patch.undo()


def test_every_rival_has_its_effect_in_both_populations_training_by_training(small):
    _, found = small
    assert set(found.effects) == {
        f"gain over {rival}{population}" for rival in rivals.RIVALS for population in ("", ENOUGH)
    }
    for effect in found.effects.values():
        assert effect.values.shape == (3, 2) and effect.cases == ("self-supervised", "second CLIP")
        assert (effect.unit, effect.of, effect.split) == ("training", "MS", "test") and effect.n > 0


@pytest.mark.parametrize("rival", [rivals.K_MEANS, rivals.PCA, rivals.TWIN])
def test_an_effect_is_what_a_slow_recomputation_gives(small, rival):
    """The latents' rates handed out by rank and the score pair by pair, of one training."""
    bench, found = small
    splits, seed = origins.load_splits(bench), 1
    sae = bench.saes([bench.config(rivals.KIND, 0.5, seed=seed)], "block_5")[0]
    latents, embeddings = sae.encode_sparse(splits.test.astype(np.float32)).toarray(), bench.embeddings("test").array()
    l0 = np.mean([
        one.encode_sparse(splits.train.astype(np.float32)).nnz / len(splits.train)
        for one in bench.saes([bench.config(rivals.KIND, 0.5, seed=seed) for seed in range(3)], "block_5")
    ])  # fmt: skip
    if rival == rivals.TWIN:
        twin, seen = rivals.on_untrained_tower(bench, seed)
        values = np.maximum((seen.test - twin.b_dec.numpy()) @ twin.w_enc.numpy() + twin.b_enc.numpy(), 0)
    else:
        fits = {
            rivals.K_MEANS: lambda: directions.clusters(splits.train, 64, seed=seed).cut(splits.train, l0),
            rivals.PCA: lambda: directions.principal(splits.train),
        }
        fit = fits[rival]()
        values = np.maximum((splits.test - fit.mean) @ fit.directions.T, 0)
    kept = oracles.at_rates(values.tolist(), (latents > 0).sum(axis=0))
    theirs = [[v if i in pictures else 0.0 for i, v in enumerate(values[:, j])] for j, pictures in enumerate(kept)]
    for name, least in (("", 2), (ENOUGH, 10)):
        means = [
            np.nanmean([oracles.monosemanticity(code, embeddings) for code in codes if np.count_nonzero(code) >= least])
            for codes in (latents.T.tolist(), theirs)
        ]
        effect = found.effects[f"gain over {rival}{name}"]
        assert effect.values[seed, 0] == pytest.approx(means[0] - means[1], abs=1e-4)


def test_at_equal_rates_nobody_fires_more_than_the_latents_and_directions_that_are_as_many_fire_alike(small):
    bench, _ = small
    splits = origins.load_splits(bench)
    sae = bench.saes([bench.config(rivals.KIND, 0.5, seed=0)], "block_5")[0]
    fires = sorted(sae.encode_sparse(splits.test.astype(np.float32)).getnnz(axis=0))
    for fit in (directions.random(splits.train, 64, seed=0), directions.clusters(splits.train, 64, seed=0)):
        code = at_rates(before_the_cut(fit, splits.test), np.array(fires))
        assert np.mean(np.array(sorted(code.getnnz(axis=0))) == fires) > 0.9
        assert (np.array(sorted(code.getnnz(axis=0))) <= fires).all()


def test_intervals_are_those_of_students_t_over_the_trainings(small):
    """Formerly the smallest and largest of the seeds, which covers .75 with three of them."""
    bench, found = small
    values = found.effects["gain over k-means"].values[:, 0]
    half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
    row = found.results["MS at equal rates/self-supervised/SAE minus k-means"]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((values.mean() - half, values.mean() + half))
    assert all("smallest and largest" not in (row["interval"] or "") for row in found.results.values())
    for who, seeds in (("SAE", [0, 1, 2]), (rivals.PCA, None)):
        row = found.results[f"MS/self-supervised/{who}"]
        assert row["seeds"] == seeds and ("bootstrap draws of the pictures" in row["interval"]) is (seeds is None)
    assert found.results["R² of a linear decoder/SAE"]["seeds"] == [0, 1]
    splits = origins.load_splits(bench)
    saes = bench.saes([bench.config(rivals.KIND, 0.5, seed=seed) for seed in range(3)], "block_5")
    l0 = student([sae.encode_sparse(splits.test.astype(np.float32)).nnz / len(splits.test) for sae in saes])
    row = found.results["L0/SAE"]
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((l0.value, *l0.interval))


def test_how_often_a_neuron_fires_puts_each_in_one_bin(small):
    _, found = small
    table = found.frame("by firing")
    for who in (rivals.SAE, rivals.RANDOM):
        neurons = table.loc[(table["who"] == who) & (table["encoder"] == "second CLIP"), "neurons"].sum()
        assert neurons == found.results[f"MS at equal rates/second CLIP/{who}"]["n"]


def test_it_is_observed_in_numbers_and_drawn(small):
    _, found = small
    seen = claims.observe(found)
    assert all(one.question.endswith("?") and set(one.rests_on) <= set(found.results) for one in seen)
    k_means = next(one for one in seen if "k-means" in one.question)
    for name in ("MS/second CLIP/SAE minus k-means", "MS at equal rates/second CLIP/SAE minus k-means"):
        assert said(found, name, 3) in k_means.answer
    for draw in FIGURES.values():
        plt.close(draw(found))
