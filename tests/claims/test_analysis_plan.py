"""The plan of the analysis has an entry for every claim, and each entry says all that a plan must say."""

import re

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.claims.paper import CLAIMS

PAGE = (paths.root() / "book" / "analysis_plan.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^\*\*(.+?)\*\*\n((?:[: ] .+\n)+)", PAGE.split("## Claim by claim", 1)[1], flags=re.M))


def test_the_plan_has_the_claims_of_the_claims_page_and_no_other():
    assert list(ENTRIES) == [claim.text for claim in CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_every_entry_says_what_is_measured_on_whom_and_what_matters(claim):
    entry = " ".join(ENTRIES[claim.text].split())
    assert all(f"*{part}*: " in entry for part in ("Unit", "Population", "δ"))
    if "*Effect" in entry:
        assert claim.rests_on, "what has an effect is decided by conclusions"
    else:
        assert "*no such claim was made*" in entry or "*Cannot be tested here*" in entry


def test_every_word_of_the_rule_is_told():
    rule = PAGE.split("## Words and their rule", 1)[1].split("## ", 1)[0]
    for word in ("holds", "reversed", "does not hold", "undecided", "cannot be tested here", "no such claim was made"):
        assert f"| *{word}* |" in rule
