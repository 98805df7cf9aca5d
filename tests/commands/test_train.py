"""The command: the SAE it writes is the library's; what the user can mend is one line."""

import sys

import numpy as np
import pytest
from absent_device import ABSENT
from stores import make_store

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import run as training
from vlm_sae_lib.sae.training import train_sae

FEW = ("--steps", "30", "--k", "3", "--batch-size", "32", "--expansion", "2")


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch):
    """nbval imports ipykernel into every test run, which looks like a live notebook to `progress`."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    values = np.random.default_rng(0).standard_normal((120, 10))
    return make_store(tmp_path_factory.mktemp("train") / "store", values, np.arange(120))


def test_it_writes_what_the_library_trains(store, tmp_path, capsys):
    out = tmp_path / "sae"
    assert main(["train", "--activations", str(store.path), "--out", str(out), *FEW, "--set", "lr_decay=0.5"]) == 0
    config = SaeConfig(steps=30, k=3, batch_size=32, expansion=2.0, lr_decay=0.5)
    sae, alone = SparseAutoencoder.load(out), train_sae(store, config)
    assert sae.hash == alone.hash and sae.metadata == alone.metadata
    facts = sae.metadata["provenance"]
    assert facts["store"] == store.id and (facts["tower"], facts["hook_point"], facts["tokens"]) == (
        "toy",
        "block_0",
        "all",
    )
    printed = capsys.readouterr().out
    assert f"L0 {sae.metadata['log']['l0'][-1]:.2f}" in printed and f"R² {sae.metadata['log']['r2'][-1]:.4f}" in printed
    assert printed.splitlines()[-1] == str(out)
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]


def test_a_killed_run_resumes_beside_its_target(store, tmp_path, capsys, monkeypatch):
    words = ["train", "--activations", str(store.path), "--out", str(tmp_path / "sae"), *FEW]
    write = training._write

    def write_and_stop(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_write", write_and_stop)
        assert main(words) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["sae.checkpoint"]
    assert main(words) == 0
    assert "resuming from" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["sae"]
    straight = train_sae(store, SaeConfig(steps=30, k=3, batch_size=32, expansion=2.0))
    assert SparseAutoencoder.load(tmp_path / "sae").metadata == straight.metadata


def test_a_baseline_is_trained_by_name(store, tmp_path):
    out = tmp_path / "sae"
    assert main(["train", "--activations", str(store.path), "--out", str(out), *FEW, "--frozen", "decoder"]) == 0
    sae = SparseAutoencoder.load(out)
    alone = train_sae(store, SaeConfig(steps=30, k=3, batch_size=32, expansion=2.0, frozen="decoder"))
    assert sae.hash == alone.hash and sae.metadata == alone.metadata
    assert sae.hash != train_sae(store, SaeConfig(steps=30, k=3, batch_size=32, expansion=2.0)).hash


@pytest.mark.parametrize("word", ["False", "false"])
def test_false_is_false(store, tmp_path, word):
    out = tmp_path / "sae"
    words = ["--set", f"normalise={word}", "--set", "warmup=null", "--set", "group_fractions=(0.5, 0.5)"]
    assert main(["train", "--activations", str(store.path), "--out", str(out), *FEW, *words]) == 0
    metadata = SparseAutoencoder.load(out).metadata
    assert metadata["config"]["normalise"] is False and metadata["norm_factor"] == 1.0
    assert metadata["config"]["group_fractions"] == [0.5, 0.5] and metadata["config"]["warmup"] is None


def test_few_rows_are_told_and_trained_on(store, tmp_path, capsys):
    words = ["train", "--activations", str(store.path), "--out", str(tmp_path / "sae"), *FEW]
    assert main([*words, "--batch-size", "200"]) == 0
    told, batch = capsys.readouterr().err.splitlines()
    assert told.startswith("few rows (120) for so many latents (20)") and "20 rows a latent" in told
    assert batch == "fewer rows (120) than the batch size (200): a step takes them all"
    assert main([*words, "--expansion", "0.6"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kind", "gated"), "matryoshka_batch_top_k"),
        (("--frozen", "half"), "frozen='half' must be 'nothing', 'decoder', 'soft_decoder' or 'encoder'"),
        (("--k", "30"), "k=30 exceeds the 20 latents"),
        (("--steps", "0"), "steps=0"),
        (("--set", "expension=3"), "no setting 'expension'"),
        (("--set", "lr_decay"), "NAME=VALUE"),
        (("--set", "normalise=no"), "normalise='no' must be True or False"),
        (("--set", "lr_decay=half"), "lr_decay='half'"),
        (("--set", "group_fractions=0.5"), "group_fractions=0.5"),
        (("--set", "group_fractions=[NaN,1]"), "group_fractions=[nan, 1]"),
        (("--set", "warmup=31"), "warmup=31 is longer than the run of 30 steps"),
        (("--seed", "99999999999999999999"), "seed=99999999999999999999"),
        (("--expansion", "1e300"), "too many latents"),
        (("--device", ABSENT), f"no device '{ABSENT}'"),
        (("--device", "gpu"), "no device 'gpu'"),
        (("--activations", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--out", "/dev/null/sae"), "/dev/null"),
        (("--out", "{store}"), "is no SAE folder"),
    ],
)
def test_a_mistake_is_one_line(store, tmp_path, capsys, words, message):
    given = [word.format(store=store.path) for word in words]
    assert main(["train", "--activations", str(store.path), "--out", str(tmp_path / "sae"), *FEW, *given]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: ") and message in error
    assert list(tmp_path.iterdir()) == []
