"""The hierarchy experiment: levels that follow rarity or more, the planned effect by hand, depths computed again."""

import copy
import itertools

import numpy as np
import oracles
import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.claims import hierarchy as claims
from vlm_sae_lib.experiments import hierarchy, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.hierarchy_latents import MATRYOSHKA, PLAIN, Read
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results
from vlm_sae_lib.scores import levels
from vlm_sae_lib.taxonomy import taxon_path

SIZES, FOLDERS = (4, 8, 12), load_pictures("pocket:300:1").folders


@pytest.fixture(scope="module")
def published():
    return Findings.read(running.published("hierarchy"))


def read(depths, rates, seed):
    rng = np.random.default_rng(seed)
    top = np.stack([rng.choice(300, 16, replace=False) for _ in depths])
    noisy = np.asarray(depths, float) + rng.normal(0, 0.2, len(depths))
    rates = np.asarray(rates, float)
    return Read(dict.fromkeys(("mean", "rounded_mean", "mode"), noisy), rates, top, (300 * rates).round().astype(int))


def slopes(plain_depths):
    """The experiment's slopes of alike trainings, whose Matryoshka levels lie at 2, 4 and 6."""
    rates = np.linspace(0.5, 0.01, sum(SIZES))
    found = Findings("hierarchy", "pocket")
    ours = 2 + 2 * levels.levels_of(SIZES)
    both = {(MATRYOSHKA, s): read(ours, rates, s) for s in hierarchy.SEEDS}
    both |= {(PLAIN, s): read(plain_depths, rates, 10 + s) for s in hierarchy.SEEDS}
    hierarchy._slopes(found, both, SIZES, "train", FOLDERS)
    return found


def test_a_rise_that_rarity_explains_is_none_of_the_levels(monkeypatch):
    for name, value in {"REDUCTIONS": ("mean",), "SHUFFLES": 5, "DEALINGS": 50}.items():
        monkeypatch.setattr(hierarchy, name, value)
    alike = slopes(2 + 2 * levels.levels_of(SIZES))
    assert alike.value("slope/train/mean") == pytest.approx(2, abs=0.15)
    row = alike.results["slope/train/mean/beyond frequency"]
    assert row["ci_low"] < 0 < row["ci_high"]
    flat = slopes(np.full(sum(SIZES), 4.0))
    assert flat.results["slope/train/mean/beyond frequency"]["ci_low"] > 1.5
    assert flat.results["slope/train/mean/beyond matched"]["ci_low"] > 1.5
    row = flat.results["slope/train/mean/shuffled taxonomy"]
    assert row["ci_low"] < 0 < row["ci_high"]


def test_latents_of_few_pictures_have_no_depth_and_are_counted():
    reads = {(kind, s): read(np.full(24, 3.0), np.full(24, 0.1), s) for kind in (MATRYOSHKA, PLAIN)
             for s in hierarchy.SEEDS}  # fmt: skip
    reads[MATRYOSHKA, 0].top[5, 10:] = -1
    reads[MATRYOSHKA, 0].rates[5] = 0
    found = Findings("hierarchy", "pocket")
    hierarchy._exclusions(found, reads, SIZES)
    assert [found.value(f"level {i}/fewer than 16 pictures") for i in range(3)] == [0, 1, 0]
    assert [found.value(f"level {i}/never fired") for i in range(3)] == [0, 1, 0]


def test_a_step_is_the_difference_of_two_levels_and_knows_how_far_it_could_be_chance():
    level, found = levels.levels_of(SIZES), Findings("hierarchy", "pocket")
    depths = [read(np.array([2.0, 4.0, 4.02])[level], np.ones(24), s).depths["mean"] for s in hierarchy.SEEDS]
    depths[0][5] = np.nan
    hierarchy._steps(found, depths, level)
    assert list(found.results) == ["step/level 0 to 1", "step/level 1 to 2"]
    for i, row in enumerate(found.results.values()):
        means = [np.nanmean(values[level == i + 1]) - np.nanmean(values[level == i]) for values in depths]
        assert row["value"] == pytest.approx(np.mean(means))
    first, second = found.results.values()
    assert first["n"] == 10 * 12 - 1 and first["ci_low"] > 1.5
    assert second["ci_low"] < 0 < second["ci_high"]


def slow_rise(ours, plain, level, kept, others):
    """Slope over the level of a latent's depth less that of the kept plain latent whose log rate is nearest."""
    there = [i for i in range(len(level)) if kept[i] and not np.isnan(ours.depths["mean"][i])]
    theirs = [i for i in range(len(level)) if others[i] and not np.isnan(plain.depths["mean"][i])]
    beyond = []
    for i in there:
        distance = [abs(np.log(ours.rates[i]) - np.log(plain.rates[j])) for j in theirs]
        beyond.append(ours.depths["mean"][i] - plain.depths["mean"][theirs[int(np.argmin(distance))]])
    return np.polyfit(level[there], beyond, 1)[0]


