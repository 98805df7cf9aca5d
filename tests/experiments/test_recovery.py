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
from vlm_sae_lib.experiments import recovery, recovery_kinds
from vlm_sae_lib.experiments import recovery_stability as stable
from vlm_sae_lib.experiments.factors import FACTORS, Splits, load_splits
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.recovery_kinds import BOUND, DIRECTIONS, FIRING, KINDS, PICTURES, RELU, WHOLE
from vlm_sae_lib.experiments.recovery_stability import Coded
from vlm_sae_lib.experiments.rivals import FROZEN, UNTRAINED
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.scores.matching import Recovered, matched
from vlm_sae_lib.show.experiments.recovery import FIGURES, SHADES, WAYS

SEEDS, K = (0, 1, 2), 6


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The whole experiment with three seeds, two worlds and dictionaries of 64 latents."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VLM_SAE_RUNS", str(tmp_path_factory.mktemp("runs")))
    patch.setattr(recovery, "SEEDS", SEEDS)
    patch.setattr(recovery, "WORLDS", SEEDS[:2])
    patch.setattr(recovery_kinds, "SEEDS", SEEDS)
    patch.setattr(recovery_kinds, "EXPANSION", 0.5)
    sizes = {"train_pictures": "pocket:200:11", "test_pictures": "pocket:80:13", "choosing_pictures": "pocket:60:12"}
    bench = Workbench(load_profile("pocket", steps=15, batch_size=100, k=K, **sizes))
    found = Findings("recovery", "pocket")
    recovery.run(bench, found)
    found.write()
    yield bench, found
    patch.undo()


def test_the_plan_asks_for_ten_trainings_and_synthetic_worlds_are_five():
    assert len(recovery.SEEDS) == 10 and len(recovery.WORLDS) == 5
    assert len(KINDS) == 8 and len(WHOLE) == 5


def test_recovery_of_the_pictures_values_is_what_plain_loops_give(small):
    bench, found = small
    splits = load_splits(bench)
    tables = [recovery_kinds.known_values(splits).truth[split] for split in ("choosing", "test")]
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
    truth = recovery_kinds.known_values(Splits(rows, rows, rows, facts, facts[:2], facts)).truth
    assert truth["test"].T.astype(int).tolist() == [  # one, other, third; cave, sea
        [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0],
    ]  # fmt: skip
    assert (truth["choosing"] == truth["test"][:2]).all()


def test_every_kind_is_as_sparse_and_a_relu_only_after_its_cut(small):
    bench, found = small
    rows = load_splits(bench).train.astype(np.float32)
    relu = train_sae(rows, SaeConfig(kind="relu", expansion=0.5, steps=15, batch_size=100))
    cut = recovery_kinds.cut(relu, rows, K)
    positive = relu.encode(torch.tensor(rows)).numpy()
    assert (positive > 0).sum(axis=1).mean() > K + 2
    code = cut.encode_sparse(rows)
    assert code.nnz / len(rows) == pytest.approx(K, abs=0.01)
    kept = code.toarray() > 0
    assert code.toarray()[kept] == pytest.approx(positive[kept]) and positive[kept].min() > positive[~kept].max()
    for kind in (RELU, "TopK", UNTRAINED):
        assert found.value(f"synthetic/L0/{kind}") == pytest.approx(K, rel=0.25)


def test_a_relu_that_fires_less_than_that_stays_as_it_is():
    rows = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    relu = train_sae(rows, SaeConfig(kind="relu", expansion=2, steps=3, batch_size=60))
    fires = relu.encode_sparse(rows).nnz / 60
    assert recovery_kinds.cut(relu, rows, 15.5).encode_sparse(rows).nnz / 60 == pytest.approx(fires)


