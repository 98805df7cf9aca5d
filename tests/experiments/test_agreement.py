"""Agreement with observers who know the truth: pools, pairs, controls, and what is said of it."""

from copy import deepcopy
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import agreement as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import agreement, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.pocket.language import ABOUT
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.scores.alignment import balanced_pairs
from vlm_sae_lib.show.experiments.agreement import FIGURES
from vlm_sae_lib.towers import load_tower

FIRST, SECOND = "self-supervised", "second CLIP"


@pytest.fixture
def published():
    return Findings.read(running.published("agreement"))


def toy(noise, seed=0, n=60):
    """Neurons whose truth is their MS with noise; the raw ones score low, the last pool only under one encoder."""
    rng = np.random.default_rng(seed)
    pool = np.repeat(["raw", "BatchTopK ×4", "Matryoshka ×4", "BatchTopK ×4, second CLIP"], n)
    ms = np.where(pool == "raw", 0.01, 0.9 * rng.random(4 * n))
    seen = {name: ms + noise * rng.standard_normal(4 * n) for name in agreement.OBSERVERS}
    others = {"rate": rng.random(4 * n), "maximum": rng.random(4 * n)}
    facts = pd.DataFrame({"pool": pool, "pictures": 20, **others, **seen})
    second = np.where(pool == "BatchTopK ×4, second CLIP", np.nan, ms)
    return agreement.Neurons(facts, {FIRST: ms, SECOND: second})


def recorded(noise):
    found = Findings("agreement", "pocket")
    studies = [(neurons := toy(noise, seed), balanced_pairs(neurons.ms[FIRST], 400, seed=seed)) for seed in range(3)]
    for observer in agreement.OBSERVERS:
        agreement._record_headline(found, studies, FIRST, observer, {"paper_value": 0.828, "source": "v3"})
        agreement._record_headline(found, studies, SECOND, observer, {})
    agreement._record_bins(found, studies, (FIRST, SECOND))
    agreement._record_ties(found, studies[0], (FIRST, SECOND))
    return found


@pytest.fixture(scope="module")
def faithful():
    return recorded(0.02)


def test_a_score_that_is_the_truth_agrees_and_a_shuffled_one_does_not(faithful):
    where = f"{FIRST}/all factors"
    assert faithful.value(f"{where}/MS") > 0.95 and faithful.value(f"{where}/latents alone") > 0.95
    for control in ("shuffled MS", "lower firing rate", "larger maximum"):
        assert abs(faithful.value(f"{where}/{control}") - 0.5) < 0.12
    # raw against latent is still told apart when MS is dealt out within the pools
    assert faithful.value(f"{where}/shuffled MS within pools") > faithful.value(f"{where}/shuffled MS") + 0.03
    gap = faithful.results[f"{where}/MS minus shuffled MS"]
    assert gap["ci_low"] > 0.3 and gap["value"] == pytest.approx(
        faithful.value(f"{where}/MS") - faithful.value(f"{where}/shuffled MS")
    )
    assert all(line.verdict is Verdict.HOLDS for line in claims.conclude(faithful))


def test_pairs_of_a_tower_with_itself_as_scorer_are_left_out(faithful):
    assert faithful.results[f"{SECOND}/all factors/MS"]["n"] < faithful.results[f"{FIRST}/all factors/MS"]["n"] == 1200
    assert faithful.results[f"ties/MS, {SECOND}"]["n"] < faithful.results[f"ties/MS, {FIRST}"]["n"] == 400
    assert faithful.value(f"ties/MS, {FIRST}") > 0  # raw neurons of equal score


def test_noise_turns_the_verdicts():
    verdicts = [line.verdict for line in claims.conclude(recorded(30.0))]
    assert verdicts.count(Verdict.FAILS) >= 5


def test_an_undefined_number_counts_neither_way(faithful):
    changed = deepcopy(faithful)
    for name, row in changed.results.items():
        if name.endswith("/latents alone"):
            row |= {"value": None, "ci_low": None, "ci_high": None}
    assert Verdict.UNTESTED in [line.verdict for line in claims.conclude(changed)]


def test_second_tower_is_scored_by_the_first_encoder_alone():
    bench = agreement._of_second_tower(Workbench(load_profile("pocket")), FIRST, SECOND)
    assert bench.profile.tower == "pocket:second_clip" and bench.scoring_names == (FIRST,)


def test_papers_bins_stand_beside_ours(published):
    table = published.frame("bins")
    first = table[(table["binned_by"] == FIRST) & (table["encoder"] == FIRST) & (table["bin_low"] == 0.3)]
    assert set(first["paper"]) == {0.81}
    for row in table.itertuples():
        assert row.low <= row.alignment <= row.high and row.smallest <= row.alignment <= row.largest


