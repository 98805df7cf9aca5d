"""The recovery experiment, very small: against slow recomputation, and what is said of its numbers."""

import copy
import re

import matplotlib.pyplot as plt
import numpy as np
import oracles
import pandas as pd
import pytest
import torch
from scipy import stats

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import recovery as claims
from vlm_sae_lib.claims.verdict import said
from vlm_sae_lib.experiments import recovery
from vlm_sae_lib.experiments import recovery_stability as stable
from vlm_sae_lib.experiments.factors import FACTORS, Splits, load_splits
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.recovery_stability import Coded
from vlm_sae_lib.experiments.rivals import UNTRAINED
from vlm_sae_lib.experiments.synthetic import World
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.scores.detectors import truth_table
from vlm_sae_lib.scores.matching import matched
from vlm_sae_lib.show.experiments.recovery import FIGURES, SHADES, WAYS

SEEDS, K = (0, 1, 2), 6


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The whole experiment with three seeds, two worlds and dictionaries of 64 latents."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VLM_SAE_RUNS", str(tmp_path_factory.mktemp("runs")))
    for name, value in {"SEEDS": SEEDS, "WORLDS": SEEDS[:2], "EXPANSION": 0.5}.items():
        patch.setattr(recovery, name, value)
    sizes = {"train_pictures": "pocket:200:11", "test_pictures": "pocket:80:13", "choosing_pictures": "pocket:60:12"}
    bench = Workbench(load_profile("pocket", steps=15, batch_size=100, k=K, **sizes))
    found = Findings("recovery", "pocket")
    recovery.run(bench, found)
    found.write()
    yield bench, found
    patch.undo()


def test_the_plan_asks_for_ten_trainings_and_synthetic_worlds_are_five():
    assert len(recovery.SEEDS) == 10 and len(recovery.WORLDS) == 5
    assert len(recovery.KINDS) == 8 and len(recovery.WHOLE) == 5


def test_recovery_of_the_pictures_values_is_what_plain_loops_give(small):
    bench, found = small
    splits = load_splits(bench)
    names = recovery.distinct_values(splits)
    tables = truth_table(splits.choosing_factors, names), truth_table(splits.test_factors, names)
    each = []
    for sae in bench.saes([bench.config("batch_top_k", 0.5, seed=seed) for seed in SEEDS], "block_5"):
        codes = [sae.encode(torch.tensor(rows, dtype=torch.float32)).numpy() for rows in (splits.choosing, splits.test)]
        similar = [[oracles.pearson(latent, value) for value in tables[0].T] for latent in codes[0].T]
        rows, columns = matched(np.array(similar))
        pairs = zip(rows, columns, strict=True)
        each.append(np.nanmean([oracles.detection(codes[1][:, i] > 0, tables[1][:, j])[2] for i, j in pairs]))
    row = found.results["pictures, by firing/F1/BatchTopK"]
    assert row["value"] == pytest.approx(np.mean(each), rel=1e-4) and row["n"] == 64
    half = stats.t.ppf(0.975, 2) * np.std(each, ddof=1) / np.sqrt(3)
    assert row["ci_high"] - row["value"] == pytest.approx(half, rel=1e-3)
    assert row["seeds"] == [0, 1, 2] and "matched on choosing" in row["split"]


def test_values_that_are_true_of_the_same_pictures_count_as_one():
    facts = pd.DataFrame({factor: ["one", "other", "one", "third"] for factor in FACTORS})
    facts["habitat"] = ["sea", "cave", "cave", "cave"]
    rows = np.zeros((4, 2))
    names = recovery.distinct_values(Splits(rows, rows, rows, facts, facts, facts))
    assert len(names) == 5  # one, other and third; sea and cave
    assert names["factor"].tolist() == [FACTORS[0]] * 3 + ["habitat"] * 2


def test_every_kind_is_as_sparse_and_a_relu_only_after_its_cut(small):
    bench, found = small
    rows = load_splits(bench).train.astype(np.float32)
    relu = train_sae(rows, SaeConfig(kind="relu", expansion=0.5, steps=15, batch_size=100))
    cut = recovery.cut(relu, rows, K)
    positive = relu.encode(torch.tensor(rows)).numpy()
    assert (positive > 0).sum(axis=1).mean() > K + 2
    code = cut.encode_sparse(rows)
    assert code.nnz / len(rows) == pytest.approx(K, abs=0.01)
    kept = code.toarray() > 0
    assert code.toarray()[kept] == pytest.approx(positive[kept]) and positive[kept].min() > positive[~kept].max()
    for kind in (recovery.RELU, "TopK", UNTRAINED):
        assert found.value(f"synthetic/L0/{kind}") == pytest.approx(K, rel=0.25)


