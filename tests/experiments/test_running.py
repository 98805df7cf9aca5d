"""The experiments as a whole: run once, skipped while their results stand, published, and stale when code moves."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import registry, running
from vlm_sae_lib.experiments.experiment import Experiment
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.statistics.intervals import Estimate, Interval


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Three toy experiments, with counters of how often each ran."""
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "published_results", lambda: tmp_path / "published")
    ran = dict.fromkeys(("apple", "apricot", "pear"), 0)
    world = SimpleNamespace(ran=ran, hashes=dict.fromkeys(ran, "1"), broken=set(), mean=0.5, gain=0.1, seconds=1.0)

    def experiment(name):
        def run(bench, found):
            ran[name] += 1
            if name in world.broken:
                raise KeyboardInterrupt
            found.estimate("mean", Estimate(world.mean, Interval(0.4, 0.6)), interval_kind="toy", n=3)
            found.effect("gain", [[world.gain], [0.2], [0.3]], of="share", unit="training", n=3, split="test")
            found.add("cost", world.seconds, n=3, unit="ratio, this machine")

        return Experiment(name, name, "?", "", run)

    monkeypatch.setattr(running, "NAMES", tuple(ran))
    monkeypatch.setattr(running, "experiment", experiment)
    monkeypatch.setattr(running, "Workbench", lambda profile: None)
    monkeypatch.setattr(
        running, "_inputs", lambda name, profile: {"code": world.hashes[name], "models": "m", "settings": profile.name}
    )
    return world


def run(*names, profile="pocket"):
    said = []
    running.run_experiments(profile, names or running.NAMES, say=said.append)
    return said


def test_the_longest_begin(toy, monkeypatch):
    monkeypatch.setattr(running, "LONGEST", ("pear", "apricot"))
    began = [line.split()[0] for line in run() if "running" in line]
    assert began == ["pear", "apricot", "apple"] and set(registry.LONGEST) < set(registry.NAMES)


def test_a_second_call_runs_nothing(toy):
    run()
    said = run()
    assert toy.ran == {"apple": 1, "apricot": 1, "pear": 1}
    assert [line.split()[1:] for line in said[:3]] == [["up", "to", "date"]] * 3


def test_code_that_finds_what_decides_claims_again_leaves_other_islands_as_they_are(toy):
    """An island's published results hold nothing else: an interval of another kind does not touch them."""
    run("pear")
    run("pear", profile="island-atoll")
    island = Findings.read(running.published("pear", "island-atoll"))
    profile = running.load_profile("island-atoll")
    for code in ("2", "3"):
        toy.hashes["pear"], toy.seconds, toy.mean = code, float(code), float(code)
        assert running.changed(island, "pear", profile) == ["code"]
        run("pear")
        assert running.changed(island, "pear", profile) == []
    kept = json.loads((paths.published_results() / "same_numbers.json").read_text())
    assert kept == {"pear": [["1", "2"], ["2", "3"]]}
    island.inputs["code"] = "0"
    assert running.changed(island, "pear", profile) == ["code"]
    island.inputs["models"] = "others"
    assert running.changed(island, "pear", profile) == ["code", "models"]


def test_code_that_finds_otherwise_makes_other_islands_stale(toy):
    run("pear")
    run("pear", profile="island-atoll")
    island, profile = Findings.read(running.published("pear", "island-atoll")), running.load_profile("island-atoll")
    toy.hashes["pear"], toy.gain = "2", 0.11
    run("pear")
    assert running.changed(island, "pear", profile) == ["code"]
    toy.hashes["pear"], toy.gain = "3", 0.1
    run("pear")
    assert running.changed(island, "pear", profile) == ["code"], "the same as nothing published"


def test_the_published_island_itself_is_measured_again_by_any_other_code(toy):
    run("pear")
    first = Findings.read(running.published("pear"))
    toy.hashes["pear"], toy.mean = "2", 0.51
    run("pear")
    assert running.changed(first, "pear", running.load_profile("pocket")) == ["code"]


def test_only_what_moved_runs_again(toy):
    run()
    toy.hashes["pear"] = "2"
    assert running.stale("pear") == ["code"] and running.stale("apple") == []
    run()
    assert toy.ran == {"apple": 1, "apricot": 1, "pear": 2} and running.stale("pear") == []


@pytest.mark.parametrize("profile", ["pocket", "island-atoll"])
def test_a_killed_run_keeps_what_was_finished_and_goes_on_from_there(toy, profile):
    toy.broken.add("apricot")
    with pytest.raises(KeyboardInterrupt):
        run(profile=profile)
    assert running.published("apple", profile).exists() and not running.published("apricot", profile).exists()
    toy.broken.clear()
    run(profile=profile)
    assert toy.ran == {"apple": 1, "apricot": 2, "pear": 1}
    assert {path.stem for path in running.published("apple", profile).parent.iterdir()} == set(toy.ran)


