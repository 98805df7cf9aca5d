"""The finished SAE: latents, shapes, refusals, the folder it is kept in."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from random_saes import DIM, WIDTH, inputs, make_sae
from scipy import sparse

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import KINDS, SparseAutoencoder
from vlm_sae_lib.sae.files.probe import KEPT, make_probe


@pytest.mark.parametrize("kind", KINDS)
def test_encode_by_its_definition(kind):
    sae, x = make_sae(kind), inputs(50, DIM)
    found = sae.encode(x).numpy()
    for row in range(50):
        pre = (x[row].numpy() - sae.b_dec.numpy()) @ sae.w_enc.numpy() + sae.b_enc.numpy()
        positive = np.maximum(pre, 0)
        if kind == "top_k":
            expected = np.where(positive >= np.sort(positive)[-3], positive, 0)
        elif kind == "relu":
            expected = positive
        else:
            expected = np.where(positive > sae.threshold.numpy(), positive, 0)
        np.testing.assert_allclose(found[row], expected, atol=1e-5)
        reconstruction = expected @ sae.w_dec.numpy() + sae.b_dec.numpy()
        np.testing.assert_allclose(sae.decode(torch.tensor(expected)), reconstruction, atol=1e-5)
    assert 0 < (found > 0).mean() < (0.7 if kind == "relu" else 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_never_matters(kind):
    sae, x = make_sae(kind), inputs(40, DIM)
    together = sae.encode(x)
    alone = torch.cat([sae.encode(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.encode(torch.cat([100 * x, x]))[40:], together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (2, 1, 3), (0,), (0, 3)])
def test_any_leading_dimensions(kind, leading):
    sae, x = make_sae(kind), inputs(*leading, DIM)
    z = sae.encode(x)
    assert z.shape == (*leading, WIDTH) and z.dtype == torch.float32
    assert sae.decode(z).shape == x.shape
    torch.testing.assert_close(z.reshape(-1, WIDTH), sae.encode(x.reshape(-1, DIM)))


def test_arrays_and_half_precision_are_read():
    sae, x = make_sae("batch_top_k"), inputs(5, DIM)
    assert torch.equal(sae.encode(x.numpy()), sae.encode(x))
    assert torch.equal(sae.encode(x.double().numpy()), sae.encode(x))
    assert sae.encode(x.half()).dtype == torch.float32


def test_gradients_reach_the_input():
    sae, x = make_sae("batch_top_k"), inputs(5, DIM).requires_grad_()
    sae.decode(sae.encode(x)).sum().backward()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_encode_sparse_is_encode(kind):
    sae, x = make_sae(kind), inputs(50, DIM)
    found = sae.encode_sparse(x, batch_size=7)
    assert sparse.issparse(found) and found.format == "csr" and found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), sae.encode(x).numpy(), rtol=1e-5, atol=1e-5)
    assert found.has_sorted_indices and (found.data > 0).all()
    torch.testing.assert_close(sae.decode(found), sae.decode(sae.encode(x)), rtol=1e-5, atol=1e-5)
    assert sae.encode_sparse(x[:1]).shape == (1, WIDTH)


@pytest.mark.parametrize("call", ["encode", "decode", "encode_sparse"])
def test_a_wrong_width_is_one_sentence(call):
    sae = make_sae("relu")
    width = WIDTH if call == "decode" else DIM
    with pytest.raises(UserError, match=f"reads {width}-wide .* 9-wide"):
        getattr(sae, call)(torch.zeros(3, 9))


def test_a_scalar_is_refused():
    with pytest.raises(UserError, match="reads 6-wide"):
        make_sae("relu").encode(torch.tensor(1.0))


def test_the_artefact_is_frozen():
    sae = make_sae("relu")
    with pytest.raises(dataclasses.FrozenInstanceError):
        sae.w_enc = torch.zeros(1)
    given = torch.zeros(DIM)
    kept = make_sae("relu", b_dec=given)
    given += 1
    assert not kept.b_dec.any()


def test_hash_follows_what_is_computed():
    sae = make_sae("batch_top_k")
    assert sae.hash == make_sae("batch_top_k").hash == sae.to("cpu").hash == sae.metadata["weights_hash"]
    others = [
        make_sae("batch_top_k", threshold=torch.tensor(0.3)),
        make_sae("batch_top_k", k=4),
        make_sae("batch_top_k", b_dec=torch.zeros(DIM)),
        make_sae("matryoshka_batch_top_k"),
    ]
    assert len({sae.hash, *(other.hash for other in others)}) == 5
    assert make_sae("batch_top_k", metadata={"note": 1}).hash == sae.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "gated"}, "unknown"),
        ({"threshold": torch.tensor(-1.0)}, "never learned"),
        ({"threshold": None}, "needs 1 threshold"),
        ({"threshold": torch.zeros(3)}, "needs 1 threshold"),
        ({"w_dec": torch.zeros(DIM, WIDTH)}, "do not fit"),
        ({"group_sizes": (1, 2)}, "do not fit"),
        ({"b_dec": torch.full((DIM,), float("nan"))}, "b_dec holds NaN"),
        ({"kind": "top_k", "k": 21, "threshold": None}, "k from 1 to its 20"),
        ({"kind": "top_k", "k": None, "threshold": None}, "k from 1 to its 20"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_sae("batch_top_k", **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(tmp_path, kind):
    sae = make_sae(kind, metadata={"norm_factor": 2.5, "provenance": {"tower": "pocket"}, "log": {"loss": [1.0, None]}})
    path = sae.save(tmp_path / "sae")
    assert sorted(file.name for file in path.iterdir()) == ["cfg.json", "probe.safetensors", "sae_weights.safetensors"]
    back = SparseAutoencoder.load(path)
    assert back.hash == sae.hash and back.metadata == sae.metadata
    assert (back.kind, back.k, back.group_sizes) == (sae.kind, sae.k, sae.group_sizes)
    assert torch.equal(back.encode(inputs(9, DIM)), sae.encode(inputs(9, DIM)))
    again = back.save(tmp_path / "again")
    assert files.folder_hash(path) == files.folder_hash(again)


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [("matryoshka_batch_top_k", "jumprelu"), ("batch_top_k", "jumprelu"), ("jump_relu", "jumprelu"),
     ("top_k", "topk"), ("relu", "standard")],
)  # fmt: skip
def test_folder_is_what_sae_lens_reads(tmp_path, kind, architecture):
    """The names, shapes and rule of SAELens 6, its encoder computed here from the files alone."""
    sae = make_sae(kind)
    path = sae.export(tmp_path / "sae", format="sae_lens")
    assert sorted(file.name for file in path.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    cfg = json.loads((path / "cfg.json").read_text())
    tensors = safetensors.torch.load_file(path / "sae_weights.safetensors")
    assert cfg["architecture"] == architecture and (cfg["d_in"], cfg["d_sae"]) == (DIM, WIDTH)
    assert cfg["apply_b_dec_to_input"] is True and cfg["normalize_activations"] == "none" and cfg["dtype"] == "float32"
    assert tuple(map(int, cfg["metadata"]["sae_lens_version"].split("."))) >= (6, 0, 0)
    assert set(tensors) == {"W_enc", "b_enc", "W_dec", "b_dec"} | (
        {"threshold"} if architecture == "jumprelu" else set()
    )
    assert tensors["W_enc"].shape == (DIM, WIDTH) and tensors["W_dec"].shape == (WIDTH, DIM)
    x = inputs(30, DIM)
    hidden = (x - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]
    latents = torch.relu(hidden)
    if architecture == "jumprelu":
        assert tensors["threshold"].shape == (WIDTH,)
        latents = latents * (hidden > tensors["threshold"])
    if architecture == "topk":
        top = hidden.topk(cfg["k"], dim=-1)
        latents = torch.zeros_like(hidden).scatter(-1, top.indices, torch.relu(top.values))
    torch.testing.assert_close(sae.encode(x), latents, rtol=1e-5, atol=1e-5)


def test_another_export_format_is_refused(tmp_path):
    with pytest.raises(UserError, match="sae_lens"):
        make_sae("relu").export(tmp_path / "x", format="onnx")


@pytest.mark.parametrize("kind", KINDS)
def test_probe_is_alive_and_notices_a_changed_weight(tmp_path, kind):
    sae = make_sae(kind)
    probe = make_probe(sae)
    assert probe["inputs"].shape == (KEPT, DIM) and (probe["latents"] > 0).any(dim=1).all()
    path = sae.save(tmp_path / "sae")
    weights = safetensors.torch.load_file(path / "sae_weights.safetensors")
    weights["W_enc"] *= 1.01
    safetensors.torch.save_file(weights, path / "sae_weights.safetensors")
    with pytest.raises(UserError, match="probe.safetensors"):
        SparseAutoencoder.load(path)


def test_probe_notices_top_k_read_as_relu(tmp_path):
    path = make_sae("top_k").save(tmp_path / "sae")
    cfg = files.read_json(path / "cfg.json")
    cfg["metadata"]["kind"] = "relu"
    files.write_json(path / "cfg.json", cfg)
    with pytest.raises(UserError, match="probe.safetensors"):
        SparseAutoencoder.load(path)


def test_save_replaces_an_sae_and_nothing_else(tmp_path):
    make_sae("relu").save(tmp_path / "sae")
    make_sae("top_k").save(tmp_path / "sae")
    assert SparseAutoencoder.load(tmp_path / "sae").kind == "top_k"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("")
    for place in (tmp_path / "photos", tmp_path / "photos" / "one.jpg"):
        with pytest.raises(UserError, match="is no SAE folder"):
            make_sae("relu").save(place)
    with pytest.raises(UserError, match="choose a path you may write"):
        make_sae("relu").save(tmp_path / "photos" / "one.jpg" / "sae")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["one.jpg"]


def test_a_newer_schema_is_refused(tmp_path):
    path = make_sae("relu").save(tmp_path / "sae")
    cfg = files.read_json(path / "cfg.json")
    cfg["metadata"]["schema"] = 99
    files.write_json(path / "cfg.json", cfg)
    with pytest.raises(UserError, match="schema 99"):
        SparseAutoencoder.load(path)
