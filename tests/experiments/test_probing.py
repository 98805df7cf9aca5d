"""The probing experiment, very small: what it records comes again by hand; observations and figures are made of it."""

from types import SimpleNamespace

import numpy as np
import oracles
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from scipy import stats

from vlm_sae_lib.claims import probing as claims
from vlm_sae_lib.controls.probes import LinearProbes
from vlm_sae_lib.controls.reconstruction import untrained_sae
from vlm_sae_lib.experiments import editing, probing, rivals, scrambled_tower, shortcuts
from vlm_sae_lib.experiments.factors import GROUPS, Splits, load_splits
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.scores.detectors import truth_table
from vlm_sae_lib.show.experiments.probing import FIGURES
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.workbench import Workbench

TEN = (probing.SEEDS, editing.SEEDS, shortcuts.SEEDS)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The whole experiment on a few hundred pictures, with two seeds."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VLM_SAE_RUNS", str(tmp_path_factory.mktemp("runs")))
    for module in (probing, editing, shortcuts):
        patch.setattr(module, "SEEDS", (0, 1))
    for module in (probing, editing):
        patch.setattr(module, "RESAMPLES", 5)
    for module in (probing, rivals, scrambled_tower):
        patch.setattr(module, "EXPANSION", 0.5)
    patch.setattr(scrambled_tower, "TOWERS", (0, 1))
    sizes = {"train_pictures": "pocket:200:11", "test_pictures": "pocket:80:13", "choosing_pictures": "pocket:60:12"}
    bench = Workbench(load_profile("pocket", steps=15, batch_size=100, k=6, **sizes))
    found = Findings("probing", "pocket")
    probing.run(bench, found)
    found.write()
    yield bench, found
    patch.undo()


@pytest.fixture(scope="module")
def splits(small):
    return load_splits(small[0])


def test_the_plan_asks_for_ten_trainings():
    assert set(TEN) == {tuple(range(10))}


def test_one_neurons_f1_comes_again_by_hand(small, splits):
    """Chosen by correlation on choosing, turned by its weight on train, cut where F1 is best on choosing."""
    names, each = value_names(splits.train_factors, ["habitat"]), []
    for value in names["value"]:
        learned, told, shown = (
            (facts["habitat"] == value).to_numpy()
            for facts in (splits.train_factors, splits.choosing_factors, splits.test_factors)
        )
        (neuron,) = oracles.matching_pursuit(splits.choosing, told * 1.0, 1)
        sign = np.sign(np.corrcoef(splits.train[:, neuron], learned)[0, 1])
        here, there = sign * splits.choosing[:, neuron], sign * splits.test[:, neuron]
        bars = [-np.inf, *here]
        f1 = [2 * ((here > bar) & told).sum() / ((here > bar).sum() + told.sum()) for bar in bars]
        bar = max(bar for bar, score in zip(bars, f1, strict=True) if score == max(f1))
        each.append(2 * ((there > bar) & shown).sum() / ((there > bar).sum() + shown.sum()))
    identity = probing.few_latents(lambda rows: rows, splits, names, 1)[0][0]
    assert identity.scores["f1"] == pytest.approx(each, abs=1e-6)


def test_what_is_trained_has_students_t_and_what_is_not_has_draws_of_the_pictures(small, splits):
    bench, found = small
    assert found.results["F1 of 1/all factors/raw neurons"]["interval"].startswith("200 bootstrap draws")
    names = value_names(splits.train_factors, probing.FACTORS)
    saes = bench.saes([bench.config("batch_top_k", 0.5, seed=seed) for seed in (0, 1)], "block_5")
    runs = [probing.few_latents(sae.encode_sparse, splits, names, 1) for sae in saes]
    for place, k in enumerate(probing.LATENTS):
        values = [run[place][0].mean("f1", probing.FACTORS)[0] for run in runs]
        row = found.results[f"F1 of {k}/all factors/BatchTopK"]
        half = stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2)
        assert row["value"] == pytest.approx(np.mean(values)) and row["interval"] == "Student's t over the trainings"
        assert row["ci_high"] - row["value"] == pytest.approx(half, rel=1e-4)
        on_choosing = [run[place][1].mean("f1", probing.FACTORS)[0] for run in runs]
        assert found.value(f"optimism of {k}/BatchTopK") == pytest.approx(np.mean(on_choosing) - np.mean(values))
        gap = found.value(f"F1 of {k}/all factors/BatchTopK minus all activations")
        assert gap == pytest.approx(np.mean(values) - found.value("F1 of all/all factors/all activations"))


def test_each_dictionary_may_read_as_many_latents(small, splits):
    _, found = small
    for who in (*probing.LEARNED, *probing.RIVALS):
        for k in probing.LATENTS:
            assert 0 <= found.value(f"F1 of {k}/all factors/{who}") <= 1
    made = probing.rivals(splits.train, 64, 6.0)
    assert [made[who][0](splits.test).shape[1] for who in ("raw neurons", "principal components", "k-means")] == [
        128, 128, 64,
    ]  # fmt: skip
    assert (made["random directions"][0](splits.test) < 0).any()  # a probe may use either side
    assert made["random directions, cut"][0](splits.train).nnz / len(splits.train) == pytest.approx(6, abs=0.1)