def test_the_planned_effect_is_that_of_plain_loops_in_both_populations():
    level, found, rng = levels.levels_of(SIZES), Findings("hierarchy", "pocket"), np.random.default_rng(0)
    train, test = {}, {}
    for kind in (MATRYOSHKA, PLAIN):
        for s in hierarchy.SEEDS:
            train[kind, s] = read(rng.uniform(1, 7, 24) + level, rng.uniform(0.01, 0.5, 24), s)
            test[kind, s] = read(np.full(24, 3.0), rng.uniform(0, 0.1, 24), s)
            train[kind, s].depths["mean"][rng.integers(24, size=3)] = np.nan
    hierarchy._effects(found, train, test, SIZES)
    assert len(found.effects) == 6
    for whom, least in (("", 0), (ENOUGH, 10)):
        effect = found.effects["slope beyond latents that fire as often" + whom]
        assert effect.unit == "training" and effect.values.shape == (10, 1) and effect.split == "train"
        for s in hierarchy.SEEDS:
            kept = [test[kind, s].pictures >= least for kind in (MATRYOSHKA, PLAIN)]
            by_hand = slow_rise(train[MATRYOSHKA, s], train[PLAIN, s], level, *kept)
            assert effect.by_unit()[s] == pytest.approx(by_hand)
    n = [found.effects["slope" + whom].n for whom in ("", ENOUGH)]
    assert n[0] == sum(np.count_nonzero(~np.isnan(train[MATRYOSHKA, s].depths["mean"])) for s in range(10)) > n[1]


def test_levels_that_rarity_explains_have_no_effect_and_others_have():
    rates, level = np.linspace(0.5, 0.01, sum(SIZES)), levels.levels_of(SIZES)
    for plain, rise in ((2 + 2 * level, 0), (np.full(24, 4.0), 2)):
        found = Findings("hierarchy", "pocket")
        reads = {(MATRYOSHKA, s): read(2 + 2 * level, rates, s) for s in hierarchy.SEEDS}
        reads |= {(PLAIN, s): read(plain, rates, 10 + s) for s in hierarchy.SEEDS}
        hierarchy._effects(found, reads, reads, SIZES)
        row = found.results["effect/slope beyond latents that fire as often"]
        assert row["ci_low"] - 0.02 < rise < row["ci_high"] + 0.02
        assert found.value("effect/slope") == pytest.approx(2, abs=0.15)


def test_one_training_alone_says_that_its_interval_is_over_latents():
    level, rates = levels.levels_of(SIZES), np.linspace(0.5, 0.01, sum(SIZES))
    found = Findings("hierarchy", "pocket")
    hierarchy._shipped(found, read(2 + 2 * level, rates, 0), read(np.full(24, 4.0), rates, 1), SIZES)
    assert len(found.results) == 3
    for row in found.results.values():
        assert row["interval"].startswith("one training") and row["ci_low"] > 1.5


def test_an_observation_follows_the_numbers_and_has_no_verdict(published):
    found = copy.deepcopy(published)
    found.results["effect/slope"].update(value=-0.123, ci_low=-0.2, ci_high=-0.05)
    for name, row in found.results.items():
        if name.startswith("step/"):
            row.update(value=0.3, ci_low=0.1, ci_high=0.5)
    lines = claims.observe(found)
    assert "−0.12 [−0.20, −0.05]" in lines[0].answer
    steps = sum(name.startswith("step/") for name in found.results)
    assert f"{steps} of {steps} steps of the rounded means go up, {steps} of them" in lines[2].answer
    assert not any("hold" in line.question + line.answer for line in lines)
    assert {name for line in lines for name in line.rests_on} <= set(found.results)


def test_published_depths_are_those_of_their_pictures(published):
    """From picture ids to depth, by the slow definition."""
    sample = published.frame("sample")
    folders = load_pictures(load_profile("pocket").train_pictures).folders
    assert len(sample) >= 8
    for row in sample.itertuples():
        paths = [taxon_path(folders[i]) for i in row.pictures]
        depths = [oracles.lca_depth(a, b) for a, b in itertools.combinations(paths, 2)]
        assert row.mean == pytest.approx(np.mean(depths)) and row.rounded_mean == round(np.mean(depths))
        assert depths.count(row.mode) == max(map(depths.count, set(depths)))


def test_the_published_pictures_excite_their_latents_in_that_order(published):
    """From the pixels to the order of a few latents' pictures, by the tower and the shipped SAE."""
    from vlm_sae_lib import Workbench

    bench = Workbench(load_profile("pocket"))
    sae, pictures = bench.shown("taxonomy_matryoshka"), bench.pictures("train")
    assert published.inputs["sae/taxonomy_matryoshka"] == sae.hash
    for row in list(published.frame("sample").itertuples())[::4]:
        painted = [pictures.picture(i) for i in row.pictures]
        latents = sae.encode(bench.tower().activations(painted, "projection"))[:, row.latent].numpy()
        assert (latents > 0).all() and np.all(np.diff(latents) <= 1e-4 * latents[0])


def test_notebook_and_page_tell_one_number_of_the_same_autoencoders(published):
    notebook = Results.read(paths.published_results() / "04_taxonomy_alignment.json").results
    for name, theirs in {
        "slope beyond latents that fire as often": "beyond_matched", "slope": "matryoshka",
        "slope beyond sorting by frequency": "steeper_than_frequency",
    }.items():  # fmt: skip
        row, other = published.results[f"shipped/{name}"], notebook[f"depth_slope/{theirs}"]
        assert [row[k] for k in ("value", "ci_low", "ci_high")] == pytest.approx(
            [other[k] for k in ("value", "ci_low", "ci_high")]
        )
    assert notebook["depth_slope/matryoshka"]["verdict"] is None  # words for claims stand on the claims page alone


def test_published_differences_are_differences(published):
    for split in ("train", "test"):
        for by in ("mean", "rounded_mean", "mode"):
            name = f"slope/{split}/{by}"
            plain = published.value(f"{name}/BatchTopK, sorted by frequency")
            assert published.value(f"{name}/beyond frequency") == pytest.approx(published.value(name) - plain)
