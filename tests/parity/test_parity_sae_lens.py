"""SAELens opens what we export, and we open what SAELens saves: the same latents both ways."""

import pytest
import sae_lens
import torch

from vlm_sae_lib.sae import KINDS, SparseAutoencoder

from .conftest import DIM, WIDTH, K


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", ["save", "export"])
def test_sae_lens_opens_ours(tmp_path, make_sae, agree, kind, write):
    sae = make_sae(kind)
    path = getattr(sae, write)(tmp_path / "sae")
    theirs = sae_lens.SAE.load_from_disk(path)
    agree(sae, theirs)
    assert theirs.cfg.metadata.group_sizes == list(sae.group_sizes)


def config(name: str, **settings):
    return getattr(sae_lens, name)(d_in=DIM, d_sae=WIDTH, **settings)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("name", ["Standard", "JumpReLU", "TopK", "TopK rescaled"])
def test_we_open_theirs(tmp_path, randomised, agree, name, centred):
    name, _, rescaled = name.partition(" ")
    settings = {"k": K, "rescale_acts_by_decoder_norm": bool(rescaled)} if name == "TopK" else {}
    settings["apply_b_dec_to_input"] = centred
    theirs = randomised(getattr(sae_lens, f"{name}SAE")(config(f"{name}SAEConfig", **settings)))
    theirs.save_model(tmp_path / "sae")
    agree(SparseAutoencoder.load(tmp_path / "sae"), theirs)


@pytest.mark.parametrize("name", ["BatchTopK", "MatryoshkaBatchTopK"])
def test_we_open_what_their_batch_top_k_becomes(tmp_path, randomised, agree, name):
    settings = {"matryoshka_widths": [6, 18, 42, WIDTH]} if "Matryoshka" in name else {}
    trained = getattr(sae_lens, f"{name}TrainingSAE")(config(f"{name}TrainingSAEConfig", k=K, **settings))
    randomised(trained).topk_threshold.fill_(0.7)
    trained.save_inference_model(tmp_path / "sae")
    ours = SparseAutoencoder.load(tmp_path / "sae")
    agree(ours, sae_lens.SAE.load_from_disk(tmp_path / "sae"))
    assert ours.kind == "jump_relu"
    # rescaled latents are in units of the decoder's norms, which saving folds into the weights
    torch.testing.assert_close(ours.threshold, torch.full((WIDTH,), 0.7))


@pytest.mark.parametrize("name", ["Standard", "JumpReLU", "TopK"])
def test_an_average_norm_is_folded_as_they_fold_it(tmp_path, randomised, agree, name):
    settings = {"k": K} if name == "TopK" else {}
    theirs = getattr(sae_lens, f"{name}SAE")(
        config(f"{name}SAEConfig", normalize_activations="expected_average_only_in", **settings)
    )
    randomised(theirs).save_model(tmp_path / "sae")
    (tmp_path / "sae" / "activation_scaler.json").write_text('{"scaling_factor": 0.37, "has_whitening": false}')
    theirs.fold_activation_norm_scaling_factor(0.37)
    agree(SparseAutoencoder.load(tmp_path / "sae"), theirs)