def test_cause_and_isolation_come_again_picture_by_picture(small, splits):
    """Latents switched off one picture at a time by the autoencoder's own decoder; answers as words."""
    bench, _ = small
    names = value_names(splits.train_factors, probing.FACTORS)
    sae = bench.saes([bench.config("matryoshka_batch_top_k", 0.5, seed=1)], "block_5")[0]
    reader = editing.Reader(splits, names)
    chosen = editing.speaking(sae, splits, truth_table(splits.choosing_factors, names), 5)
    ours, _ = editing.latent_pushes(sae, splits.test, chosen, 1)
    scored, length = reader.after(ours)
    assert length > 0
    facts = splits.test_factors[list(probing.FACTORS)].to_dict("records")
    rows = torch.tensor(splits.test, dtype=torch.float32)
    pairs = list(zip(names["factor"], names["value"], strict=True))

    def words(activation):
        readings = activation.numpy().astype(float) @ reader.probes.weights + reader.probes.bias
        best = {}
        for (factor, value), reading in zip(pairs, readings, strict=True):
            if factor not in best or reading > best[factor][1]:
                best[factor] = (value, reading)
        return {factor: value for factor, (value, _) in best.items()}

    before = [words(row) for row in rows]
    known = splits.train_factors.to_dict("records")
    for factor in ("habitat", "kingdom"):
        for row, value in enumerate(names["value"]):
            if names["factor"][row] != factor:
                continue
            off = {int(latent): 0.0 for latent in chosen[row] if latent >= 0}
            edited = oracles.steered_states(rows[:, None], sae.encode, sae.decode, off, keep_error=True)[:, 0]
            after = [words(activation) for activation in edited]
            cause, isolation = oracles.cause_and_isolation(before, after, facts, known, factor, value)
            assert scored.scores["cause"][row] == pytest.approx(cause, nan_ok=True)
            assert scored.scores["isolation"][row] == pytest.approx(isolation, abs=0.005, nan_ok=True)


def test_others_are_as_long_as_the_latents_own(small, splits):
    bench, _ = small
    names = value_names(splits.train_factors, probing.FACTORS)
    sae = bench.saes([bench.config("batch_top_k", 0.5, seed=0)], "block_5")[0]
    chosen = editing.speaking(sae, splits, truth_table(splits.choosing_factors, names), 2)
    ours, theirs = editing.latent_pushes(sae, splits.test, chosen, 0)
    own = np.flatnonzero(names["factor"] == "kingdom")
    value = own[truth_table(splits.test_factors, names)[:, own].argmax(axis=1)]
    own, other = (np.linalg.norm(push(value), axis=1) for push in (ours, theirs))
    assert own.any() and other[other > 0] == pytest.approx(own[other > 0])


def shortcut_world(n, seed):
    """Two classes and two habitats, each along a direction of its own; the habitat's is ten times as long."""
    rng = np.random.default_rng(seed)
    class_, habitat = rng.choice(["bird", "fish"], n), rng.choice(["cave", "sea"], n)
    rows = rng.normal(0, 0.3, (n, 6))
    rows[:, 0] += class_ == "fish"
    rows[:, 1] += 10 * (habitat == "sea")
    return rows, pd.DataFrame({"class": class_, "habitat": habitat})


@pytest.fixture(scope="module")
def two_worlds():
    (train, a), (choosing, b), (test, c) = (shortcut_world(n, seed) for n, seed in ((400, 0), (300, 1), (200, 2)))
    return Splits(train, choosing, test, a, b, c)


def test_every_pairing_is_trained_on_and_each_picture_is_together_once(two_worlds):
    worlds = shortcuts.Worlds(two_worlds)
    facts = two_worlds.train_factors
    for pairing in worlds.pairings:
        homes = {class_: set(part["habitat"]) for class_, part in facts[worlds.seen(pairing)].groupby("class")}
        assert all(len(home) == 1 for home in homes.values()) and homes["bird"] != homes["fish"]
        drawn = facts[worlds.as_many(pairing)]
        assert drawn["class"].value_counts().to_dict() == facts[worlds.seen(pairing)]["class"].value_counts().to_dict()
        assert drawn.groupby("class")["habitat"].nunique().tolist() == [2, 2]
    assert (worlds.seen(0) ^ worlds.seen(1)).all()