def test_a_relu_that_fires_less_than_that_stays_as_it_is():
    rows = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    relu = train_sae(rows, SaeConfig(kind="relu", expansion=2, steps=3, batch_size=60))
    fires = relu.encode_sparse(rows).nnz / 60
    assert recovery.cut(relu, rows, 15.5).encode_sparse(rows).nnz / 60 == pytest.approx(fires)


def test_ranks_are_of_the_kinds_training_by_training(small):
    _, found = small

    def measured(way, values):
        part = recovery.Recovered(values, 0, 0, 0, values**2, 8)
        return recovery.Measured({one: part for one in way}, None)

    rng, kinds = np.random.default_rng(0), (*recovery.KINDS, UNTRAINED)
    made, seen, coded = {}, {}, {}
    for kind in kinds:
        made[kind] = [measured((recovery.DIRECTIONS, recovery.FIRING), rng.random()) for _ in range(2)]
        seen[kind] = [measured((recovery.PICTURES,), rng.random()) for _ in SEEDS]
        coded[kind] = [Coded(np.eye(4), {"e": rng.random(30)}, np.arange(30)) for _ in SEEDS]
    toy = Findings("recovery", "pocket")
    recovery.rank(toy, made, seen, coded)
    for which, among in (("all kinds", recovery.KINDS), ("whole kinds", recovery.WHOLE)):
        each = [stats.spearmanr([made[k][s].recovered[recovery.FIRING].f1 for k in among],
                                [seen[k][s].recovered[recovery.PICTURES].f1 for k in among]).statistic
                for s in range(2)]  # fmt: skip
        row = toy.results[f"ranks/{which}/{recovery.FIRING}, F1 with {recovery.PICTURES}, F1"]
        assert row["value"] == pytest.approx(np.mean(each)) and row["n"] == len(among) and row["seeds"] == [0, 1]
    for population, least in (("", 2), (ENOUGH, 10)):
        each = [stats.spearmanr([coded[k][s].ms["e"][least:].mean() for k in recovery.KINDS],
                                [seen[k][s].recovered[recovery.PICTURES].correlation for k in recovery.KINDS]).statistic
                for s in SEEDS]  # fmt: skip
        name = f"ranks/all kinds/MS, e{population} with {recovery.PICTURES}, correlation"
        assert toy.value(name) == pytest.approx(np.mean(each))
    assert {name.split("/")[1] for name in found.results if name.startswith("ranks/")} == {"all kinds", "whole kinds"}


