"""Names for latents: chosen by plain loops, checked against the truth, held against names that know nothing."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import naming as claims
from vlm_sae_lib.claims.verdict import Verdict
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


def test_published_verdicts_turn_with_the_numbers(published):
    before = {line.claim: line for line in claims.conclude(published)}
    for claim in list(before)[:3]:
        changed = deepcopy(published)
        for name in before[claim].rests_on:
            good = name.count("/") == 2
            changed.results[name] |= {"ci_low": 0.9, "ci_high": 0.95} if good else {"ci_low": 0.1, "ci_high": 0.2}
        assert {line.claim: line.verdict for line in claims.conclude(changed)}[claim] is Verdict.HOLDS
        for name in before[claim].rests_on:
            changed.results[name] |= {"ci_low": 0.1, "ci_high": 0.2}
        assert {line.claim: line.verdict for line in claims.conclude(changed)}[claim] is Verdict.FAILS
    changed = deepcopy(published)
    table = changed.tables["calibration"]
    table["low"], table["high"] = [0.0] * len(table["low"]), [1.0] * len(table["high"])
    verdicts = [line.verdict for line in claims.conclude(changed)]
    assert verdicts[3:] == [Verdict.FAILS, Verdict.HOLDS]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_a_phone(published, name):
    figure = FIGURES[name](published)
    assert figure.get_size_inches()[0] <= 6.4 and (figure.axes[0].get_xlabel() or figure.axes[0].texts)
