"""The claims page: every claim finds its conclusions, and another number gives another verdict."""

import json
import shutil

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.claims.evidence import Evidence, together
from vlm_sae_lib.claims.paper import CLAIMS, judge
from vlm_sae_lib.claims.verdict import Verdict, clearly_above, clearly_below, number, said
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.registry import NAMES
from vlm_sae_lib.records.results import Results

HOLDS, IN_PART, FAILS, UNTESTED = Verdict


@pytest.fixture
def evidence(tmp_path):
    """A copy of the published results, to be changed."""
    shutil.copytree(paths.published_results() / "pocket", tmp_path / "pocket")
    return Evidence(tmp_path / "pocket")


def rewrite(evidence, experiment, change):
    """Apply ``change`` to every result of an experiment's file."""
    path = evidence.folder / f"{experiment}.json"
    content = json.loads(path.read_text())
    for name, row in content["results"].items():
        change(name, row)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_every_claim_is_judged_by_what_it_rests_on(claim):
    judgement = judge(claim, Evidence())
    assert len(judgement.conclusions) == len(claim.rests_on)
    assert judgement.verdict is together([one.verdict for _, one in judgement.conclusions])
    assert claim.where and claim.evidence and (claim.rests_on or claim.remark)


@pytest.mark.parametrize("name", NAMES)
def test_conclusions_rest_on_results_that_exist_and_say_why(name):
    conclusions, found = Evidence().conclusions(name), Evidence().findings(name)
    assert conclusions
    for one in conclusions:
        assert one.claim.endswith(".") and one.because
        assert one.rests_on and set(one.rests_on) <= set(found.results), set(one.rests_on) - set(found.results)


def test_every_experiment_decides_something_on_the_page_or_goes_beyond_the_paper():
    decided = {name for claim in CLAIMS for name, _ in claim.rests_on}
    assert set(NAMES) - decided == {"factors", "naming"}


def high(place, number):
    return 0.9, 0.8, 1.0


def low(place, number):
    return -0.9, -1.0, -0.8


def hill(place, number):
    """Rising to the middle of the results that a conclusion rests on, then falling."""
    value = 1 - abs(place - number // 2) / number
    return value, value - 0.001, value + 0.001


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.rests_on], ids=lambda claim: claim.text[:40])
def test_another_number_gives_another_verdict(claim, evidence):
    """As published, far above zero, far below, rising and falling: a verdict that never moves was not computed."""
    verdicts = {judge(claim, Evidence()).verdict}
    for shape in (high, low, hill):
        for experiment in {name for name, _ in claim.rests_on}:
            conclusions = [Evidence().conclusion(e, start) for e, start in claim.rests_on if e == experiment]
            rests = list(dict.fromkeys(name for one in conclusions for name in one.rests_on))

            def change(name, row, rests=rests, shape=shape):
                if name in rests:
                    row.update(zip(("value", "ci_low", "ci_high"), shape(rests.index(name), len(rests)), strict=True))

            rewrite(evidence, experiment, change)
        verdicts.add(judge(claim, evidence).verdict)
    assert len(verdicts) > 1


def test_verdicts_together():
    assert together([HOLDS, HOLDS]) is HOLDS
    assert together([HOLDS, FAILS]) is IN_PART
    assert together([IN_PART, HOLDS]) is IN_PART
    assert together([FAILS, UNTESTED]) is FAILS
    assert together([UNTESTED]) is together([]) is UNTESTED


def test_a_conclusion_that_is_not_there_or_not_one(evidence):
    with pytest.raises(UserError, match="0 conclusions of uniqueness begin with 'Cats'; they are: "):
        evidence.conclusion("uniqueness", "Cats")
    with pytest.raises(UserError, match="conclusions of hierarchy begin with ''"):
        evidence.conclusion("hierarchy", "")


def test_numbers_in_sentences():
    results = Results("toy", "pocket")
    results.add("a", 0.5, interval=(0.25, -0.0 + 0.75), interval_kind="toy")
    results.add("b", -1234)
    results.add("c", None)
    assert [said(results, name) for name in "abc"] == ["0.50 [0.25, 0.75]", "-1,234", "–"]
    assert clearly_above(results, "a", 0.2) and not clearly_above(results, "a", 0.3) and not clearly_above(results, "b")
    assert clearly_below(results, "a", 0.8) and not clearly_below(results, "c")
    assert number(-0.25, 2) == "−0.25" and number([1, 0.5], 1) == "1, 0.5"