def toy_runs(number=4, latents=6, seed=0):
    """Trainings that share half of their directions, in another order each; the shared ones fire on most pictures."""
    rng, runs = np.random.default_rng(seed), []
    shared = np.eye(latents)[: latents // 2]
    for _ in range(number):
        own = rng.normal(size=(latents - len(shared), latents)) * (np.arange(latents) >= len(shared))
        order = rng.permutation(latents)
        pictures = np.array([400, 300, 200, 40, 12, 3])[order]
        runs.append(Coded(np.concatenate([shared, own])[order], {"e": rng.random(latents)}, pictures))
    return runs


def test_stability_over_pairs_by_hand():
    runs = toy_runs()
    cosines, table = stable.matched_cosines(runs), np.zeros((4, 4))
    for i, j in cosines:
        similar = [[oracles.cosine(a, b) for b in runs[j].decoder] for a in runs[i].decoder]
        pairs = oracles.best_matching(similar)
        assert cosines[i, j] == pytest.approx([similar[a][b] for a, b in pairs])
        table[i, j] = np.mean([similar[a][b] > 0.7 for a, b in pairs if runs[i].pictures[a] >= 10])
    whole, each = oracles.over_pairs(table.tolist())
    toy = Findings("recovery", "pocket")
    stable.record_stability(toy, {"kind": runs, "control": toy_runs(seed=1)}, "control")
    row = toy.results[f"stability/share above 0.7{ENOUGH}/kind"]
    assert row["value"] == pytest.approx(whole) and row["n"] == 20 and row["interval"].startswith("jackknife")
    assert row["ci_high"] - row["value"] == pytest.approx(3.1824 * np.std(each, ddof=1) / 2, rel=1e-3)
    assert toy.value("stability/share above 0.7/kind") >= 0.5  # the three that all share
    assert toy.value("stability by firing/kind/100 to 299") == toy.value("stability by firing/kind/300 and more") == 1
    gain = toy.value("stability/mean cosine/kind") - toy.value("stability/mean cosine/control")
    assert toy.value("stability/mean cosine/kind minus control") == pytest.approx(gain)


def test_what_stability_goes_with_by_hand():
    runs = toy_runs()
    cosines, ranks, partial = stable.matched_cosines(runs), np.zeros((4, 4)), np.zeros((4, 4))
    for (i, j), row in cosines.items():
        columns = np.stack([row, runs[i].ms["e"], runs[i].pictures])
        rho = stats.spearmanr(columns.T).statistic
        ranks[i, j] = rho[0, 1]
        inverse = np.linalg.inv(rho)  # partial correlation by the inverse, another way than the one tested
        partial[i, j] = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    toy = Findings("recovery", "pocket")
    stable.record_stability(toy, {"kind": runs, "control": toy_runs(seed=1)}, "control")
    assert toy.value("stability with MS, e/kind") == pytest.approx(oracles.over_pairs(ranks.tolist())[0])
    beyond = toy.value("stability with MS beyond frequency, e/kind")
    assert beyond == pytest.approx(oracles.over_pairs(partial.tolist())[0])


def test_a_bin_without_latents_and_equal_frequencies_are_undefined():
    runs = [Coded(run.decoder, {"e": run.ms["e"]}, np.full(6, 20)) for run in toy_runs()]
    toy = Findings("recovery", "pocket")
    stable.record_stability(toy, {"kind": runs, "control": runs}, "control")
    assert toy.value("stability by firing/kind/2 to 9") is None and toy.value("stability with frequency/kind") is None
    assert toy.value("stability with MS beyond frequency, e/kind") is None


def test_dictionaries_that_never_learn_their_directions_are_as_stable_as_chance(small):
    _, found = small
    by_chance = found.value(f"stability/mean cosine/{UNTRAINED}")
    assert found.value("stability/mean cosine/a frozen decoder") == pytest.approx(by_chance, abs=0.02)
    assert found.value("stability/share above 0.7/a frozen decoder") == 0


def test_controls_and_differences_stand_for_every_kind_and_way(small):
    _, found = small
    for way in WAYS:
        for what in recovery.COMPARED:
            for kind in recovery.KINDS:
                values = [found.value(f"{way}/{what}/{one}") for one in (kind, UNTRAINED)]
                gain = found.value(f"{way}/{what}/{kind} minus {UNTRAINED}")
                assert gain == pytest.approx(values[0] - values[1])
            for frozen in recovery.FROZEN:
                values = [found.value(f"{way}/{what}/{one}") for one in ("Matryoshka", frozen)]
                assert found.value(f"{way}/{what}/Matryoshka minus {frozen}") == pytest.approx(values[0] - values[1])
    assert set(SHADES) == {*recovery.KINDS, UNTRAINED} and list(WAYS) == [
        recovery.DIRECTIONS, recovery.FIRING, recovery.PICTURES,
    ]  # fmt: skip


def test_two_runs_give_the_same_world(small):
    bench, found = small
    like = load_splits(bench).train
    first, second = (recovery.on_synthetic(bench, like, 1) for _ in range(2))
    assert first == second
    assert first[1] == World.draw(like, 1).sample(80, 3).fires.sum() / 80
    each = [recovery.on_synthetic(bench, like, 0)[1], first[1]]
    assert found.value("synthetic/features that fire at once") == pytest.approx(np.mean(each))


def test_observations_have_no_verdict_and_the_numbers_move_the_words(small):
    _, found = small
    changed = copy.deepcopy(found)
    for name, row in changed.results.items():
        if name.startswith("stability/") and name.endswith(f"minus {UNTRAINED}"):
            row.update(value=0.3, ci_low=0.2, ci_high=0.4)
    lines = claims.observe(changed)
    assert {name for line in lines for name in line.rests_on} <= set(found.results)
    assert all(line.question.endswith("?") and line.answer.endswith(".") for line in lines)
    text = " ".join(line.answer for line in lines)
    assert "16 of 16 clearly above zero, 0 clearly below" in text
    assert not re.search(r"hold|undecided|reversed", text)
    assert said(found, "ranks/all kinds/synthetic, by direction, F1 with pictures, by firing, F1") in text
    assert "a standard deviation of 0.38 for 8 and 0.50 for 5" in text


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(small, name):
    _, found = small
    figure = FIGURES[name](Findings.read(found.path))
    assert figure.get_size_inches()[0] <= 6.4 and figure.axes[0].get_xlabel()
    plt.close(figure)
