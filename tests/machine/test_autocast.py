"""``torch.autocast`` around a call: what promises float32 gives the very bytes that it gives without."""

import pytest
import torch
from random_saes import inputs, make_sae
from tiny_towers import noise, write_transformers
from tiny_vlm import PROMPTS, tiny_pictures, tiny_vlm

from vlm_sae_lib.controls.reconstruction import untrained_sae
from vlm_sae_lib.sae import KINDS, SaeConfig
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.steering.intervention import decoder_vectors, overwrite, push, steered
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.towers import load_tower

DIM, WIDTH = 64, 256
X = inputs(200, DIM)


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def test_it_matters():
    """Red here: the tests below prove nothing."""
    with autocast():
        assert (X @ X.T).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_an_sae_encodes_and_decodes_in_single_precision(kind):
    sae = make_sae(kind, dim=DIM, width=WIDTH)
    z = sae.encode(X)
    expected = z, sae.decode(z), sae.pre_activations(X), sae.encode(X.half()), decoder_vectors(sae, [0, 3])
    with autocast():
        found = sae.encode(X), sae.decode(z), sae.pre_activations(X), sae.encode(X.half()), decoder_vectors(sae, [0, 3])
        rows = sae.encode_sparse(X)
    for mine, its in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32 and torch.equal(mine, its)
    assert (rows != sae.encode_sparse(X)).nnz == 0


def test_gradients_are_those_without():
    sae = make_sae("batch_top_k", dim=DIM, width=WIDTH)
    gradients = []
    for on in (False, True):
        x = X.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            loss = sae.decode(sae.encode(x)).square().sum()
        loss.backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_steered_states_are_those_without():
    sae = make_sae("batch_top_k", dim=DIM, width=WIDTH)
    states = X.view(4, 50, DIM)
    edits = [
        lambda: overwrite(sae, states, {3: 2.0}),
        lambda: overwrite(sae, states, {3: 2.0}, keep_error=True),
        lambda: push(sae, states, X[0], 3, 2.0),
    ]
    for edit in edits:
        expected = edit()
        with autocast():
            found = edit()
        assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_a_model_under_autocast_is_steered_in_its_own_type():
    vlm, image = tiny_vlm(), tiny_pictures(1)[0]
    sae = make_sae("batch_top_k", dim=vlm.dim, width=WIDTH)
    with autocast(), steered(vlm, sae, {3: 6.0}):
        assert vlm.logits(image, PROMPTS[0]).isfinite().all()
        bench = SteeringBench(vlm, sae, [image])
        assert bench.answers([UNSTEERED, Intervention(3, 6.0)], PROMPTS).shape == (2, 1, len(PROMPTS))


@pytest.mark.parametrize("kind", KINDS)
def test_training_ends_in_the_same_sae(kind):
    config = SaeConfig(kind=kind, steps=30, batch_size=64, expansion=2, k=4)
    expected = train_sae(X, config)
    with autocast():
        found = train_sae(X, config)
    assert found.hash == expected.hash and found.metadata["log"] == expected.metadata["log"]


def test_scores_of_an_sae_are_those_without():
    sae = make_sae("batch_top_k", dim=DIM, width=WIDTH)
    expected = reconstruction(sae, X), untrained_sae(X, WIDTH, 5).hash
    with autocast():
        assert (reconstruction(sae, X), untrained_sae(X, WIDTH, 5).hash) == expected


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return load_tower(f"hf:{write_transformers(tmp_path_factory.mktemp('models') / 'clip', 'clip')}", device="cpu")


def test_a_tower_gives_the_same_activations(tower):
    pictures, points = noise(3), [("block_1", "all"), ("block_2", "random:2"), ("projection", "cls")]
    expected = [tower.activations(pictures, *point) for point in points]
    with autocast():
        alone = [tower.activations(pictures, *point) for point in points]
        together = tower.activations_at(pictures, points)
    for found in (alone, together):
        assert all(torch.equal(mine, its) for mine, its in zip(found, expected, strict=True))
