"""The recipes of ``book/recipes.md``, run as they stand there: the SAE that each leaves is the same one when it is
opened here."""

import re

import numpy as np
import pytest
import recipes
import saev.nn
import torch
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from sae_lens import SAE
from stores import make_store

from vlm_sae_lib.activations.exporting import export_activations
from vlm_sae_lib.sae import SparseAutoencoder

ROWS, DIM = 2000, 16
FULL, FEW = "steps, batch = 600, 1024\n", "steps, batch = 240, 256\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the activations where the recipes look for them: sparse mixtures far from the origin."""
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((40, DIM))
    present = generator.random((ROWS, 40)) < 0.08
    rows = 3 * (present * generator.random((ROWS, 40))) @ directions + 4 * generator.standard_normal(DIM)
    place = tmp_path_factory.mktemp("recipes")
    store = make_store(place / "store", rows, np.arange(ROWS), cuts=(900,))
    # the recipe names the layer of the pocket tower's last block
    store.metadata["hook_point"] = "block_5"
    for form, name in (("npy", "activations"), ("saev", "shards")):
        export_activations(store, place / "runs" / "recipes" / name, form)
    return place


def run(place, monkeypatch, heading: str) -> dict:
    """Run the one script of a section, fewer steps its only change; what it has defined."""
    (script,) = recipes.blocks("python")[heading]
    assert script.count(FULL) == 1
    monkeypatch.chdir(place)
    names: dict = {}
    exec(compile(script.replace(FULL, FEW), f"{recipes.PAGE.name}, {heading}", "exec"), names)
    return names


def sae_lens(path, names):
    theirs = SAE.load_from_disk(path)
    return lambda x: (theirs.encode(x), theirs(x))


def dictionary_learning(path, names):
    theirs = MatryoshkaBatchTopKSAE.from_pretrained(path / "ae.pt")
    return lambda x: theirs(x, output_features=True)[::-1]


def overcomplete(path, names):
    return lambda x: names["sae"](x)[1:]


def saev_(path, names):
    theirs = saev.nn.load(str(path / "sae.pt"))
    return lambda x: theirs(x)[1::-1]


CASES = {
    "SAELens": (sae_lens, "sae_lens", "jump_relu"),
    "dictionary_learning": (dictionary_learning, "dictionary_learning/trainer_0", "matryoshka_batch_top_k"),
    "overcomplete": (overcomplete, "overcomplete.pt", "top_k"),
    "saev": (saev_, "saev", "relu"),
}


@pytest.mark.parametrize("heading", CASES)
def test_what_a_recipe_leaves_is_the_same_sae_here(place, monkeypatch, heading):
    opened, path, kind = CASES[heading]
    names = run(place, monkeypatch, heading)
    path = place / "runs" / "recipes" / path
    x = torch.from_numpy(np.load(place / "runs" / "recipes" / "activations" / "activations.npy"))
    with torch.no_grad():
        latents, reconstructed = opened(path, names)(x)
    ours = SparseAutoencoder.load(path)
    assert (ours.kind, ours.dim, ours.n_latents) == (kind, DIM, 4 * DIM)
    assert 0 < (latents != 0).float().mean() < 0.9
    torch.testing.assert_close(ours.encode(x), latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.decode(ours.encode(x)), reconstructed, rtol=1e-5, atol=1e-5)


def test_saevs_latents_of_raw_activations_are_those_it_trained(place, monkeypatch, caplog):
    """saev tells its loss on the activations as it scaled them: the lines that fold the scaling in must keep it."""
    with caplog.at_level("INFO", logger="train"):
        names = run(place, monkeypatch, "saev")
    told = [re.search(r"mse loss: ([\d.]+).* l0: ([\d.]+)", message) for message in caplog.messages]
    mse, l0 = (float(value) for value in [match for match in told if match][-1].groups())
    x = torch.from_numpy(np.load(place / "runs" / "recipes" / "activations" / "activations.npy"))
    ours = SparseAutoencoder.load(place / "runs" / "recipes" / "saev")
    latents = ours.encode(x)
    assert float((latents > 0).sum(1).float().mean()) == pytest.approx(l0, rel=0.05)
    off = float((ours.decode(latents) - x).square().mean() / names["inputs"].scalar ** 2)
    assert off == pytest.approx(mse, rel=0.1)


def test_the_page_has_a_recipe_for_each_and_no_other():
    scripts = recipes.blocks("python")
    assert scripts.keys() == CASES.keys() and all(len(found) == 1 for found in scripts.values())


def test_saev_reads_the_shards_as_we_write_them(place):
    from saev.activations import Dataset
    from saev.config import DataLoad

    folder = str(place / "runs" / "recipes" / "shards")
    dataset = Dataset(DataLoad(shard_root=folder, patches="cls", layer=5, scale_mean=False, scale_norm=False))
    assert len(dataset) == ROWS
    rows = torch.stack([dataset[i]["act"] for i in range(ROWS)])
    array = np.load(place / "runs" / "recipes" / "activations" / "activations.npy")
    assert torch.equal(rows, torch.from_numpy(array))
