"""Scoring from stores: the average over tokens, the alignment of pictures, and the command around it."""

import json
import sys

import numpy as np
import oracles
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from stores import make_store

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.controls.rectify import RectifiedNeurons
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing.sae_report import score_sae
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.statistics import gather
from vlm_sae_lib.statistics.gather import gather_statistics


def make_sae(dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(12, dim, generator=generator), dim=1)
    bias = torch.zeros(12)
    bias[11] = -100  # a latent that never fires
    return SparseAutoencoder(
        kind="matryoshka_batch_top_k",
        w_enc=decoder.T,
        b_enc=bias,
        w_dec=decoder,
        b_dec=torch.zeros(dim),
        k=3,
        threshold=torch.tensor(0.8),
        group_sizes=(4, 8),
    )


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch):
    """nbval imports ipykernel into every test run, which looks like a live notebook to `progress`."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


@pytest.fixture
def world(tmp_path):
    """25 pictures of three tokens each (ids 0, 2, 4 …), their embeddings, and an SAE, all on disk."""
    rng = np.random.default_rng(0)
    ids = np.arange(25) * 2
    activations = make_store(tmp_path / "activations", rng.normal(size=(75, 5)), np.repeat(ids, 3))
    embeddings = make_store(tmp_path / "embeddings", rng.normal(size=(25, 4)), ids)
    sae = make_sae()
    sae.save(tmp_path / "sae")
    return tmp_path, activations, embeddings, sae


def arguments(folder, **replaced):
    parts = {"sae": "sae", "activations": "activations", "embeddings": "embeddings", "out": "scores"} | replaced
    return ["score", *(text for name, value in parts.items() for text in (f"--{name}", str(folder / value)))]


def test_latents_are_averaged_over_tokens_after_encoding(world, monkeypatch):
    _, activations, embeddings, sae = world
    monkeypatch.setattr(gather, "ROWS_PER_BATCH", 12)
    latents = sae.encode(activations.array()).numpy().reshape(25, 3, 12).astype(np.float64).mean(axis=1)
    gathered = gather_statistics(activations, embeddings, sae, top_k=4, keep=True)
    assert sp.issparse(gathered.activations)
    np.testing.assert_allclose(gathered.activations.toarray(), latents, atol=1e-6)
    unit = embeddings.array().numpy()
    np.testing.assert_allclose(gathered.statistics.monosemanticity(), monosemanticity_score(latents, unit), atol=1e-6)
    top = [oracles.top_images(column, gathered.image_ids, 4)[0] for column in gathered.activations.toarray().T]
    np.testing.assert_array_equal(gathered.statistics.top_images(), top)


def test_raw_and_rectified_neurons_take_the_same_way(world):
    _, activations, embeddings, _ = world
    raw = activations.array().numpy().reshape(25, 3, 5).astype(np.float64)
    unit = embeddings.array().numpy()
    scores = gather_statistics(activations, embeddings).statistics.monosemanticity()
    np.testing.assert_allclose(scores, monosemanticity_score(raw.mean(axis=1), unit), atol=1e-12)
    neurons = RectifiedNeurons.fit(activations, l0=2)
    encoded = neurons.encode(raw.reshape(75, 5)).reshape(25, 3, 10).mean(axis=1)
    scores = gather_statistics(activations, embeddings, neurons).statistics.monosemanticity()
    np.testing.assert_allclose(scores, monosemanticity_score(encoded, unit), atol=1e-12)


def test_only_common_pictures_count(tmp_path):
    rng = np.random.default_rng(0)
    values, unit = rng.normal(size=(10, 3)), rng.normal(size=(12, 2))
    activations = make_store(tmp_path / "a", values, [0, 1, 2, 3, 4, 6, 7, 8, 9, 20])
    embeddings = make_store(tmp_path / "e", unit, np.arange(12))
    gathered = gather_statistics(activations, embeddings, keep=True)
    assert gathered.image_ids.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert (gathered.only_activations.tolist(), gathered.only_embeddings.tolist()) == ([20], [5, 10, 11])
    np.testing.assert_allclose(gathered.embeddings, unit[gathered.image_ids].astype(np.float32))
    stranger = make_store(tmp_path / "s", unit, np.arange(100, 112))
    with pytest.raises(UserError, match="no image in common"):
        gather_statistics(activations, stranger)


def test_the_command_writes_both_files(world, capsys):
    folder, activations, embeddings, sae = world
    assert main(arguments(folder)) == 0
    shown = capsys.readouterr()
    assert "mean MS" in shown.out and "over pictures" in shown.out and shown.err == ""
    table = pd.read_csv(folder / "scores" / "neurons.csv")
    summary = json.loads((folder / "scores" / "scores.json").read_text())
    gathered = gather_statistics(activations, embeddings, sae)
    scores = gathered.statistics.monosemanticity()
    np.testing.assert_allclose(table["ms"], scores, rtol=1e-12)
    assert table["group"].tolist() == [0] * 4 + [1] * 8
    firing = gathered.statistics.firing_count()
    assert table["images_fired"].tolist() == firing.tolist()
    for row, images in zip(table["top_images"].fillna(""), gathered.statistics.top_images(), strict=True):
        assert [int(word) for word in str(row).split()] == [i for i in images if i >= 0]
    latents = sae.encode(activations.array())
    assert summary["ms"]["mean"] == pytest.approx(np.nanmean(scores)) and summary["ms"]["best"] == np.nanmax(scores)
    low, high = summary["ms"]["interval_over_pictures"]
    assert low < summary["ms"]["mean"] < high
    assert summary["undefined_ms"] == int(np.isnan(scores).sum()) == 12 - summary["ms"]["defined"] >= 1
    assert summary["never_fired"] == int((latents == 0).all(dim=0).sum()) >= 1
    assert summary["fewer_than_16_images"] == int((firing < 16).sum())
    assert summary["l0"] == pytest.approx((latents != 0).sum(dim=1).float().mean().item())
    x = activations.array().double().numpy()
    x_hat = sae.decode(latents).double().numpy()
    assert summary["r2"] == pytest.approx(oracles.r2(x, x_hat)) and summary["rows"] == 75 and summary["images"] == 25
    assert summary["sae"]["hash"] == sae.hash and summary["activations"]["id"] == activations.id


def test_two_runs_write_the_same_bytes_and_leave_other_files_alone(world, capsys):
    folder, *_ = world
    (folder / "scores").mkdir()
    (folder / "scores" / "notes.txt").write_text("mine")
    contents = []
    for _ in range(2):
        assert main(arguments(folder)) == 0
        contents.append({file.name: file.read_bytes() for file in (folder / "scores").iterdir()})
    assert contents[0] == contents[1] and sorted(contents[0]) == ["neurons.csv", "notes.txt", "scores.json"]
    assert str(folder).encode() not in contents[0]["scores.json"]


def test_pictures_left_out_are_named_in_one_line(world, capsys):
    folder, *_ = world
    ids = np.array([1, *range(2, 50, 2)])
    make_store(folder / "fewer", np.random.default_rng(1).normal(size=(25, 4)), ids)
    assert main(arguments(folder, embeddings="fewer")) == 0
    error = capsys.readouterr().err
    assert error == "pictures left out: 1 without an embedding (ids 0); 1 without an activation (ids 1)\n"
    summary = json.loads((folder / "scores" / "scores.json").read_text())
    assert (summary["images"], summary["images_without_embedding"], summary["images_without_activation"]) == (24, 1, 1)


def test_without_resamples_the_interval_is_over_neurons(world, capsys):
    folder, *_ = world
    assert main([*arguments(folder), "--resamples", "0"]) == 0
    assert "over neurons" in capsys.readouterr().out
    assert json.loads((folder / "scores" / "scores.json").read_text())["ms"]["interval_over_pictures"] is None


def test_one_picture_has_no_score_and_that_is_no_failure(world, capsys):
    folder, *_ = world
    make_store(folder / "one", np.ones((1, 4)), [4], cuts=())
    assert main(arguments(folder, embeddings="one")) == 0
    assert "undefined" in capsys.readouterr().out
    assert json.loads((folder / "scores" / "scores.json").read_text())["ms"]["mean"] is None


def test_what_the_user_can_mend_is_one_line_and_exit_code_2(world, capsys):
    folder, *_ = world
    make_sae(dim=6).save(folder / "wide_sae")
    make_store(folder / "others", np.ones((25, 4)), np.arange(25) * 2, fingerprint="other")
    (folder / "file").write_text("")
    (folder / "scores").mkdir()
    wrong = [
        (arguments(folder, sae="wide_sae"), "width 6, but the store holds width 5"),
        (arguments(folder, embeddings="others"), "other pictures"),
        (arguments(folder, embeddings="nowhere"), "nowhere"),
        (arguments(folder, sae="nowhere"), "nowhere"),
        (arguments(folder, out="file"), "is a file"),
        (arguments(folder, out="file/inside"), "cannot be written"),
        ([*arguments(folder), "--resamples", "-1"], "--resamples: '-1' must be a whole number of at least 0"),
        ([*arguments(folder), "--resamples", "3.5"], "--resamples: '3.5' must be a whole number"),
        ([*arguments(folder), "--seed", "-1"], "--seed: '-1' must be a whole number of at least 0"),
        ([*arguments(folder), "--device", "gpu"], "no device 'gpu'"),
        ([*arguments(folder), "--device", "cuda:99"], "no device 'cuda:99'"),
    ]
    for command, words in wrong:
        assert exit_code(command) == 2, command
        shown = capsys.readouterr()
        assert words in shown.err and shown.err.count("\n") == 1 and "Traceback" not in shown.err and shown.out == ""
    assert list((folder / "scores").iterdir()) == []


def exit_code(command: list[str]) -> int:
    """Of the program: the parser of the options leaves by itself."""
    try:
        return main(command)
    except SystemExit as stop:
        return stop.code


def test_a_report_can_be_had_without_the_command(world):
    _, activations, embeddings, sae = world
    report = score_sae(sae, activations, embeddings, resamples=0)
    assert report.gathered.activations is None and len(report.neurons) == 12
    assert report.summary == score_sae(sae, activations, embeddings, resamples=0).summary
