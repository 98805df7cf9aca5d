"""Training for the score: choosing λ, equal R², purity, verdicts; and published numbers by the slow definition."""

import copy
from types import SimpleNamespace

import numpy as np
import oracles
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from vlm_sae_lib.claims import monoloss as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.controls.frontier import Point, above_frontier
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import monoloss, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.results import published_table
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.scores.comparison import score
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


def points(r2: list[float], values: list[float], draws: int = 50, seed: int = 0) -> list[Point]:
    noise = np.random.default_rng(seed).normal(0, 1e-3, draws)
    return [Point(r, v, v + noise) for r, v in zip(r2, values, strict=True)]


def test_the_height_above_the_frontier_by_hand():
    line = {6: points([0.6, 0.6], [0.5, 0.5]), 10: points([0.8, 0.8], [0.3, 0.3])}
    found = above_frontier(points([0.75, 0.75], [0.45, 0.45]), line)
    assert found.value == pytest.approx(0.45 - 0.35)
    assert found.interval.low == pytest.approx(0.1) and found.interval.high == pytest.approx(0.1)  # paired by draw
    on_it = above_frontier(points([0.7, 0.7], [0.39, 0.41], seed=1), line)
    assert on_it.value == pytest.approx(0) and on_it.interval.low < 0 < on_it.interval.high


def test_the_frontier_is_never_prolonged():
    line = {6: points([0.6], [0.5]), 10: points([0.8], [0.3])}
    for outside in (0.59, 0.81):
        found = above_frontier(points([outside], [0.4]), line)
        assert np.isnan(found.value) and np.isnan(found.interval).all()
    half = above_frontier(points([0.75, 0.83], [0.4, 0.4]), line)  # some draws of the seeds leave it
    assert np.isfinite(half.value) and np.isnan(half.interval.low)
    with pytest.raises(UserError, match="two settings"):
        above_frontier(points([0.7], [0.4]), {6: line[6]})
    with pytest.raises(UserError, match="paired by draw"):
        above_frontier(points([0.7], [0.4], draws=49), line)


def test_purity_by_hand():
    factors = pd.DataFrame({"species": ["a", "a", "b", "c"]})
    activations = np.array([[1.0, 0, 2, 0], [1, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 4]])
    assert purity(activations, factors, "species")[[0, 2, 3]].tolist() == [pytest.approx(2 / 3), 1, 1]
    assert purity(activations, factors, "species", weighted=True)[0] == pytest.approx(3 / 5)
    assert np.isnan(purity(activations, factors, "species")[1])


def test_a_mean_with_zeros_counts_every_latent():
    rng = np.random.default_rng(0)
    latents = np.maximum(rng.normal(size=(30, 6)), 0)
    latents[:, 4:] = 0
    own = score(latents, rng.normal(size=(30, 5)) + 1, resamples=20)
    value, draws, count = monoloss.with_zeros(own)
    assert value == pytest.approx(np.nansum(own.ms) / 6) and count == 6 and len(draws) == 20
    nothing = score(np.zeros((30, 3)), rng.normal(size=(30, 5)), resamples=20)
    assert monoloss.with_zeros(nothing)[0] == 0


def test_steps_are_timed_in_turns(monkeypatch):
    monkeypatch.setattr(monoloss, "REPEATS", 2)
    monkeypatch.setattr(monoloss, "STEPS_TIMED", 2)
    rows = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    plain = SaeConfig(expansion=2, k=3, steps=100, batch_size=32)
    ratios = monoloss.step_ratios(
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
                        ("EXPANSION", 0.5), ("SPARSITIES", (0.5, 1.5)), ("REPEATS", 2), ("STEPS_TIMED", 1),
                        ("scored", lambda bench, code, name: score(code, bench.embeddings("test", name).array(), resamples=10))):  # fmt: skip  # noqa: E501
        patch.setattr(monoloss, name, value)
    sizes = {"train_pictures": "pocket:80:11", "test_pictures": "pocket:60:13", "choosing_pictures": "pocket:40:12"}
    found = Findings("monoloss", "pocket")
    monoloss.run(Workbench(load_profile("pocket", steps=12, batch_size=40, **sizes)), found)
    found.write()
    yield found
    patch.undo()


def test_every_gain_has_its_n_its_interval_and_its_controls(small):
    gains = [name for name in small.results if "/gain at" in name]
    assert len(gains) == 2 * (2 * 7 + 3)
    for name in gains:
        row = small.results[name]
        assert row["n"] and row["interval"] and len(row["controls"]) == 2 and row["split"] == "test"
    assert small.results["projection/batch_top_k/coefficient"]["split"] == "choosing"
    assert small.results["projection/batch_top_k/own inputs with zeros/with"]["paper_value"] == 0.602
    assert small.results["cost/batch_top_k"]["unit"] == "ratio, this machine"


def test_its_figures_can_be_drawn(small):
    for draw in figures.FIGURES.values():
        plt.close(draw(small))


def test_another_number_gives_another_verdict(small):
    def verdict(found, claim):
        return next(line.verdict for line in claims.conclude(found) if claim in line.claim)

    found = copy.deepcopy(small)
    name = "{}/batch_top_k/{}/gain at equal R²"
    for low, expected in ((0.01, Verdict.HOLDS), (-0.01, Verdict.FAILS)):
        for place in ("projection", "block_5"):
            for what in ("own inputs", "self-supervised", "second CLIP", "species purity"):
                found.results[name.format(place, what)] |= {"value": 0.02, "ci_low": low, "ci_high": 0.05}
        for claim in ("score at the same R²", "(self-supervised)", "(second CLIP)", "purer"):
            assert verdict(found, claim) is expected
    found.results[name.format("block_5", "species purity")]["ci_low"] = 0.01
    assert verdict(found, "purer") is Verdict.IN_PART
    found.results[name.format("block_5", "species purity")] |= {"value": None, "ci_low": None, "ci_high": None}
    found.results[name.format("projection", "species purity")] |= {"value": None, "ci_low": None, "ci_high": None}
    assert verdict(found, "purer") is Verdict.UNTESTED
    for cost in (name for name in found.results if name.startswith("cost/")):
        found.results[cost]["ci_high"] = 1.05
    assert verdict(found, "few per cent") is Verdict.HOLDS
    found.results["cost/jump_relu"]["ci_high"] = 1.5
    assert verdict(found, "few per cent") is Verdict.IN_PART


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