def test_bins_are_those_of_every_training_and_their_interval_knows_how_trainings_differ():
    studies = [(neurons := toy(0.5, seed), balanced_pairs(neurons.ms[FIRST], 400, seed=seed)) for seed in range(3)]
    studies[2][0].facts["all factors"] *= -1  # one training that says the opposite
    table = agreement.aligned_by_bin(studies, FIRST, FIRST, "all factors").set_index("bin_low")
    by_hand: dict[float, list] = {}
    for neurons, pairs in studies:
        ms, truth, shares = neurons.ms[FIRST], neurons.facts["all factors"], {}
        for x, y in pairs:
            if truth[x] != truth[y]:
                low = int(abs(ms[x] - ms[y]) * 10 + 1e-9) / 10
                shares.setdefault(low, []).append((ms[x] > ms[y]) == (truth[x] > truth[y]))
        for low, found in shares.items():
            by_hand.setdefault(low, []).append(found)
    assert table.index.tolist() == sorted(by_hand)
    for low, found in by_hand.items():
        alone = [np.mean(shares) for shares in found]
        assert table.loc[low, "pairs"] == sum(map(len, found))
        assert table.loc[low, "alignment"] == pytest.approx(np.mean(alone))
        assert (table.loc[low, "smallest"], table.loc[low, "largest"]) == pytest.approx((min(alone), max(alone)))
    without = agreement.aligned_by_bin(studies[:2], FIRST, FIRST, "all factors").set_index("bin_low")
    assert (table["high"] - table["low"]).loc[0.7] > 1.5 * (without["high"] - without["low"]).loc[0.7]


def test_the_neurons_behind_the_largest_differences_are_counted():
    neurons, found = toy(0.1), Findings("agreement", "pocket")
    neurons.ms[FIRST][:6] = [0.05, 0.95, 0.9, 0.1, 0.5, 0.85]
    neurons.facts.loc[1, "pictures"] = 3
    pairs = np.array([[0, 1], [1, 3], [2, 0], [4, 1], [5, 0]])  # differences .90, .85, .85, .45, .80
    agreement._record_largest(found, [(neurons, pairs), (neurons, pairs[:1])], FIRST)
    assert found.value("largest differences/pairs") == 5
    assert found.value("largest differences/neurons with the larger MS") == 3 + 1
    assert found.value("largest differences/of neurons of fewer than 10 pictures") == pytest.approx(3 / 5)
    none = Findings("agreement", "pocket")
    agreement._record_largest(none, [(neurons, pairs[3:4])], FIRST)
    assert none.value("largest differences/of neurons of fewer than 10 pictures") is None


def test_published_verdicts_turn_with_the_numbers(published):
    before = {line.claim: line for line in claims.conclude(published)}
    for claim, line in before.items():
        assert line.rests_on and all(name in published.results for name in line.rests_on)
        if line.verdict is Verdict.FAILS:
            continue
        changed = deepcopy(published)
        for name in line.rests_on:
            changed.results[name] |= {"ci_low": -0.2, "value": -0.1, "ci_high": 0.0}
        assert {line.claim: line.verdict for line in claims.conclude(changed)}[claim] is Verdict.FAILS


def test_a_sample_agrees_with_the_slow_definition(published):
    pictures = pocket_pictures(agreement.SAMPLE, 11)
    bench = Workbench(load_profile("pocket"))
    sae = bench.shown("main_matryoshka")
    assert published.inputs["sae/main_matryoshka"] == sae.hash
    code = sae.encode(load_tower("pocket").activations(pictures.images, bench.profile.main_hook_point)).numpy()
    facts, n = {column: pictures.factors[column].tolist() for column in ABOUT}, len(pictures)
    for row in published.frame("sample").to_dict("records"):
        top = sorted(range(n), key=lambda i, k=row["latent"]: (-code[i, k], i))[:16]
        assert set(top) == set(row["top pictures"])
        same = [facts[c][a] == facts[c][b] for a, b in combinations(top, 2) for c in ABOUT]
        counts = {(c, v): sum(facts[c][i] == v for i in top) for c in ABOUT for v in set(facts[c])}
        rates = {(c, v): facts[c].count(v) / n for c, v in counts}
        likeliest = {c: max(sorted(v for d, v in counts if d == c), key=lambda v, c=c: counts[c, v]) for c in ABOUT}
        beyond = [(counts[c, v] / 16 - rates[c, v]) / (1 - rates[c, v]) for c, v in likeliest.items()]
        surprise = max(-binom.logsf(m - 1, 16, rates[key]) / np.log(10) for key, m in counts.items())
        expected = (np.mean(same), max(beyond), surprise)
        assert [row[name] for name in agreement.OBSERVERS] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(published, name):
    figure = FIGURES[name](published)
    assert figure.get_size_inches()[0] <= 6.4 and figure.axes[0].get_xlabel()
