"""A claim on every island: which were asked, which count, and what is told where only some have results."""

import re
from dataclasses import replace

import numpy as np
import pytest
from island_results import CLAIM, COUNTED, STEERS, TEN, put, where

from vlm_sae_lib import paths
from vlm_sae_lib.claims import island_markdown, islands
from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.islands import ask, evidences, experiments_run
from vlm_sae_lib.claims.markdown import card
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.registry import NAMES
from vlm_sae_lib.files import canonical_json
from vlm_sae_lib.pocket.islands import HOME, ISLANDS
from vlm_sae_lib.records.effects import ENOUGH

HOLDS, REVERSED, FAILS, UNDECIDED, UNTESTED, _ = Verdict
ALL = {"home": 0.2, "atoll": 0.19, "fjord": 0.22, "skerry": 0.21, "mainland": 0.18}


def text(answers):
    return "\n".join(island_markdown.lines(answers))


def test_five_islands_count_and_the_second_tower_is_shown_but_not_counted(tmp_path):
    answers = ask(CLAIM, where(tmp_path, **ALL, twin=-0.2))
    assert tuple(answers.counted) == COUNTED and answers.words == {HOLDS: 5}
    assert island_markdown.tally(answers) == "holds on 5 of 5 islands"
    assert answers.overall.effects[0].islands == COUNTED and answers.overall.word is HOLDS
    assert "seen by a CLIP of another training, `twin`: reversed." in text(answers)


def test_an_island_whose_sign_is_turned_counts_and_is_named(tmp_path):
    answers = ask(CLAIM, where(tmp_path, **{**ALL, "fjord": -0.22}))
    assert island_markdown.tally(answers) == "holds on 4 of 5 islands"
    assert "**Holds on 4 of 5 islands**; reversed on `fjord`." in text(answers)
    assert answers.overall.word is UNDECIDED and answers.overall.effects[0].combined.i2 > 0.99
    assert "nearly all of the spread between them is more than chance (I² over 99 %, τ 0.19)" in text(answers)


def test_an_island_without_results_is_no_island_that_was_asked(tmp_path):
    answers = ask(CLAIM, where(tmp_path, home=0.2, atoll=0.2, fjord=0.0))
    assert island_markdown.tally(answers) == "holds on 2 of 3 islands"
    assert "does not hold on `fjord`. Not asked: `skerry` and `mainland` (no results yet)." in text(answers)


def test_an_island_that_cannot_speak_is_not_asked_what_takes_speech(tmp_path):
    for island in ISLANDS:  # results that should not be there are not read
        put(tmp_path, island, experiment="similarity", push=0.2 + TEN)
    answers = ask(STEERS, evidences(tmp_path))
    assert tuple(answers.counted) == ("", "atoll", "fjord")
    assert "Not asked: `skerry` and `mainland` (no LLaVA of its own)." in text(answers)
    assert "`twin`: not asked (no LLaVA of its own)." in text(answers)


def test_an_island_that_lacks_one_of_the_effects_is_not_asked(tmp_path):
    both = Claim(
        "it", "It", "It works.", "nowhere", "none", (*CLAIM.decided_by, By("layers", "kept", 0.05, "what is kept"))
    )
    put(tmp_path, "", gain=0.2 + TEN, kept=0.2 + TEN)
    put(tmp_path, "atoll", gain=0.2 + TEN)
    put(tmp_path, "fjord", gain=0.2 + TEN, kept=0.2 + TEN, more=TEN)
    answers = ask(both, evidences(tmp_path))
    assert tuple(answers.counted) == ("", "fjord") and "`atoll` (without the effect “kept”)" in text(answers)


def test_the_population_that_decides_is_the_one_that_is_looked_for(tmp_path):
    rare = Claim("it", "It", "It works.", "nowhere", "none", CLAIM.decided_by, enough=True)
    put(tmp_path, "", **{"gain": TEN, f"gain{ENOUGH}": 0.2 + TEN})
    put(tmp_path, "atoll", gain=0.2 + TEN)
    put(tmp_path, "fjord", **{"gain": TEN, f"gain{ENOUGH}": 0.2 + TEN})
    answers = ask(rare, evidences(tmp_path))
    assert answers.words == {HOLDS: 2} and "`atoll` (without the effect" in text(answers)


@pytest.mark.parametrize("values", [[0.2], [np.nan, 0.2], [np.nan] * 10])
def test_an_island_with_too_few_values_does_not_count(tmp_path, values):
    put(tmp_path, "atoll", gain=values)
    answers = ask(CLAIM, where(tmp_path, home=0.2, fjord=0.2))
    assert tuple(answers.counted) == ("", "fjord") and "`atoll` (cannot be tested here)" in text(answers)


def test_a_claim_that_can_be_tested_on_no_island_has_no_strip_and_says_so(tmp_path):
    for island in ("", "skerry"):
        put(tmp_path, island, gain=[0.2])
    answers = ask(CLAIM, evidences(tmp_path))
    assert answers.elsewhere and not answers.counted
    assert text(answers).startswith("**Cannot be tested on any island on which it was asked**.")
    assert "cannot be tested on any island on which it was asked | – |" in "\n".join(island_markdown.summary([answers]))
    assert island_markdown.tally(answers) == island_markdown.NOWHERE


