"""Layers, widths and kinds: scores and controls on a toy workbench, what is said of them, and a slow second look."""

from copy import deepcopy

import numpy as np
import oracles
import pytest
from toy_bench import ToyBench

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import layers as claims
from vlm_sae_lib.controls.codes import random_directions
from vlm_sae_lib.experiments import layer_activity, layers, measure, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import paper_layer, published
from vlm_sae_lib.scores.comparison import Scored
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.show.experiments.layers import FIGURES

FIRST = "self-supervised"


@pytest.fixture(scope="module")
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "RESAMPLES", 8)
        patch.setattr(layers, "WIDE", (16,))
        bench, found = ToyBench(), Findings("layers", "pocket")
        layers.run(bench, found)
    return bench, found


def test_a_mean_is_that_of_the_defined_neurons_over_the_seeds(toy):
    bench, found = toy
    means = []
    for seed in range(10):
        sae = bench.saes([bench.config("batch_top_k", 2, seed=seed)], "projection")[0]
        code = sae.encode_sparse(bench.activations("test", "projection"))
        means.append(np.nanmean(monosemanticity_score(code, bench.embeddings().array())))
    row = found.results[f"projection/{FIRST}/mean/BatchTopK ×2"]
    assert row["value"] == pytest.approx(np.mean(means)) and row["seeds"] == list(range(10)) and row["split"] == "test"
    assert row["paper_value"] == published(
        "monosemanticity", model="CLIP ViT-L", layer="last", sae="batch_top_k", expansion=2,
        scoring_encoder="DINOv2 ViT-B", statistic="mean",
    )  # fmt: skip


def test_every_control_that_is_named_is_there_and_as_rare(toy):
    bench, found = toy
    for row in found.results.values():
        assert set(row["controls"].values()) <= set(found.results)
    saes = {(kind, 4): bench.saes([bench.config(key, 4)], "projection") for kind, key in layers.KINDS.items()}
    kinds = layers.codes(bench, "projection", saes)
    ours, chance, shuffled = (
        kinds[what][0].getnnz(axis=0) for what in (layers.MAIN, f"random for {layers.MAIN}", f"shuffled {layers.MAIN}")
    )
    assert (chance <= ours).all() and chance.sum() > 0.95 * ours.sum()
    np.testing.assert_array_equal(shuffled, ours)
    assert kinds["rectified, cut"][0].nnz < np.count_nonzero(kinds["rectified"][0])


def test_the_gain_is_the_difference_of_the_papers_means_in_every_training_and_case(toy):
    """Without a least number of pictures, and the control's seed is that of the training it is taken from."""
    bench, found = toy
    effect = found.effects["gain over random directions"]
    assert effect.values.shape == (10, 4) and effect.unit == "training"
    for seed in (0, 7):
        sae = bench.saes([bench.config("matryoshka_batch_top_k", 4, seed=seed)], "block_4")[0]
        test = bench.activations("test", "block_4")
        code = sae.encode_sparse(test)
        scores = [monosemanticity_score(each, bench.embeddings(name="second CLIP").array())
                  for each in (code, random_directions(test.array().numpy(), code, seed))]  # fmt: skip
        gain = np.nanmean(scores[0]) - np.nanmean(scores[1])
        assert effect.values[seed, effect.cases.index("block_4/second CLIP")] == pytest.approx(gain)


def test_the_difference_of_kinds_without_that_of_random_directions_that_fire_as_often(toy):
    bench, found = toy
    effect, seed = found.effects["Matryoshka minus BatchTopK beyond random directions"], 7
    test, net = bench.activations("test", "block_4"), []
    for kind in ("matryoshka_batch_top_k", "batch_top_k"):
        code = bench.saes([bench.config(kind, 4, seed=seed)], "block_4")[0].encode_sparse(test)
        ours, theirs = (np.nanmean(monosemanticity_score(each, bench.embeddings(name="second CLIP").array()))
                        for each in (code, random_directions(test.array().numpy(), code, seed)))  # fmt: skip
        net.append(ours - theirs)
    assert effect.values[seed, effect.cases.index("block_4/second CLIP")] == pytest.approx(net[0] - net[1])


def test_every_number_of_seeds_is_told_with_the_interval_that_fits_it(toy):
    _, found = toy
    rows = {
        (point, width): found.results[f"{point}/{FIRST}/mean/Matryoshka ×{width}"]
        for point in ("projection", "block_4") for width in (1, 2, 4, 8, 16)
    }  # fmt: skip
    seeds = {place: len(row["seeds"]) for place, row in rows.items()}
    assert [seeds["projection", width] for width in (1, 2, 4, 8, 16)] == [10] * 5
    assert [seeds["block_4", width] for width in (1, 2, 4, 8, 16)] == [10, 3, 10, 3, 1]
    assert rows["projection", 16]["interval"] == rows["block_4", 2]["interval"] == measure.OVER_TRAININGS
    assert rows["block_4", 16]["interval"] == measure.OVER_PICTURES
    assert not any("smallest" in (row["interval"] or "") for row in found.results.values())
    assert "bootstrap" in found.results["block_4/R²/Matryoshka ×16"]["interval"]