def test_accuracy_in_both_worlds_by_hand_and_projecting_the_habitat_out_mends_it(two_worlds):
    worlds, test = shortcuts.Worlds(two_worlds), two_worlds.test
    right = worlds.right(worlds.probes(two_worlds.train), test)
    facts, counts = two_worlds.test_factors, {"together": [], "apart": []}
    for pairing in worlds.pairings:
        kept = worlds.seen(pairing)
        learned = two_worlds.train_factors[kept]
        home = dict(zip(learned["class"], learned["habitat"], strict=True))
        probe = LinearProbes.fit(two_worlds.train[kept], learned["class"].to_numpy()[:, None] == ["bird", "fish"])
        for row, class_, habitat in zip(test, facts["class"], facts["habitat"], strict=True):
            said = ["bird", "fish"][int((row @ probe.weights + probe.bias).argmax())]
            counts["together" if home[class_] == habitat else "apart"].append(said == class_)
    for world, answers in counts.items():
        assert right[world].mean() == pytest.approx(np.mean(answers))
    assert right["together"].mean() > 0.98 and right["apart"].mean() < 0.1  # it says the habitat
    means = shortcuts.habitat_directions(two_worlds)[shortcuts.MEANS]
    assert means.shape == (1, 6) and abs(means[0, 1]) == pytest.approx(10, abs=0.2)  # the sea's mean minus the cave's
    clean = [shortcuts.project_out(rows, means, two_worlds.train.mean(axis=0)) for rows in (two_worlds.train, test)]
    assert worlds.right(worlds.probes(clean[0]), clean[1])["apart"].mean() > 0.9


def test_habitat_latents_are_found_and_switching_them_off_is_decoding_without_them(two_worlds):
    sae = untrained_sae(two_worlds.train, 16, 4, seed=0)
    named = shortcuts.habitat_latents(sae, two_worlds)
    code = sae.encode_sparse(two_worlds.choosing.astype(np.float32)).toarray()
    best = set()
    for value in ("cave", "sea"):
        shown = (two_worlds.choosing_factors["habitat"] == value).to_numpy()
        f1 = [oracles.best_f1(column, shown) if column.any() else -1 for column in code.T]
        best |= set(np.argsort(-np.array([max(f, 2 * shown.mean() / (1 + shown.mean())) if f >= 0 else -1 for f in f1]),
                               kind="stable")[: shortcuts.NAMED])  # fmt: skip
    assert set(named) == best
    rows = two_worlds.test[:7]
    slow = oracles.steered_states(torch.tensor(rows, dtype=torch.float32)[:, None], sae.encode, sae.decode,
                                  {int(latent): 0.0 for latent in named}, keep_error=True)  # fmt: skip
    assert shortcuts.switched_off(sae, rows, named) == pytest.approx(slow[:, 0].numpy(), abs=1e-4)


def test_a_shuffled_tower_keeps_every_matrix_norm_and_every_vector_and_is_another_for_each_seed():
    trained, zero, again, one = (
        load_tower("pocket"), *(scrambled_tower.shuffled_tower("pocket", seed) for seed in (0, 0, 1)),
    )  # fmt: skip
    for (name, old), new in zip(trained.module.named_parameters(), zero.module.parameters(), strict=True):
        assert old.flatten().sort().values.equal(new.flatten().sort().values), name
        assert old.equal(new) is (old.ndim < 2), name
    assert zero.weights_hash == again.weights_hash
    assert len({tower.weights_hash for tower in (trained, zero, one)}) == 3
    assert zero.name == "pocket:shuffled:0"


def test_the_trained_tower_is_left_as_it_was(small):
    assert small[0].tower().weights_hash == load_tower("pocket").weights_hash


def test_differences_of_towers_are_those_of_their_means(small):
    _, found = small
    for how in (scrambled_tower.MS, scrambled_tower.RATES):
        for encoder in ("self-supervised", "second CLIP"):
            trained, shuffled, untrained = (
                found.value(f"{how}/{encoder}/{who}")
                for who in (scrambled_tower.TRAINED, scrambled_tower.SHUFFLED, scrambled_tower.UNTRAINED)
            )
            minus = found.value(f"{how}/{encoder}/{scrambled_tower.TRAINED} minus {scrambled_tower.SHUFFLED}")
            assert minus == pytest.approx(trained - shuffled)
            minus = found.value(f"{how}/{encoder}/{scrambled_tower.SHUFFLED} minus {scrambled_tower.UNTRAINED}")
            assert minus == pytest.approx(shuffled - untrained)


def test_groups_are_means_of_factors_and_every_comparison_has_its_n(small):
    _, found = small
    for group in GROUPS:
        assert found.results[f"cause/{group}/Matryoshka, 5"]["n"] == found.results[f"F1 of 1/{group}/k-means"]["n"]
    for name, row in found.results.items():
        assert row["n"] is not None, name
        assert row["ci_low"] is None or row["interval"], name


def test_observations_are_questions_and_follow_the_numbers(small):
    _, found = small
    lines = claims.observe(found)
    assert all(line.question.endswith("?") and line.answer.endswith(".") for line in lines)
    assert {name for line in lines for name in line.rests_on} <= set(found.results)
    rows = {name: dict(row) for name, row in found.results.items()}
    rivals_ = [name for name in rows if name.startswith("F1 of ") and name.endswith("minus k-means")]
    for name in rivals_:
        rows[name].update(value=0.111, ci_low=0.1, ci_high=0.12)
    moved = claims.observe(SimpleNamespace(results=rows))
    told = "0.111 [0.100, 0.120] above that of k-means with one, 0.111 [0.100, 0.120] above it with five (6 of 6"
    assert told in moved[1].answer


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(small, name):
    figure = FIGURES[name](small[1])
    assert figure.get_size_inches()[0] <= 6.4 and figure.axes[0].get_xlabel()
    plt.close(figure)
