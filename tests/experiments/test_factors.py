"""The factors experiment: its published numbers add up and come again; latents, rivals and the upper bound."""

import copy

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib.claims import factors as claims
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import factors, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.profiles import load_profile


@pytest.fixture(scope="module")
def published():
    return Findings.read(running.published("factors"))


def test_pictures_without_known_factors_are_refused():
    class Bench:
        def pictures(self, split):
            return object()

    with pytest.raises(UserError, match="factors are known"):
        factors.load_splits(Bench())


def test_always_yes_has_the_f1_of_the_values_frequency():
    facts = pd.DataFrame({"habitat": ["sea"] * 30 + ["cave"] * 70})
    for factor in factors.FACTORS[:-1]:
        facts[factor] = "same"
    rows = np.zeros((100, 2))
    found = factors.detect(factors.AlwaysYes(), factors.Splits(rows, rows, rows, facts, facts, facts))
    assert found.mean("f1", ["habitat"])[0] == pytest.approx((2 * 0.3 / 1.3 + 2 * 0.7 / 1.7) / 2)
    assert found.mean("auroc", ["habitat"])[0] == 0.5


def test_groups_are_the_mean_of_their_factors_and_gains_are_differences(published):
    table = published.frame("detection")
    for group, members in factors.GROUPS.items():
        for metric in ("f1", "auroc"):
            part = table[(table["metric"] == metric) & table["factor"].isin(members)].groupby("who")["value"].mean()
            for who, value in part.items():
                assert published.value(f"{metric}/{group}/{who}") == pytest.approx(value, abs=1e-4)
                if who.endswith("×4"):
                    gain = published.value(f"{metric}/{group}/{who} minus raw")
                    assert gain == pytest.approx(value - part["raw"], abs=2e-4)


def test_published_counts_come_again_from_the_pixels(published):
    """The shipped SAE's chosen latents on the first test pictures, picture by picture."""
    from vlm_sae_lib import Workbench

    bench = Workbench(load_profile("pocket"))
    sae, sample = bench.shown("main_matryoshka"), published.frame("sample")
    pictures = bench.pictures("test").subset(range(int(sample["pictures"][0])))
    latents = sae.encode(bench.tower().activations(pictures.images, "block_5")).numpy()
    for row in sample.itertuples():
        bar = -np.inf if row.threshold is None or np.isnan(row.threshold) else row.threshold
        right = wrong = silent = 0
        for value, shown in zip(latents[:, row.latent], pictures.factors[row.factor], strict=True):
            right += value > bar and shown == row.value
            wrong += value > bar and shown != row.value
            silent += value <= bar and shown == row.value
        assert (right, wrong, silent) == pytest.approx((row.right, row.wrong, row.silent), abs=1), row.value


def toy(n, seed):
    """Pictures whose habitat lies along one direction that no single neuron has, and factors that have no trace."""
    rng = np.random.default_rng(seed)
    sea = rng.random(n) < 0.4
    facts = pd.DataFrame({"habitat": np.where(sea, "sea", "cave")})
    for factor in factors.FACTORS[:-1]:
        facts[factor] = rng.choice(["one", "other"], n)
    rows = rng.normal(0, 1, (n, 6))
    rows[:, 1] = rows[:, 0] + np.where(sea, 0.5, -0.5)  # the difference of two neurons tells the habitat
    return rows, facts


def test_the_best_linear_direction_finds_what_no_neuron_has():
    (train, facts), (choosing, chosen), (test, held_out) = toy(900, 0), toy(400, 1), toy(500, 2)
    splits = factors.Splits(train, choosing, test, facts, chosen, held_out)
    bound, neuron = factors.detect(factors.probes(splits), splits), factors.detect(None, splits)
    for metric in ("f1", "auroc"):
        assert bound.mean(metric, ["habitat"])[0] > 0.98 > neuron.mean(metric, ["habitat"])[0] + 0.1
    assert bound.mean("auroc", ["colour"])[0] == pytest.approx(0.5, abs=0.06)  # told the truth of other pictures only


def test_means_over_trainings_say_so_and_those_of_one_say_that_they_are_over_pictures():
    (train, facts), (choosing, chosen), (test, held_out) = toy(300, 0), toy(200, 1), toy(200, 2)
    splits = factors.Splits(train, choosing, test, facts, chosen, held_out)
    rivals = factors.rivals(train, 2.0, 8)
    assert len(rivals["random directions, cut"]) == 10
    coders = rivals | {"matryoshka_batch_top_k ×4": rivals["random directions, cut"]}
    coders |= {factors.ALWAYS: [factors.AlwaysYes()], factors.BOUND: [factors.probes(splits)]}
    coders["batch_top_k ×4"] = coders["matryoshka_batch_top_k ×4"]
    detected = {who: [factors.detect(coder, splits) for coder in several] for who, several in coders.items()}
    found = Findings("factors", "pocket")
    factors._detection(found, detected)
    sae, raw = found.results["f1/all factors/matryoshka_batch_top_k ×4"], found.results["f1/all factors/raw"]
    assert sae["interval"] == "Student's t over the trainings" and sae["seeds"] == list(range(10))
    assert "pictures" in raw["interval"] and raw["seeds"] is None
    each = [run.mean("f1", factors.FACTORS)[0] for run in detected["matryoshka_batch_top_k ×4"]]
    assert sae["value"] == pytest.approx(np.mean(each))
    gap = found.results[f"f1/all factors/matryoshka_batch_top_k ×4 minus {factors.BOUND}"]
    bound = found.value(f"f1/all factors/{factors.BOUND}")
    assert gap["value"] == pytest.approx(np.mean(each) - bound)
    assert gap["ci_high"] - gap["value"] == pytest.approx(2.2622 * np.std(each, ddof=1) / np.sqrt(10), rel=1e-4)
    assert f"precision/all factors/{factors.BOUND}" not in found.results


def test_no_verdict_and_the_numbers_move_the_words(published):
    found = copy.deepcopy(published)
    names = [name for name in found.results if name.startswith("auroc/coarse ranks/") and " minus " in name]
    for name in names:
        found.results[name].update(value=0.02, ci_low=0.01, ci_high=0.03)
    lines = claims.observe(found)
    assert "6 of 6 lie above zero with their whole interval, 0 below" in lines[1].answer
    assert "0.02 [0.01, 0.03]" in lines[1].answer
    assert all(line.question.endswith("?") and "hold" not in line.answer for line in lines)
    assert {name for line in lines for name in line.rests_on} <= set(found.results)
