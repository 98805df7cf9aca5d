"""The claims page: every claim finds its effects, and other numbers give another word."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.claims import counting
from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.judging import judge, judged, word_of_claim
from vlm_sae_lib.claims.markdown import card, observed, reasons
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.verdict import Verdict, clearly_above, clearly_below, counted, number, said
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.registry import NAMES
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results

HOLDS, REVERSED, FAILS, UNDECIDED, UNTESTED, NO_SUCH_CLAIM = Verdict
DECIDED = [claim for claim in CLAIMS if claim.decided_by]


@pytest.fixture
def folder(tmp_path):
    """A copy of the published results, to be changed."""
    shutil.copytree(paths.published_results() / "pocket", tmp_path / "pocket")
    return tmp_path / "pocket"


def rewrite(folder, claim, shape):
    """Give every effect of a claim the values that ``shape`` makes of (unit, δ), and room enough."""
    for by in claim.decided_by:
        path = folder / f"{by.experiment}.json"
        content = json.loads(path.read_text())
        for name, effect in content["effects"].items():
            if name.startswith(by.effect.removesuffix("*")):
                units, cases = len(effect["values"]), len(effect["cases"])
                effect["values"] = [[shape(unit, by.delta)] * cases for unit in range(units)]
            elif by.room and name.startswith(by.room):
                effect["values"] = [[1.0] * len(effect["cases"]) for _ in effect["values"]]
        path.write_text(json.dumps(content))
    return Evidence(folder)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_every_claim_finds_all_that_is_to_decide_it(claim):
    evidence = Evidence()
    for by in claim.decided_by:
        assert evidence.effects(by.experiment, by.effect, ENOUGH if claim.enough else ""), by
        assert by.delta > 0 and by.words
    for experiment, effect, words in claim.beside:
        assert (evidence.effects(experiment, effect) or effect in evidence.findings(experiment).results) and words
    assert claim.where and claim.evidence and (claim.decided_by or claim.remark)
    if not any(by.room for by in claim.decided_by):  # a ceiling is the numbers' business
        assert (judge(claim, evidence).verdict is UNTESTED) is (not claim.decided_by and claim.made)


@pytest.mark.parametrize("claim", DECIDED, ids=lambda claim: claim.text[:40])
def test_other_numbers_give_another_word(claim, folder):
    shapes = {
        HOLDS: lambda unit, delta: delta * (2 + 0.01 * (unit % 2)),
        REVERSED: lambda unit, delta: -delta * (2 + 0.01 * (unit % 2)),
        FAILS: lambda unit, delta: delta * 0.01 * (unit % 2),
        UNDECIDED: lambda unit, delta: delta * (1e4 if unit == 0 else 1),
    }
    for word, shape in shapes.items():
        assert judge(claim, rewrite(folder, claim, shape)).verdict is word


@pytest.mark.parametrize("name", NAMES)
def test_observations_rest_on_results_that_exist_and_carry_no_verdict(name):
    observations, found = Evidence().observations(name), Evidence().findings(name)
    assert observations
    for one in observations:
        assert one.question.endswith("?") and one.answer.endswith(".")
        assert one.rests_on and set(one.rests_on) <= set(found.results), set(one.rests_on) - set(found.results)
    lines = observed(Evidence(), name)
    assert len(lines) == len(observations) and all(re.search(r" \(n: \d.*\.\)$", line) for line in lines)
    text = " ".join(lines)
    assert not re.search(r"\*\*|does not hold|holds (here|in part)|undecided|reversed", text)


def test_every_experiment_decides_something_on_the_page_or_goes_beyond_the_paper():
    decided = {by.experiment for claim in CLAIMS for by in claim.decided_by}
    told = {experiment for claim in CLAIMS for experiment, _, _ in claim.beside}
    assert set(NAMES) - decided - told == {"factors", "keeping_the_rest", "naming", "probing", "recovery"}


@pytest.fixture(autouse=True)
def _what_a_toys_n_counts(monkeypatch):
    monkeypatch.setitem(counting.COUNTED, "toy", (("*", counting.NEURONS),))


def toy(folder, values, **more):
    found = Findings("toy", "pocket")
    found.effect("gain", values, unit="training", of="MS", n=40, split="test", cases=("a/x", "a/y"))
    for name, others in more.items():
        found.effect(name.replace("_", " "), others, unit="training", of="MS", n=40, split="test", cases=("a/x", "a/y"))
    (folder / "toy.json").write_text(json.dumps(found.as_dict()))
    return Evidence(folder)


CLAIM = Claim("it", "It", "It works.", "nowhere", "none", (By("toy", "gain", 0.05, "over nothing"),))


def test_a_card_tells_effect_interval_n_bar_population_and_stability(tmp_path):
    evidence = toy(tmp_path, [[0.1, 0.3], [0.21, 0.2], [0.2, 0.22]], **{f"gain{ENOUGH}": [[0, 0.0]] * 3})
    text = "\n".join(card(judge(CLAIM, evidence), evidence))
    assert text.startswith(
        ":::{admonition} It works. — holds (neurons active on at least ten pictures: does not hold)\n:class: tip"
    )
    told = (
        "over nothing: 0.20 [0.19, 0.22] MS (3 trainings, n = 40 neurons, test); 0.05 or more would matter: **holds**"
    )
    assert told in text
    assert "Of neurons active on at least ten pictures, in the same order: 0.00 [0.00, 0.00] (n = 40 neurons)." in text
    differ = "**It depends on the neurons**: of neurons active on at least ten pictures it would say “does not hold”."
    assert text.index(differ) < text.index("over nothing"), "where they differ, the page says so first"
    left_out = "With one training, layer, encoder or tower left out, 5 of 5 analyses say “holds”."
    assert left_out in text and text.endswith(":::\n")


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ([0.01, 0.011, 0.012], " (there is one, but a smaller one)"),
        ([-0.01, -0.011, -0.012], " (it lies on the other side)"),
        ([0.01, -0.01, 0.0], " (one of 0.05 is excluded; a smaller one is not)"),
    ],
)
def test_what_does_not_hold_says_on_which_side_of_zero_it_lies(tmp_path, gains, told):
    evidence = toy(tmp_path, [[gain, gain] for gain in gains])
    assert f"**does not hold**{told}" in "\n".join(reasons(judge(CLAIM, evidence), evidence))


def test_an_interval_that_looks_the_same_when_widened_is_told_once(tmp_path):
    evidence = toy(
        tmp_path,
        [[0.1, 0.1], [0.12, 0.1], [0.1, 0.14]],
        kept=[[0.1, 0.1]] * 3,
        wide=[[0.0, 0.0], [0.1, 0.1], [0.2, 0.2]],
    )
    three = (*CLAIM.decided_by, By("toy", "kept", 0.05, "what is kept"), By("toy", "wide", 0.05, "what is wide"))
    first, second, *_ = reasons(judge(replace(CLAIM, decided_by=three), evidence), evidence)
    assert "over nothing: 0.11 [0.09, 0.13], for several comparisons at once 0.11 [0.07, 0.15] MS" in first
    assert "what is kept: 0.10 [0.10, 0.10] MS" in second


def test_a_result_can_stand_beside_a_claim(tmp_path):
    evidence = toy(tmp_path, [[0.1, 0.3], [0.21, 0.2], [0.2, 0.22]])
    beside = (("toy", "effect/gain", "as a result"), ("toy", "gain", "as an effect"))
    lines = reasons(judge(replace(CLAIM, beside=beside), evidence), evidence)
    assert [line for line in lines if "Beside it" in line] == [
        "- *Beside it, deciding nothing*: as a result, 0.20 [0.19, 0.22] MS, n = 40 neurons ({doc}`experiments/toy`).",
        "- *Beside it, deciding nothing*: as an effect, 0.20 [0.19, 0.22] MS, 3 trainings ({doc}`experiments/toy`).",
    ]


def test_an_effect_of_one_population_counts_in_both(tmp_path):
    one = [[0.1, 0.1], [0.12, 0.1], [0.1, 0.12]]
    evidence = toy(tmp_path, one, **{f"gain{ENOUGH}": one, "kept": [[0.0, 0.0]] * 3})
    both = Claim(
        "it", "It", "It works.", "nowhere", "none", (*CLAIM.decided_by, By("toy", "kept", 0.05, "what is kept"))
    )
    judgement = judge(both, evidence)
    assert judgement.verdict is FAILS and judgement.other.word is FAILS, "what has no second population is left out"
    assert judge(Claim("it", "It", "It works.", "nowhere", "none", both.decided_by[1:]), evidence).other is None


def test_a_claim_that_nobody_made_has_no_other_word_whatever_is_measured(tmp_path):
    evidence = toy(tmp_path, [[1.0, 1.0], [1.1, 1.1]])
    nobodys = Claim("it", "It", "It works.", "a summary", "none", CLAIM.decided_by, made=False)
    assert judge(nobodys, evidence).verdict is NO_SUCH_CLAIM
    assert judge(CLAIM, evidence).verdict is HOLDS


def test_a_star_stands_for_every_effect_that_begins_so_on_one_population(tmp_path):
    more = {"over x by e": [[1, 1.0]] * 3, "over y by e": [[1, 1.0]] * 3, f"over x by e{ENOUGH}": [[0, 0.0]] * 3}
    evidence = toy(tmp_path, [[0.1, 0.1]] * 3, **more)
    claim = Claim("it", "It", "It works.", "nowhere", "none", (By("toy", "over *", 0.05, "over"),))
    judgement = judge(claim, evidence)
    assert [(one.words, one.part.tower) for one in judgement.named] == [("over, x by e", "x"), ("over, y by e", "y")]
    assert judgement.verdict is HOLDS and judgement.other.word is FAILS


def test_a_word_is_asked_for_by_the_beginning_of_its_claim():
    assert word_of_claim("Steering improves the accuracy") is NO_SUCH_CLAIM
    assert {one.verdict for one in judged(Evidence())} <= set(Verdict)
    with pytest.raises(UserError, match="0 claims begin with 'Cats'; they are: Sparse autoencoders make"):
        word_of_claim("Cats")


def test_numbers_in_sentences():
    results = Results("toy", "pocket")
    results.add("a", 0.5, interval=(0.25, -0.0 + 0.75), interval_kind="toy")
    results.add("b", -1234)
    results.add("c", None)
    assert [said(results, name) for name in "abc"] == ["0.50 [0.25, 0.75]", "-1,234", "–"]
    assert clearly_above(results, "a", 0.2) and not clearly_above(results, "a", 0.3) and not clearly_above(results, "b")
    assert clearly_below(results, "a", 0.8) and not clearly_below(results, "c")
    assert counted(results, ["a", "c"]) == "1 of 2 lie above zero with their whole interval, 0 below"
    assert [number(value, 2) for value in (-0.001, 0.001, -0.0)] == ["0.00"] * 3, "no sign without a figure"
    assert number(-0.25, 2) == "−0.25" and number([1, 0.5], 1) == "1, 0.5"