def test_results_name_what_they_were_made_from(toy):
    run("apple")
    found = Findings.read(running.published("apple"))
    assert found.inputs == {"code": "1", "models": "m", "settings": "pocket"}
    assert found.results["mean"]["ci_high"] == 0.6


def test_experiments_are_chosen_by_prefix(toy):
    assert running.choose(["experiments"]) == ("apple", "apricot", "pear")
    assert running.choose(["experiments/ap"]) == ("apple", "apricot")
    assert running.choose(["experiments/pear", "experiments/apple"]) == ("apple", "pear")
    with pytest.raises(UserError, match="the experiments are apple, apricot, pear"):
        running.choose(["experiments/plum"])


def test_tables_come_back_as_they_went(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    found = Findings("toy", "pocket")
    found.table("curve", pd.DataFrame({"x": [1, 2], "y": [0.5, float("nan")], "who": ["a", "b"]}))
    back = Findings.read(found.write())
    assert back.frame("curve")["who"].tolist() == ["a", "b"]
    assert back.frame("curve")["y"].isna().tolist() == [False, True]
    with pytest.raises(UserError, match="There is no table 'surface'; there are curve"):
        back.frame("surface")
    with pytest.raises(UserError, match="already a table"):
        found.table("curve", pd.DataFrame())


def test_every_experiment_can_be_loaded_and_says_what_it_asks():
    for name in registry.NAMES:
        found = registry.experiment(name)
        assert found.name == name and found.title and found.question.endswith("?")
    with pytest.raises(KeyError):
        registry.experiment("alchemy")


@pytest.mark.parametrize("name", registry.NAMES)
def test_no_published_result_is_stale(name):
    """If this fails: python -m vlm_sae_lib run --only experiments"""
    assert running.stale(name) == []


ELSEWHERE = sorted(paths.published_results().glob("island-*/*.json"))


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_result_of_another_island_is_stale(path):
    """Their models stay out of the repository, so that these cannot be compared here."""
    profile = running.load_profile(path.parent.name)
    assert {*running.changed(Findings.read(path), path.stem, profile)} <= {"models"}


@pytest.mark.parametrize("name", registry.NAMES)
def test_no_comparison_stands_without_its_n_and_its_kind_of_interval(name):
    results = json.loads(running.published(name).read_text())["results"]
    assert results
    for key, row in results.items():
        assert row["ci_low"] is None or row["interval"], f"{key}: an interval of what?"
        if row["controls"]:
            assert row["n"] is not None, f"{key} is compared, and has no n"


def test_of_another_island_what_decides_claims_is_published_and_nothing_else(toy, monkeypatch):
    def decides(bench, found):
        found.effect("gain", [0.1, 0.2], unit="training", of="MS", n=3, split="test", controls={"zero": "nothing"})
        found.add("nothing", 0.0)
        found.table("long", pd.DataFrame({"a": range(9)}))

    monkeypatch.setattr(running, "experiment", lambda name: Experiment(name, name, "?", "", decides))
    running.run_experiments("island-atoll", ["apple"], say=lambda line: None)
    found = Findings.read(running.published("apple", "island-atoll"))
    assert len(running.published("apple", "island-atoll").read_text().splitlines()) == 1, "numbers have no line each"
    assert list(found.results) == ["effect/gain"] and not found.tables and found.inputs
    assert found.effects["gain"].by_unit().tolist() == [0.1, 0.2]


def test_of_another_island_an_experiment_that_decides_nothing_leaves_nothing(toy, monkeypatch):
    silent = Experiment("apple", "apple", "?", "", lambda bench, found: found.add("share", 0.5))
    monkeypatch.setattr(running, "experiment", lambda name: silent)
    for _ in range(2):
        said = run("apple", profile="island-atoll")
    assert "up to date" in said[0] and not running.published("apple", "island-atoll").exists()
    run("apple")
    assert running.published("apple").exists(), "of the published one all is shown"


def test_an_island_without_a_model_that_speaks_is_told_so(toy, monkeypatch):
    speaking = Experiment("pear", "pear", "?", "", lambda bench, found: pytest.fail("it was run"), speaks=True)
    monkeypatch.setattr(running, "experiment", lambda name: speaking)
    said = []
    running.run_experiments("island-skerry", ["pear"], say=said.append)
    assert "needs a vision-language model" in said[0] and not running.published("pear", "island-skerry").exists()
