"""The hierarchy experiment: levels that follow rarity or more, verdicts that follow numbers, depths computed again."""

import copy
import itertools

import numpy as np
import oracles
import pytest

from vlm_sae_lib.claims import hierarchy as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import hierarchy, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.hierarchy import MATRYOSHKA, PLAIN, Read
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.profiles import load_profile
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
    return Read(dict.fromkeys(("mean", "rounded_mean", "mode"), noisy), np.asarray(rates, float), top)


def slopes(plain_depths):
    """The experiment's slopes of three alike seeds, whose Matryoshka levels lie at 2, 4 and 6."""
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
    assert first["n"] == 3 * 12 - 1 and first["ci_low"] > 1.5
    assert second["ci_low"] < 0 < second["ci_high"]


def test_the_verdict_follows_the_numbers(published):
    found = copy.deepcopy(published)

    def verdict(start):
        return next(line.verdict for line in claims.conclude(found) if line.claim.startswith(start))

    beyond = found.results["slope/train/mean/beyond frequency"]
    for low, high, expected in ((0.2, 0.4, Verdict.HOLDS), (-0.2, 0.4, Verdict.FAILS)):
        beyond.update(value=0.1, ci_low=low, ci_high=high)
        assert verdict("Depth rises more than in a plain BatchTopK") is expected
    steps = [row for name, row in found.results.items() if name.startswith("step/")]
    for row in steps:
        row.update(value=0.3, ci_low=0.1, ci_high=0.5)
    assert verdict("Depth rises from every level") is Verdict.HOLDS
    steps[2].update(ci_low=-0.1)  # up, and perhaps by chance
    assert verdict("Depth rises from every level") is Verdict.IN_PART
    steps[1].update(value=-0.1, ci_low=-0.3, ci_high=0.1)
    assert verdict("Depth rises from every level") is Verdict.FAILS
    for name in list(found.results):
        if name.startswith("MS slope/self-supervised"):
            found.results[name].update(ci_low=-0.1, ci_high=0.1)
    assert verdict("Later levels are more monosemantic") is Verdict.IN_PART


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


def test_published_differences_are_differences(published):
    for split in ("train", "test"):
        for by in ("mean", "rounded_mean", "mode"):
            name = f"slope/{split}/{by}"
            plain = published.value(f"{name}/BatchTopK, sorted by frequency")
            assert published.value(f"{name}/beyond frequency") == pytest.approx(published.value(name) - plain)