def test_what_is_recorded_is_recorded_of_both_populations(toy):
    _, found = toy
    for name in [name for name in found.results if name.endswith(ENOUGH)]:
        assert name.removesuffix(ENOUGH) in found.results


def test_a_best_neuron_of_none_is_undefined():
    silent = Scored(np.full(3, np.nan), np.full((1, 3), np.nan), np.zeros(3, dtype=int))
    assert np.isnan(layers._spread([silent])["best"]) and np.isnan(layers._spread([silent])["worst"])


def test_bins_and_least_activity_hold_every_neuron_once(toy):
    _, found = toy
    binned, least = found.frame("by firing"), found.frame("least activity")
    for what in binned["what"].unique():
        every = least.loc[(least["what"] == what) & (least["pictures"] == 2), "neurons"].item()
        assert binned.loc[binned["what"] == what, "neurons"].sum() == pytest.approx(every, abs=1e-3)
    run = Scored(np.array([0.1, 0.2, np.nan]), np.zeros((2, 3)), np.array([2, 9, 1]))
    inside = layer_activity._inside
    assert inside(run, 2, 5).ms.tolist() == [0.1] and inside(run, 20, 40).ms.tolist() == []


def test_without_any_defined_neuron_there_is_no_mean_and_no_error():
    silent = Scored(np.full(3, np.nan), np.full((4, 3), np.nan), np.zeros(3, dtype=int))
    assert layers._spread([silent])["defined"] == 0 and np.isnan(layers._spread([silent])["std"])
    found = Findings("layers", "pocket")
    layers._record_scores(found, f"projection/{FIRST}", {"silent": [silent]}, {"layer": "last"})
    assert found.value(f"projection/{FIRST}/mean/silent") is None


def test_a_layer_stands_beside_the_papers_of_the_same_place():
    assert [paper_layer(point, 6) for point in ("block_2", "block_4", "block_5", "projection")] == [
        "11", "22", "23", "last",
    ]  # fmt: skip


def test_answers_follow_the_numbers_and_carry_no_verdict(toy):
    _, found = toy
    changed = deepcopy(found)
    gains = [name for name in changed.results if name.endswith(f"/{layers.MAIN} minus random for {layers.MAIN}")]
    for name in gains:
        changed.results[name] |= {"value": -0.2, "ci_low": -0.3, "ci_high": -0.1}
    before, after = claims.observe(found), claims.observe(changed)
    assert [line.question for line in before] == [line.question for line in after]
    assert "Over all neurons with a score: 0 of 4 lie above zero with their whole interval, 4 below" in after[1].answer
    assert before[1].answer != after[1].answer and before[0].answer == after[0].answer
    assert not any(hasattr(line, "verdict") or " holds" in line.answer for line in before)
    assert all(name in found.results for line in before for name in line.rests_on)


def test_an_undefined_difference_is_neither_the_least_nor_the_largest(toy):
    changed = deepcopy(toy[1])
    name = f"block_4/{FIRST}/{layers.MAIN} minus random for {layers.MAIN}"
    changed.results[name] |= {"value": None, "ci_low": None, "ci_high": None}
    assert "– (" not in claims.observe(changed)[1].answer


def test_results_in_the_files_order_say_the_same(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    _, found = toy
    assert claims.observe(Findings.read(found.write())) == claims.observe(found)


def test_figures_can_be_drawn(toy):
    _, found = toy
    for draw in FIGURES.values():
        assert draw(found).get_axes()


def test_the_published_sample_by_the_slow_definition():
    found = Findings.read(running.published("layers"))
    bench = Workbench(load_profile("pocket", test_pictures=f"pocket:{layers.SAMPLE}:13"))
    sae = bench.shown("main_matryoshka")
    assert found.inputs["sae/main_matryoshka"] == sae.hash
    raw = bench.activations("test", bench.profile.main_hook_point).array().numpy()
    values = {"raw neuron": raw, "shipped latent": sae.encode_sparse(raw).toarray()}
    unit = bench.embeddings().array().numpy()
    for row in found.frame("sample").itertuples():
        assert oracles.monosemanticity(values[row.what][:, row.index], unit) == pytest.approx(row.ms, abs=2e-3)


def test_what_an_autoencoder_with_a_frozen_part_scores_is_taken_off_seed_by_seed(toy):
    """Section 4 of issue 14: in every table that compares an SAE with raw neurons."""
    bench, found = toy
    for who, part in layers.FROZEN.items():
        name = f"block_4/{FIRST}/{layers.MAIN} minus {who} ×4"
        gaps = []
        for seed in measure.SEEDS:
            frozen = ("nothing", part)
            configs = [bench.config("matryoshka_batch_top_k", 4, seed=seed, frozen=each) for each in frozen]
            codes = (sae.encode_sparse(bench.activations("test", "block_4")) for sae in bench.saes(configs, "block_4"))
            ours, theirs = (np.nanmean(monosemanticity_score(code, bench.embeddings().array())) for code in codes)
            gaps.append(ours - theirs)
        row = found.results[name]
        assert row["value"] == pytest.approx(np.mean(gaps)) and row["seeds"] == [*range(10)]
        assert found.results[f"block_4/{FIRST}/mean/{layers.MAIN}"]["controls"][who].endswith(f"/{who} ×4")