def test_on_the_published_island_alone_the_card_is_what_it_was_and_one_sentence(tmp_path):
    home = where(tmp_path, home=0.2)
    answers = ask(CLAIM, home)
    assert island_markdown.tally(answers) == "" and island_markdown.summary([answers]) == []
    judgement, evidence = answers.each[0].judgement, home[HOME.name]
    before = card(judgement, evidence)
    now = card(judgement, evidence, islands=island_markdown.lines(answers), tally=island_markdown.tally(answers))
    assert [line for line in now if line not in before] == [island_markdown.ONLY_HERE]
    asked = card(judgement, evidence, tally="holds on 3 of 5 islands")
    assert asked[0] == ":::{admonition} It works. — holds here, holds on 3 of 5 islands"
    untested = card(replace(judgement, verdict=UNTESTED), evidence, tally=island_markdown.NOWHERE)
    assert untested[0].endswith("— cannot be tested here, cannot be tested on any island on which it was asked")


def test_seen_by_a_second_tower_alone_there_is_one_island_and_no_overall_effect(tmp_path):
    answers = ask(CLAIM, where(tmp_path, home=0.2, twin=0.2))
    assert island_markdown.tally(answers) == "holds on 1 of 1 island" and answers.overall.word is UNTESTED
    assert "On fewer than two islands there is no overall effect." in text(answers)
    assert island_markdown.alt(answers).startswith("Holds on 1 of 1 island. published island: holds; twin: holds. The")


def test_what_nothing_decides_is_asked_nowhere(tmp_path):
    none = Claim("it", "It", "It pleases.", "nowhere", "none", remark="It takes people.")
    answers = ask(none, where(tmp_path, **ALL))
    assert not answers.elsewhere and island_markdown.lines(answers) == [] and answers.overall.word is UNTESTED


def test_the_table_beside_the_strip_has_a_number_for_every_mark(tmp_path):
    answers = ask(CLAIM, where(tmp_path, **ALL, twin=0.3))
    rows = [line for line in island_markdown.lines(answers) if line.startswith("|")]
    assert [row.count("|") for row in rows] == [11] * 4
    assert [cell.strip() for cell in rows[0].split("|")[3:9]] == [
        "published island", "twin", "atoll", "fjord", "skerry", "mainland",
    ]  # fmt: skip
    assert "| n on each |" in rows[0] and "(MS) | 10 trainings | " in rows[2]
    assert "0.20 [0.20, 0.20] | 0.30 [0.30, 0.30] | 0.19 [0.19, 0.19]" in rows[2]
    summary = island_markdown.summary([answers])
    everywhere = "5 of 5: the published one, `atoll`, `fjord`, `skerry`, `mainland`"
    assert f"| It works. | holds | {everywhere} | holds |" in summary and "hollow" in summary[0]


def test_the_row_of_a_claim_names_the_islands_on_which_it_holds(tmp_path):
    answers = ask(CLAIM, where(tmp_path, home=0.2, atoll=-0.2, fjord=0.2))
    assert "| It works. | holds | 2 of 3: the published one, `fjord` |" in island_markdown.summary([answers])[-2]
    nowhere = ask(CLAIM, where(tmp_path, home=-0.2, atoll=-0.2, fjord=-0.2))
    assert "| It works. | reversed | 0 of 3 |" in island_markdown.summary([nowhere])[-2]


def test_where_the_claims_were_asked_follows_from_the_results_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(islands, "CLAIMS", (CLAIM, STEERS))
    assert island_markdown.asked(where(tmp_path, home=0.2)).startswith("The claims have not been asked on other")
    put(tmp_path, "atoll", gain=TEN)
    there = where(tmp_path, skerry=0.2)
    assert experiments_run(ISLANDS["skerry"], there["skerry"]) == (["layers"], []), "it cannot speak, and lacks nothing"
    told = island_markdown.asked(there)
    assert told.startswith(
        "The claims have been asked on `skerry` and `atoll` too; on `atoll` not all of them, as not every experiment "
        "has results there; not yet on `twin`, `fjord` and `mainland`."
    )


def test_from_a_run_to_the_card(tmp_path, monkeypatch):
    """What ``run --profile island-<name>`` writes is what the page reads."""
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "published_results", lambda: tmp_path / "published")
    monkeypatch.setattr(running, "Workbench", lambda profile: profile)

    def run(bench, found):
        mean = -0.2 if "skerry" in bench.name else 0.2
        found.effect("gain", mean + TEN, unit="training", of="MS", n=40, split="test")
        found.effect("push", mean + TEN, unit="latent", of="cosine", n=40, split="test")

    monkeypatch.setattr(running, "experiment", lambda name: Experiment(name, "", "?", "", run, name == "similarity"))
    for profile in ("pocket", "island-fjord", "island-skerry"):
        running.run_experiments(profile, ["layers", "similarity"], say=lambda line: None)
    there = evidences()
    assert island_markdown.tally(ask(CLAIM, there)) == "holds on 2 of 3 islands"
    assert island_markdown.tally(ask(STEERS, there)) == "holds on 2 of 2 islands"
    inputs = there["skerry"].findings("layers").inputs
    assert set(inputs) == set(running.INPUTS) and inputs["code"] == there[""].findings("layers").inputs["code"]
    assert inputs["settings"] != there[""].findings("layers").inputs["settings"]


def test_the_results_of_an_island_are_small():
    """As large as the published island's would be in that form: git holds a few of them."""
    sizes = [len(canonical_json(Findings.read(running.published(name)).decisive())) for name in NAMES]
    assert sum(sizes) < 250_000


def test_every_claim_of_the_paper_can_be_asked_of_the_published_results():
    there = evidences()
    for claim in CLAIMS:
        answers = ask(claim, there)
        room = not any(by.room for by in claim.decided_by)  # where a control leaves too little, nothing is tested
        assert (HOME.name in answers.counted) is bool(claim.decided_by and room)
        assert "None" not in text(answers) and not re.search(r"\bnan\b", text(answers))
    assert isinstance(there["atoll"], Evidence)
