"""Training for the score: choosing λ, equal R², purity, effects; and published numbers by the slow definition."""

import copy
from types import SimpleNamespace

import numpy as np
import oracles
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from vlm_sae_lib.claims import monoloss as claims
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import monoloss, running, step_cost
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.score_training import Compared, Measured, with_zeros
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import published_table
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.scores.truth import purity
from vlm_sae_lib.show.experiments import monoloss as figures
from vlm_sae_lib.workbench import Workbench


def trial(coefficient: float, own: float, r2: float) -> dict:
    return {"coefficient": coefficient, "own": own, "r2": r2}


def test_the_best_score_within_a_point_of_r2_is_chosen():
    trials = [trial(0, 0.5, 0.80), trial(0.01, 0.6, 0.795), trial(0.1, 0.7, 0.791), trial(1, 0.9, 0.7)]
    assert monoloss.best_coefficient(trials) == 0.1
    assert monoloss.best_coefficient([trials[0], trials[3], trial(2, 1.0, 0.1)]) == 1
    assert monoloss.best_coefficient([trials[0], trial(0.01, 0.4, 0.81), trial(0.02, 0.3, 0.8)]) == 0.01


def test_purity_by_hand():
    factors = pd.DataFrame({"species": ["a", "a", "b", "c"]})
    activations = np.array([[1.0, 0, 2, 0], [1, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 4]])
    assert purity(activations, factors, "species")[[0, 2, 3]].tolist() == [pytest.approx(2 / 3), 1, 1]
    assert purity(activations, factors, "species", weighted=True)[0] == pytest.approx(3 / 5)
    assert np.isnan(purity(activations, factors, "species")[1])


def test_a_mean_with_zeros_counts_every_latent():
    assert with_zeros(np.array([0.2, np.nan, 0.4, np.nan])) == pytest.approx(0.15)
    assert with_zeros(np.full(3, np.nan)) == 0 and with_zeros(np.array([])) == 0


def one_sae(r2: float, ms: float) -> Measured:
    return Measured({"R²": r2}, {"an encoder": ms}, {"an encoder": 5})


