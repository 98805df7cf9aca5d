"""Layers, widths and kinds: scores and controls on a toy workbench, what is said of them, and a slow second look."""

from copy import deepcopy

import numpy as np
import oracles
import pytest
from toy_bench import ToyBench

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims import layers as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import layers, measure, running
from vlm_sae_lib.experiments.findings import Findings
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
    for seed in layers.SEEDS:
        sae = bench.saes([bench.config("batch_top_k", 2, seed=seed)], "projection")[0]
        code = sae.encode_sparse(bench.activations("test", "projection"))
        means.append(np.nanmean(monosemanticity_score(code, bench.embeddings().array())))
    row = found.results[f"projection/{FIRST}/mean/BatchTopK ×2"]
    assert row["value"] == pytest.approx(np.mean(means)) and row["seeds"] == [0, 1, 2] and row["split"] == "test"
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


def test_wide_ones_have_one_seed_and_say_so(toy):
    _, found = toy
    wide, narrow = (found.results[f"projection/{FIRST}/mean/Matryoshka ×{width}"] for width in (16, 8))
    assert wide["seeds"] == [0] and "seeds first" not in wide["interval"]
    assert narrow["seeds"] == [0, 1, 2] and "seeds first" in narrow["interval"]


def test_bins_and_least_activity_hold_every_neuron_once(toy):
    _, found = toy
    binned, least = found.frame("by firing"), found.frame("least activity")
    for what in binned["what"].unique():
        every = least.loc[(least["what"] == what) & (least["pictures"] == 2), "neurons"].item()
        assert binned.loc[binned["what"] == what, "neurons"].sum() == pytest.approx(every, abs=1e-3)
    run = Scored(np.array([0.1, 0.2, np.nan]), np.zeros((2, 3)), np.array([2, 9, 1]))
    assert layers._inside(run, 2, 5).ms.tolist() == [0.1] and layers._inside(run, 20, 40).ms.tolist() == []


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


def test_verdicts_follow_the_numbers(toy):
    _, found = toy
    changed = deepcopy(found)
    for name in changed.results:
        if name.endswith(f"{layers.MAIN} minus raw{layers.ENOUGH}"):
            changed.results[name] |= {"value": -0.2, "ci_low": -0.3, "ci_high": -0.1}
    share = f"projection/{FIRST}/share above the {{}}/Matryoshka ×1"
    for bar in ("raw mean", "best raw neuron"):
        changed.results[share.format(bar)] |= {"value": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    before, after = claims.conclude(found), claims.conclude(changed)
    assert before[0].verdict is not Verdict.FAILS and after[0].verdict is Verdict.FAILS
    assert "clearly below in 4" in after[0].because
    assert [line.verdict for line in after if "90 %" in line.claim] == [Verdict.FAILS]
    assert all(name in found.results for line in before for name in line.rests_on)


def test_results_in_the_files_order_say_the_same(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    _, found = toy
    assert claims.conclude(Findings.read(found.write())) == claims.conclude(found)


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
