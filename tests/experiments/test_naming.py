"""Names for latents: chosen by plain loops, checked against the truth, held against names that know nothing."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import naming as claims
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import naming, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.naming import Vocabulary
from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.show.experiments.naming import FIGURES
from vlm_sae_lib.towers import load_tower

WORDS = Vocabulary([("shape", "a"), ("shape", "b"), ("colour", "r"), ("colour", "g"), ("colour", "x")], np.eye(5), 3.0)
FACTS = pd.DataFrame({"shape": list("aabbab"), "colour": list("rrggrg")})


@pytest.fixture
def published():
    return Findings.read(running.published("naming"))


def test_the_nearest_word_with_its_softmax():
    word, confidence = WORDS.name(np.array([[0.0, 2.0, 0, 0, 0], [3, 0, 4, 0, 0]]))
    assert word.tolist() == [1, 2]
    assert confidence[0] == pytest.approx(np.exp(3) / (np.exp(3) + 4))
    assert confidence[1] == pytest.approx(np.exp(2.4) / (np.exp(2.4) + np.exp(1.8) + 3))


def test_truth_of_every_word_and_of_one_that_nothing_has():
    truth = naming.truth_table(WORDS, FACTS)
    assert truth[:, 0].tolist() == [True, True, False, False, True, False]
    assert not truth[:, 4].any()


def test_a_name_is_checked_by_hand_and_twins_count_as_one():
    truth = naming.truth_table(WORDS, FACTS)
    top = np.array([[0, 1, 4], [0, 2, 3], [0, 1, 2]])
    checked = naming.check(np.array([0, 3, 4]), top, truth, np.array([2, 0, 0]))
    assert checked["precision"].tolist() == pytest.approx([1, 2 / 3, 0])
    assert checked["base_rate"].tolist() == pytest.approx([0.5, 0.5, 0])
    assert checked["beyond"].tolist() == pytest.approx([0.5, 1 / 6, 0])
    assert checked["majority"].tolist() == [True, True, False]
    assert checked["best"].tolist() == [True, False, False]  # "a" and "r" are true of the same pictures


def test_the_best_word_is_the_one_of_the_best_f1():
    words = Vocabulary(WORDS.words[:4], np.eye(4), 1.0)
    facts = pd.DataFrame({"shape": list("aabbab"), "colour": list("rgrgrg")})
    code = np.array([[3.0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1], [2, 2, 0, 0, 2, 0]]).T
    assert naming.best_words(code, facts, words)[1:].tolist() == [3, 0]


@pytest.mark.parametrize("n", [2, 3, 6, 7])
def test_neighbours_are_others_of_nearly_the_same_rate(n):
    rate = np.random.default_rng(n).permutation(np.arange(n) / n)
    other = naming.neighbours(rate)
    assert (other != np.arange(n)).all()
    assert np.abs(rate[other] - rate).max() <= 1.01 / n


def test_equal_activations_rank_by_the_smaller_row(monkeypatch):
    monkeypatch.setattr(naming, "TOP", 2)
    assert naming.top_rows(np.array([[1.0, 0], [5, 0], [1, 0]])).tolist() == [[1, 0], [0, 1]]


def test_the_vocabulary_holds_every_word_once_and_knows_its_own_texts():
    words = naming.pocket_vocabulary()
    assert len({word for _, word in words.words}) == len(words.words) == len(words.texts)
    assert {about for about, _ in words.words} == {*tree.RANKS, "colour", "pattern", "habitat"}
    named, confidence = words.name(words.texts)
    assert named.tolist() == list(range(len(words.words))) and confidence.min() > 1 / len(words.words)


def test_other_towers_are_refused_in_one_sentence():
    with pytest.raises(UserError, match="use a profile whose tower is pocket"):
        naming.run(Workbench(load_profile("colab")), Findings("naming", "colab"))


def test_a_sample_agrees_with_plain_loops(published):
    pictures, bench = pocket_pictures(naming.SAMPLE, 12).images, Workbench(load_profile("pocket"))
    tower, sae = load_tower("pocket"), bench.shown("main_matryoshka")
    assert published.inputs["sae/main_matryoshka"] == sae.hash
    code = sae.encode(tower.activations(pictures, bench.profile.main_hook_point)).numpy()
    images, words = tower.activations(pictures, "projection").numpy(), naming.pocket_vocabulary()
    for row in published.frame("sample").itertuples():
        top = sorted(range(len(pictures)), key=lambda i, k=row.latent: (-code[i, k], i))[:16]
        mean = sum(images[i].astype(float) for i in top) / 16
        cosines = [float(mean @ text / np.linalg.norm(mean)) for text in words.texts]
        weights = np.exp(words.scale * np.array(cosines))
        assert words.words[int(np.argmax(cosines))][1] == row.name
        assert row.confidence == pytest.approx(weights.max() / weights.sum(), rel=1e-3)


def test_examples_carry_name_pictures_and_hash(published):
    examples = published.frame("examples")
    assert len(examples) >= 5 and examples["sae"].nunique() == 1
    assert all(len(top) == 4 and word for top, word in zip(examples["top pictures"], examples["name"], strict=True))


def named(seed, n=40):
    """What one training's names are: confidence, whether they are right, and what each control's names are."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"word": rng.integers(4, size=n), "confidence": rng.uniform(0, 1, n)})
    for who in ("", *naming.CONTROLS):
        start = f"{who}/" if who else ""
        precision = rng.uniform(0.3 if who else 0.5, 1, n)
        for column, values in {"precision": precision, "beyond": precision - 0.2, "base_rate": np.full(n, 0.2),
                               "majority": precision > 0.6, "best": rng.random(n) < 0.5}.items():  # fmt: skip
            table[start + column] = values
    return table