def test_ranks_are_of_the_kinds_training_by_training(small):
    _, found = small

    def measured(way, values):
        part = Recovered(values, 0, 0, 0, values**2, 8)
        return recovery_kinds.Measured({one: part for one in way}, None)

    rng, kinds = np.random.default_rng(0), (*KINDS, UNTRAINED)
    made, seen, coded = {}, {}, {}
    for kind in kinds:
        made[kind] = [measured((DIRECTIONS, FIRING), rng.random()) for _ in range(2)]
        seen[kind] = [measured((PICTURES,), rng.random()) for _ in SEEDS]
        coded[kind] = [Coded(np.eye(4), {"e": rng.random(30)}, np.arange(30)) for _ in SEEDS]
    toy = Findings("recovery", "pocket")
    recovery.rank(toy, made, seen, coded)
    for which, among in (("all kinds", KINDS), ("whole kinds", WHOLE)):
        each = [stats.spearmanr([made[k][s].recovered[FIRING].f1 for k in among],
                                [seen[k][s].recovered[PICTURES].f1 for k in among]).statistic
                for s in range(2)]  # fmt: skip
        row = toy.results[f"ranks/{which}/{FIRING}, F1 with {PICTURES}, F1"]
        assert row["value"] == pytest.approx(np.mean(each)) and row["n"] == len(among) and row["seeds"] == [0, 1]
    for population, least in (("", 2), (ENOUGH, 10)):
        each = [stats.spearmanr([coded[k][s].ms["e"][least:].mean() for k in KINDS],
                                [seen[k][s].recovered[PICTURES].correlation for k in KINDS]).statistic
                for s in SEEDS]  # fmt: skip
        name = f"ranks/all kinds/MS, e{population} with {PICTURES}, correlation"
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
            for kind in KINDS:
                values = [found.value(f"{way}/{what}/{one}") for one in (kind, UNTRAINED)]
                gain = found.value(f"{way}/{what}/{kind} minus {UNTRAINED}")
                assert gain == pytest.approx(values[0] - values[1])
            for frozen in FROZEN:
                values = [found.value(f"{way}/{what}/{one}") for one in ("Matryoshka", frozen)]
                assert found.value(f"{way}/{what}/Matryoshka minus {frozen}") == pytest.approx(values[0] - values[1])
    assert set(SHADES) == {*KINDS, UNTRAINED} and list(WAYS) == [
        DIRECTIONS, FIRING, PICTURES,
    ]  # fmt: skip


def test_two_runs_give_the_same_and_say_how_many_features_fire(small):
    bench, found = small
    values = recovery_kinds.known_values(load_splits(bench))
    worlds = [recovery_kinds.known_directions(values.rows, seed) for seed in (0, 1, 1)]
    first, second = (
        {kind: recovery_kinds.measure(sae, world) for kind, sae in recovery_kinds.on_synthetic(bench, world, 1).items()}
        for world in worlds[1:]
    )
    assert first == second and [len(worlds[0].rows[split]) for split in recovery_kinds.SPLITS] == [200, 60, 80]
    each = [world.truth["test"].sum() / 80 for world in worlds[:2]]
    assert found.value("synthetic/features that fire at once") == pytest.approx(np.mean(each))


def toy_truth(seed, n=400):
    """Rows in which five values lie along directions, with noise."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 5)) < [0.1, 0.2, 0.3, 0.4, 0.7]
    return truth, truth @ np.random.default_rng(9).normal(size=(5, 8)) + 0.1 * rng.normal(size=(n, 8))


def test_the_bound_finds_what_lies_along_a_direction_and_fires_as_often_as_it_is_true():
    parts = dict(zip(recovery_kinds.SPLITS, map(toy_truth, range(3)), strict=True))
    rows, truth = ({split: part[i] for split, part in parts.items()} for i in (1, 0))
    found = recovery_kinds.bound(recovery_kinds.Known(PICTURES, rows, truth))
    assert min(found.correlation, found.precision, found.recall, found.f1) > 0.9 and found.pairs == 5
    blind = {split: np.random.default_rng(4).permutation(part) for split, part in rows.items()}
    lost = recovery_kinds.bound(recovery_kinds.Known(PICTURES, blind, truth))
    assert abs(lost.correlation) < 0.1 and lost.f1 == pytest.approx(np.mean([0.1, 0.2, 0.3, 0.4, 0.7]), abs=0.1)


def test_the_bound_has_no_training_on_pictures_and_one_for_each_world(small):
    bench, found = small
    values = recovery_kinds.known_values(load_splits(bench))
    row = found.results[f"{PICTURES}/F1/{BOUND}"]
    assert row["value"] == pytest.approx(recovery_kinds.bound(values).f1) and row["ci_low"] is row["seeds"] is None
    assert found.results[f"{FIRING}/F1/{BOUND}"]["seeds"] == [0, 1]
    for way in (FIRING, PICTURES):
        gap = found.value(f"{way}/F1/Matryoshka") - found.value(f"{way}/F1/{BOUND}")
        assert found.value(f"{way}/F1/Matryoshka minus {BOUND}") == pytest.approx(gap)


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
    assert "16 of 16 lie above zero with their whole interval, 0 below" in text
    assert not re.search(r"hold|undecided|reversed", text)
    assert said(found, "ranks/all kinds/synthetic, by direction, F1 with pictures, by firing, F1") in text
    assert "a standard deviation of 0.38 for 8 and 0.50 for 5" in text


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(small, name):
    _, found = small
    figure = FIGURES[name](Findings.read(found.path))
    assert figure.get_size_inches()[0] <= 6.4 and figure.axes[0].get_xlabel()
    plt.close(figure)
