"""What the n of a result counts: every result of every experiment is told, and no pattern stands for nothing."""

from fnmatch import fnmatchcase

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.claims import counting
from vlm_sae_lib.claims.counting import COUNTED, behind, n_and_what, what_n_counts
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.left_out import of_how_many
from vlm_sae_lib.experiments.registry import NAMES
from vlm_sae_lib.plan.work import NOTEBOOKS
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results


@pytest.mark.parametrize("experiment", NAMES)
def test_every_n_says_what_it_counts_and_every_pattern_is_needed(experiment):
    found, patterns = Evidence().findings(experiment), [pattern for pattern, _ in COUNTED[experiment]]
    names = [name for name, row in found.results.items() if row["n"] is not None]
    fitting = {next(i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern)) for name in names}
    assert fitting == set(range(len(patterns)))
    assert all(n_and_what(found, experiment, name)[1] for name in names)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_n_of_a_notebook_says_what_it_counts_and_every_pattern_is_needed(notebook):
    found = Results.read(paths.published_results() / f"{notebook}.json")
    patterns = [pattern for pattern, _ in COUNTED[notebook]]
    counted = {name: row["n"] for name, row in found.results.items() if row["n"] is not None}
    fitting = {next(i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern)) for name in counted}
    assert fitting == set(range(len(patterns)))
    sizes = {"test pictures": "test_pictures", "training pictures": "train_pictures"}
    for name, n in counted.items():
        what = what_n_counts(notebook, name)
        split = getattr(load_profile("pocket"), sizes[what]) if what in sizes else f"pocket:{n}"
        assert n <= int(split.split(":")[1]), name


@pytest.mark.parametrize("experiment", NAMES)
def test_what_an_n_is_said_to_count_there_are_as_many_of(experiment):
    found = Evidence().findings(experiment)
    most = {"test pictures": int(load_profile("pocket").test_pictures.split(":")[1])}
    most |= {"concepts": found.value("concepts")} if "concepts" in found.results else {}
    for name, row in found.results.items():
        what = what_n_counts(experiment, name, row["seeds"]) if row["n"] is not None else ""
        assert row["n"] is None or row["n"] <= most.get(what, row["n"]), name
        if what == "trainings" and row["seeds"]:
            assert row["n"] >= len(row["seeds"]), name
        if ENOUGH in name and row["n"] is not None:
            every = found.results.get(name.replace(ENOUGH, ""))
            assert every is None or every["n"] >= row["n"], name


@pytest.mark.parametrize(("experiment", "name", "everyone"), [
    ("naming", "Matryoshka ×4 at block_5/its top pictures/precision", 512),
    ("naming", "BatchTopK ×4 at projection/its decoder direction/precision", 5120),
    ("layers", f"projection/self-supervised/mean{ENOUGH}/Matryoshka ×64", 8192),
    ("layers", "block_2/second CLIP/Matryoshka ×2 minus BatchTopK ×2", 768),
    ("layers", "projection/R²/Matryoshka ×4", None),
    ("origins", "MS/second CLIP/SAE minus principal components", 256),
    ("origins", f"effect/gain over k-means{ENOUGH}", 5120),
    ("hierarchy", "effect/slope", 2560),
    ("hierarchy", "step/level 0 to 1", 380),
    ("hierarchy", "shipped/depth/mean/level 1", 27),
    ("similarity", "white/similarity/steered", 512),
    ("keeping_the_rest", "share that steers/live latents", 512),
    ("captioning", "clean/all slots right/amplify", None),
])  # fmt: skip
def test_an_n_is_held_against_all_there_are(experiment, name, everyone):
    found = Evidence().findings(experiment)
    assert of_how_many(found, experiment, name) in (everyone, None)
    n, _ = n_and_what(found, experiment, name)
    assert n.partition(" of ")[2] == (f"{everyone:,}" if everyone else "")


def test_of_enough_pictures_an_n_says_of_how_many(monkeypatch):
    monkeypatch.setitem(COUNTED, "toy", (("R²", "pictures"), ("*", counting.NEURONS)))
    found = Results("toy", "pocket")
    found.add("gain", 1.0, n=3000, seeds=[0, 1, 2])
    found.add(f"gain{ENOUGH}", 1.0, n=1200, seeds=[0, 1, 2])
    found.add("R²", 1.0, n=40)
    found.add("alone", 1.0, n=7, seeds=[0])
    found.add("none", 1.0)
    assert [n_and_what(found, "toy", name) for name in found.results] == [
        ("3,000", "neurons of 3 trainings"), ("1,200 of 3,000", "neurons of 3 trainings"), ("40", "pictures"),
        ("7", "neurons"), ("", ""),
    ]  # fmt: skip
    spans = "1,200 to 3,000 neurons of 3 trainings; 40 pictures; 7 neurons"
    assert behind(found, "toy", found.results) == spans and behind(found, "toy", ["none"]) == ""
    with pytest.raises(KeyError, match="nothing says what the n of 'gain' counts"):
        monkeypatch.setitem(COUNTED, "toy", ()) or what_n_counts("toy", "gain")
