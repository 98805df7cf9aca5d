"""The plan of the analysis has an entry for every claim, and the code decides each claim by what its entry says."""

import re

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.records.effects import ENOUGH

PAGE = (paths.root() / "book" / "analysis_plan.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^\*\*(.+?)\*\*\n((?:[: ] .+\n)+)", PAGE.split("## Claim by claim", 1)[1], flags=re.M))
DECIDED = [claim for claim in CLAIMS if claim.decided_by]
UNITS = {"training": "seed", "latent": "latent", "concept": "concept", "picture": "picture"}


def entry(claim):
    return " ".join(ENTRIES[claim.text].split())


def part(claim, name):
    """What the entry says of its unit, population or δ, up to the next of them."""
    return re.search(rf"\*{name}\*: (.+?)(?= \*(?:Unit|Population|δ)\*: | : |$)", entry(claim)).group(1)


def test_the_plan_has_the_claims_of_the_claims_page_and_no_other():
    assert list(ENTRIES) == [claim.text for claim in CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:40])
def test_every_entry_says_what_is_measured_on_whom_and_what_matters(claim):
    assert all(f"*{name}*: " in entry(claim) for name in ("Unit", "Population", "δ"))
    if "*Effect" in entry(claim):
        assert claim.decided_by and claim.made
    else:
        assert ("*no such claim was made*" in entry(claim)) is not claim.made
        assert ("*Cannot be tested here*" in entry(claim)) is (claim.made and not claim.decided_by)


@pytest.mark.parametrize("claim", DECIDED, ids=lambda claim: claim.text[:40])
def test_the_sizes_that_matter_are_those_of_the_plan(claim):
    planned = sorted({float(number) for number in re.findall(r"(?<![\d])\.\d+", part(claim, "δ").split(",")[0])})
    assert sorted({by.delta for by in claim.decided_by}) == planned


@pytest.mark.parametrize("claim", DECIDED, ids=lambda claim: claim.text[:40])
def test_what_varies_and_how_often_is_what_the_plan_says(claim):
    for by in claim.decided_by:
        for effect in Evidence().effects(by.experiment, by.effect, ENOUGH if claim.enough else "").values():
            assert part(claim, "Unit").startswith(UNITS[effect.unit])
            if number := re.match(r"seed \((\d+)", part(claim, "Unit")):
                assert len(effect.values) == int(number.group(1))


@pytest.mark.parametrize("claim", DECIDED, ids=lambda claim: claim.text[:40])
def test_the_population_is_that_of_the_plan(claim):
    population = part(claim, "Population")
    assert claim.enough is population.startswith("(b)")
    if population.startswith(("(a)", "(b)")):  # both are measured, whichever decides
        for by in claim.decided_by:
            first, second = (Evidence().effects(by.experiment, by.effect, ending) for ending in ("", ENOUGH))
            of_pictures = all(effect.of == "R²" for effect in first.values())  # not of neurons: one population
            assert first and ({name + ENOUGH for name in first} == set(second) or of_pictures)


def test_every_word_of_the_rule_is_told():
    rule = PAGE.split("## Words and their rule", 1)[1].split("## ", 1)[0]
    assert re.findall(r"^\| \*(.+?)\* \|", rule, flags=re.M) == [verdict.value for verdict in Verdict]
