"""Uniqueness: the three chances, what is counted, what is said, and a slow second look."""

from collections import Counter
from itertools import combinations

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from toy_bench import ToyBench

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import uniqueness as claims
from vlm_sae_lib.experiments import running, uniqueness
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.results import published
from vlm_sae_lib.scores.uniqueness import UniquenessReport
from vlm_sae_lib.scores.uniqueness import uniqueness as compare
from vlm_sae_lib.show.experiments.uniqueness import FIGURES


@pytest.fixture(scope="module")
def toy():
    found = Findings("uniqueness", "pocket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uniqueness, "SAMPLE", 60)
        uniqueness.run(ToyBench(400), found)
    return found


def test_a_new_dealing_keeps_every_picture_as_popular():
    rng = np.random.default_rng(0)
    sets = np.stack([rng.choice(30, 6, replace=False, p=np.arange(1, 31) / 465) for _ in range(40)])
    dealt = uniqueness.deal_again(sets, rng)
    assert Counter(dealt.ravel().tolist()) == Counter(sets.ravel().tolist()) and (dealt != sets).any()
    assert all(len(set(row)) == 6 for row in dealt.tolist())
    assert uniqueness.deal_again(np.empty((0, 6), dtype=int), rng).shape == (0, 6)
    assert uniqueness.random_sets(0, 6, 30, rng).shape == (0, 6)


def test_pictures_shared_and_twins_are_what_counting_gives():
    rng = np.random.default_rng(1)
    sets = np.stack([rng.choice(60, 16, replace=False) for _ in range(12)])
    sets[3, :14] = sets[7, :14]
    sets[3, 14:] = [i for i in range(60) if i not in sets[3, :14]][:2]
    report = compare(sets, most_similar=uniqueness.EVERY_PAIR)
    common = [len(set(a) & set(b)) for a, b in combinations(sets.tolist(), 2)]
    assert uniqueness.shared(report) == pytest.approx(np.mean(common))
    assert uniqueness.with_twin(report) == pytest.approx(2 / 12)


def test_without_neurons_nothing_is_said():
    report = compare(np.full((3, 16), -1))
    assert np.isnan([uniqueness.shared(report), uniqueness.with_twin(report), uniqueness.share_above(report, 0)]).all()


def test_a_neuron_of_fifteen_pictures_is_left_out():
    code = np.zeros((40, 2))
    code[:16, 0], code[:15, 1] = np.arange(1, 17), 1
    top, last = uniqueness.top_pictures(sp.csr_matrix(code), np.arange(40))
    assert last.tolist() == [1, 0] and compare(top, last).neurons.tolist() == [0]
    assert top[0].tolist() == list(range(15, -1, -1))


def test_blind_dealings_meet_as_often_as_they_must(toy):
    for name in ("share of pairs above 0", "shared pictures per pair"):
        row, exact = toy.results[f"{name}/blind sets"], toy.value(f"{name}/blind sets, exact")
        assert row["value"] == pytest.approx(exact, rel=0.15)
    same = (toy.value(f"shared pictures per pair{end}") for end in ("", "/equally popular pictures"))
    assert next(same) == pytest.approx(next(same))


def report(kept, above_half, pairs=None):
    """A report of ``kept`` neurons, ``above_half`` pairs of which share most of their pictures."""
    counts = {0.6: above_half, 0.1: pairs or 5}
    return UniquenessReport(np.arange(kept), counts, tuple((2 * i, 2 * i + 1, 0.6) for i in range(above_half)))


def recorded(shares_of_seeds, random=None):
    """Findings from made-up reports, one for each seed; dealings that never meet."""
    learned = [report(kept, above) for kept, above in shares_of_seeds]
    none = [report(kept, 0) for kept, _ in shares_of_seeds]
    chances = {
        "blind sets": none * 2, "equally popular pictures": none * 2,
        "random directions": [report(kept, above) for kept, above in random or shares_of_seeds],
    }  # fmt: skip
    found = Findings("uniqueness", "pocket")
    uniqueness._record_compared(found, 2048, learned, chances["random directions"])
    uniqueness._record(found, learned, chances, 400)
    uniqueness._record_effects(found, learned, chances["random directions"])
    return found


def test_the_effect_is_the_distance_to_one_in_a_thousand_by_hand(toy):
    bench = ToyBench(400)
    train = bench.activations("train", "projection")
    effect = toy.effects["share of pairs below one in a thousand"]
    assert effect.values.shape == (10, 1) and effect.unit == "training"
    saes = bench.saes([bench.config(uniqueness.KIND, uniqueness.EXPANSION, seed=seed) for seed in (0, 9)], "projection")
    for seed, sae in zip((0, 9), saes, strict=True):
        code = sae.encode_sparse(train).toarray()
        sets = [set(np.argsort(-code[:, i], kind="stable")[:16]) for i in range(code.shape[1])
                if (code[:, i] > 0).sum() >= 16]  # fmt: skip
        alike = [len(a & b) / len(a | b) > 0.5 for a, b in combinations(sets, 2)]
        assert effect.values[seed, 0] == pytest.approx(1 - np.mean(alike) / 0.001)
    found = recorded([(100, 2), (100, 0), (200, 4)])
    by_hand = [1 - 2 / 4950 / 0.001, 1, 1 - 4 / 19900 / 0.001]
    np.testing.assert_allclose(found.effects["share of pairs below one in a thousand"].values[:, 0], by_hand)
    assert found.value("effect/share of pairs below one in a thousand") == pytest.approx(np.mean(by_hand))


def test_random_directions_stand_beside_the_effect_on_its_own_scale():
    found = recorded([(100, 2), (100, 0)], random=[(100, 1), (100, 1)])
    name = "share of pairs below one in a thousand"
    (beside,) = found.results[f"effect/{name}"]["controls"].values()
    assert found.value(beside) == pytest.approx(1 - 1 / 4950 / 0.001)
    by_hand = np.array([-1, 1]) / 4950 / 0.001
    np.testing.assert_allclose(found.effects[f"{name} beyond random directions"].values[:, 0], by_hand)


def test_nothing_is_said_of_seeds_without_pairs():
    found = recorded([(100, 2), (1, 0)])
    assert np.isnan(found.effects["share of pairs below one in a thousand"].values[1, 0])
    assert found.results["share of pairs above 0.5"]["ci_low"] is None


def test_intervals_are_those_of_trainings_not_their_smallest_and_largest():
    """Three trainings lie below the bar, and yet leave it open where the mean of others would lie (fault 7)."""
    found = recorded([(100, 0), (100, 0), (100, 4)])
    row = found.results["share of pairs above 0.5"]
    assert row["interval"] == "Student's t over the trainings"
    assert 4 / 4950 < 0.001 < row["ci_high"] and row["ci_low"] < 0
    dealt = found.results["share of pairs above 0.5/blind sets"]
    assert "dealings" in dealt["interval"] and (dealt["ci_low"], dealt["ci_high"]) == (0, 0)


def test_chance_is_taken_off_training_by_training():
    """Seeds that differ more than learned and random do: their ranges overlap, their differences do not (fault 6)."""
    learned, random = [(100, 2), (100, 12), (100, 22)], [(100, 4), (100, 14), (100, 24)]
    found = recorded(learned, random)
    ours, theirs = (found.results[f"share of pairs above 0.5{end}"] for end in ("", "/random directions"))
    assert ours["ci_high"] > theirs["ci_low"]
    gap = found.results["share of pairs above 0.5 minus random directions"]
    assert gap["value"] == pytest.approx(-2 / 4950) and gap["ci_high"] < 0


def test_how_many_could_be_compared_stands_first_among_the_answers():
    found = recorded([(300, 1), (310, 0), (296, 2)], random=[(280, 1), (290, 0), (276, 2)])
    assert found.value("neurons left out") == pytest.approx(2048 - 302)
    assert found.value("neurons left out/random directions") == pytest.approx(2048 - 282)
    assert found.value("share of neurons compared") == pytest.approx(302 / 2048)
    first, *others = claims.observe(found)
    assert "1746" in first.answer and "2,048" in first.answer and "1766" in first.answer
    assert f"{published('uniqueness', statistic='neurons_dropped'):.0f} of 12,288" in first.answer
    assert others and all(set(line.rests_on) <= set(found.results) for line in (first, *others))


def test_answers_follow_the_numbers():
    few, many = (claims.observe(recorded([(100, n), (100, n + 1), (100, n)]))[1].answer for n in (0, 30))
    assert few.startswith("0.00007 ") and many.startswith("0.00613 ")


def test_figures_can_be_drawn(toy):
    for draw in FIGURES.values():
        assert draw(toy).get_axes()


def test_the_published_sample_by_sets():
    found = Findings.read(running.published("uniqueness"))
    bench = Workbench(load_profile("pocket", test_pictures=f"pocket:{uniqueness.SAMPLE}:13"))
    sae = bench.shown("main_matryoshka")
    code = sae.encode_sparse(bench.activations("test", bench.profile.main_hook_point)).toarray()
    assert found.inputs["sae/main_matryoshka"] == sae.hash
    sample = found.frame("sample")
    for row in sample.itertuples():
        ours, other = (oracles.top_images(code[:, i], range(len(code)), 16)[0] for i in (row.latent, row.other))
        assert oracles.jaccard(ours, other) == pytest.approx(row.jaccard)