def test_means_are_over_trainings_and_what_is_beyond_a_control_is_paired_by_training():
    found, runs = Findings("naming", "pocket"), [named(seed, 30 + seed) for seed in naming.SEEDS]
    naming._record(found, "SAE/its top pictures", runs)
    name = "SAE/its top pictures/most top pictures have it"
    for end, each in {
        "": [run["majority"].mean() for run in runs],
        "/minus shuffled names": [(run["majority"] * 1.0 - run["shuffled names/majority"]).mean() for run in runs],
    }.items():
        row, half = found.results[name + end], 2.2622 * np.std(each, ddof=1) / np.sqrt(10)  # t of 9 degrees
        assert row["value"] == pytest.approx(np.mean(each)) and row["interval"] == "Student's t over the trainings"
        assert row["ci_high"] - row["value"] == pytest.approx(half, rel=1e-4)
        assert row["n"] == sum(map(len, runs)) and row["seeds"] == list(range(10))


def test_one_training_has_wilsons_interval_for_a_share_and_says_that_it_is_one():
    found = Findings("naming", "pocket")
    naming._record(found, "SAE/its top pictures", [named(0)])
    share, mean = (found.results[f"SAE/its top pictures/{what}"] for what in ("most top pictures have it", "precision"))
    assert share["interval"] == "one training: Wilson over latents"
    assert mean["interval"].startswith("one training: 2,000 bootstrap draws of the latents")


def test_calibration_is_of_each_training_and_then_over_them():
    found, runs = Findings("naming", "pocket"), [named(seed) for seed in range(10)]
    runs[3].loc[runs[3]["confidence"] < 0.2, "confidence"] = 0.5  # no latent in the first bin
    naming._record_calibration(found, {naming.PICTURES: runs})
    table = found.frame("calibration")
    first = [run[run["confidence"] < 0.2]["majority"] for run in runs]
    assert table["latents"][0] == sum(map(len, first)) and table["latents"].sum() == 400
    assert table["right"][0] == pytest.approx(np.mean([part.mean() for part in first if len(part)]))
    assert table["low"][0] < table["right"][0] < table["high"][0]
    where = f"{naming.MAIN}/{naming.PICTURES}"
    minus = [run["confidence"].mean() - run["majority"].mean() for run in runs]
    assert found.value(f"{where}/confidence minus share of true names") == pytest.approx(np.mean(minus))
    assert found.results[f"{where}/gap between confidence and truth"]["interval"] == "Student's t over the trainings"


def test_the_surer_half_is_held_against_the_other():
    table = pd.DataFrame({"confidence": [0.9, 0.1, 0.8, 0.2, 0.5], "majority": [True, False, True, True, False]})
    assert naming.surer_minus_other(table) == pytest.approx(1 - 0.5)  # the one in the middle counts in neither
    assert np.isnan(naming.surer_minus_other(table[:1]))


def test_observations_follow_the_numbers_and_have_no_verdict(published):
    changed = deepcopy(published)
    for name, row in changed.results.items():
        if "/most top pictures have it/minus " in name:
            row |= {"value": 0.3, "ci_low": 0.2, "ci_high": 0.4}
    lines = claims.observe(changed)
    number = sum("/most top pictures have it/minus " in name for name in changed.results)
    above = f"{number} of {number} lie above zero with their whole interval, 0 below"
    assert number and any(above in line.answer for line in lines)
    assert lines[0].answer.startswith("Named were ") and " of 512 latents (" in lines[0].answer
    assert all(line.question.endswith("?") and "hold" not in line.answer for line in lines)
    assert {name for line in lines for name in line.rests_on} <= set(changed.results)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(published, name):
    figure = FIGURES[name](published)
    assert figure.get_size_inches()[0] <= 6.4 and (figure.axes[0].get_xlabel() or figure.axes[0].texts)