def test_gains_are_taken_training_by_training():
    """Formerly seeds were resampled on each side alone, R² with them: the line of one seed was held against another."""
    plain = {6: [one_sae(0.6, 0.5), one_sae(0.7, 0.6)], 10: [one_sae(0.8, 0.3), one_sae(0.9, 0.4)]}
    one = Compared(10, plain, [one_sae(0.75, 0.45), one_sae(0.85, 0.45)])
    np.testing.assert_allclose(one.gain_at_equal_r2("an encoder"), [0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(one.gain_at_equal_k("an encoder"), [0.15, 0.05])
    np.testing.assert_allclose(one.r2_lost(), [0.05, 0.05])
    beyond = Compared(10, plain, [one_sae(0.65, 0.45), one_sae(0.65, 0.45)])  # the second seed's plain SAEs end at .7
    gains = beyond.gain_at_equal_r2("an encoder")
    assert gains[0] == pytest.approx(0.0) and np.isnan(gains[1])


def test_steps_are_timed_in_turns(monkeypatch):
    monkeypatch.setattr(step_cost, "REPEATS", 2)
    monkeypatch.setattr(step_cost, "STEPS_TIMED", 2)
    rows = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    plain = SaeConfig(expansion=2, k=3, steps=100, batch_size=32)
    ratios = step_cost.step_ratios(
        rows, plain, SaeConfig(expansion=2, k=3, steps=100, batch_size=32, mono_coefficient=1)
    )
    assert len(ratios) == 2 and all(ratio > 0 for ratio in ratios)


def test_pictures_without_factors_are_refused_in_one_sentence():
    bench = SimpleNamespace(pictures=lambda split: [])
    with pytest.raises(UserError, match="profile pocket"):
        monoloss.run(bench, Findings("monoloss", "colab"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The whole experiment, very small."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VLM_SAE_RUNS", str(tmp_path_factory.mktemp("runs")))
    for name, value in (("COEFFICIENTS", (0.03,)), ("SEEDS", (0, 1)), ("KINDS", ("batch_top_k",)), ("RESAMPLES", 10),
                        ("EXPANSION", 0.5), ("SPARSITIES", (0.5, 1.5))):  # fmt: skip
        patch.setattr(monoloss, name, value)
    for name, value in (("EXPANSION", 0.5), ("REPEATS", 2), ("STEPS_TIMED", 1)):
        patch.setattr(step_cost, name, value)
    sizes = {"train_pictures": "pocket:80:11", "test_pictures": "pocket:60:13", "choosing_pictures": "pocket:40:12"}
    found = Findings("monoloss", "pocket")
    bench = Workbench(load_profile("pocket", steps=12, batch_size=40, **sizes))
    monoloss.run(bench, found)
    found.write()
    yield bench, found
    patch.undo()


def test_every_gain_has_its_n_its_interval_and_its_controls(small):
    _, found = small
    gains = [name for name in found.results if "/gain at" in name]
    assert len(gains) == 2 * 2 * (3 * 2 + 1 + 3)  # places, ways; scores in both populations, zeros, purities
    for name in gains:
        row = found.results[name]
        assert row["n"] is not None and len(row["controls"]) == 2 and row["split"] == "test"
        assert row["interval"] == "Student's t over the trainings"
    assert found.results["projection/batch_top_k/coefficient"]["split"] == "choosing"
    assert found.results["projection/batch_top_k/own inputs with zeros/with"]["paper_value"] == 0.602
    assert found.results["cost/batch_top_k"]["unit"] == "ratio, this machine"
    assert all("smallest and largest" not in (row["interval"] or "") for row in found.results.values())


def test_effects_are_those_of_a_slow_recomputation(small):
    """One case of one training: every score pair by pair, the line between the two plain SAEs around the R² by hand."""
    bench, found = small
    place, seed, encoder = "block_5", 1, "second CLIP"
    store, embeddings = bench.activations("test", place), bench.embeddings("test", encoder).array()

    def point(**settings):
        sae = bench.saes([bench.config("batch_top_k", 0.5, seed=seed, **settings)], place)[0]
        codes, x = sae.encode(store.array()).numpy(), store.array()
        found = [oracles.monosemanticity(code, embeddings) for code in codes.T.tolist() if np.count_nonzero(code) >= 2]
        return oracles.r2(np.asarray(x), sae.decode(sae.encode(x)).numpy()), np.mean(found)

    r2, ms = point(mono_coefficient=0.03)
    line = sorted(point(k=k) for k in (5, 10, 15))
    by_hand = np.nan
    for (left, low), (right, high) in zip(line[:-1], line[1:], strict=True):
        if left <= r2 <= right:
            by_hand = ms - (low + (high - low) * (r2 - left) / (right - left))
    effect = found.effects[monoloss.GAIN]
    case = effect.cases.index(f"{place}/batch_top_k/{encoder}")
    assert effect.values.shape == (2, 4) and effect.values[seed, case] == pytest.approx(by_hand, abs=1e-4, nan_ok=True)
    kept = found.effects[monoloss.KEPT]
    lost = next(value for value, _ in [point(k=10)]) - r2
    assert kept.values[seed, kept.cases.index(f"{place}/batch_top_k")] == pytest.approx(0.01 - lost, abs=1e-4)
    assert set(found.effects) == {monoloss.GAIN, monoloss.GAIN + ENOUGH, monoloss.KEPT}


def test_what_was_chosen_stands_beside_its_effect_on_the_choosing_pictures(small):
    _, found = small
    for name, effect in found.effects.items():
        beside = found.results[f"effect/{name}"]["controls"]
        choosing, optimism = (found.results[beside[word]] for word in ("on the choosing pictures", "optimism"))
        if choosing["value"] is not None and not np.isnan(effect.by_unit()).any():
            assert optimism["value"] == pytest.approx(choosing["value"] - effect.by_unit().mean(), abs=1e-6)
        assert choosing["split"] == "choosing"


def test_its_figures_can_be_drawn(small):
    for draw in figures.FIGURES.values():
        plt.close(draw(small[1]))


def test_observations_say_the_numbers_and_how_many_trainings_lie_outside(small):
    found = copy.deepcopy(small[1])
    names = [f"{place}/batch_top_k/species purity/gain at equal R²" for place in ("projection", "block_5")]
    for name, seeds in zip(names, ([0, 1], [1]), strict=True):
        found.results[name] |= {"value": 0.02, "ci_low": 0.01, "ci_high": 0.05, "seeds": seeds}

    def answer(question):
        return next(one.answer for one in claims.observe(found) if question in one.question)

    assert "0.020 [0.010, 0.050] (BatchTopK, projection)" in answer("purer")
    assert "2 of 2 lie above zero with their whole interval" in answer("purer")
    assert "1 of 4 have an R² outside" in answer("purer")
    found.results[names[1]]["seeds"] = [0, 1]
    assert "outside" not in answer("purer")
    assert all(set(one.rests_on) <= set(found.results) for one in claims.observe(found))


def test_the_published_table_is_whole():
    table = published_table("monoloss")
    assert (table["source"].str.len() > 0).all() and table["value"].notna().all()
    keys = ["dataset", "sae", "encoder", "loss", "statistic"]
    assert not table.duplicated(keys).any()
    assert table.groupby("statistic").size()[["r2", "mono_score", "purity", "coefficient"]].tolist() == [48, 48, 24, 24]


def test_published_scores_of_single_latents_are_those_of_the_slow_definition():
    found = Findings.read(running.published("monoloss"))
    bench = Workbench(load_profile("pocket"))
    source = bench.pictures("test")
    for row in found.frame("single latents").groupby("sae").head(1).to_dict("records"):
        sae = bench.shown(row["sae"])
        assert sae.hash == row["hash"]
        store = bench.activations("test", bench.profile.main_hook_point)
        inputs, latent = store.array(), sae.encode_sparse(store)[:, row["latent"]].toarray().ravel()
        fires = np.flatnonzero(latent > 0)
        kept = np.append(fires, np.flatnonzero(latent == 0)[:1])  # the rest has no weight in any pair
        # another torch rounds the activations otherwise
        assert oracles.monosemanticity(latent[kept], inputs[kept]) == pytest.approx(row["own inputs"], abs=2e-4)
        species = source.factors["species"].iloc[fires]
        assert species.value_counts(normalize=True).iloc[0] == pytest.approx(row["species purity"])
        assert store.image_ids[np.argmax(latent)] == row["top pictures"][0]
