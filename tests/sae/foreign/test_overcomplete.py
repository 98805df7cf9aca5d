"""overcomplete's files against that library's own formula."""

import pytest
import torch
from foreign_saes import X, agrees, overcomplete, top
from random_saes import DIM, WIDTH, inputs, make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.foreign import torch_files


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("name", ["SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE"])
def test_overcomplete(tmp_path, name, normed):
    sae, norm = make_sae("jump_relu"), None
    if normed:
        norm = torch.nn.BatchNorm1d(WIDTH)
        norm(inputs(100, WIDTH))
        norm.weight.data.mul_(torch.linspace(0.5, 2, WIDTH))
        norm.eval()
    more = {"TopKSAE": {"top_k": 3}, "BatchTopKSAE": {"top_k": 3, "running_threshold": torch.tensor(0.5)}}.get(name, {})
    loaded = SparseAutoencoder.load(overcomplete(tmp_path, sae, name, norm, **more))
    hidden = X @ sae.w_enc + sae.b_enc
    codes = torch.relu(norm(hidden).detach() if normed else hidden)
    latents = {
        "SAE": codes,
        "TopKSAE": top(codes, 3),
        "BatchTopKSAE": codes * (codes >= 0.5),
        "JumpSAE": torch.where(codes < sae.threshold, 0.0, codes),
    }[name]
    agrees(loaded, latents, latents @ (sae.w_dec * torch.tensor(0.3).exp()))


def test_overcomplete_keeps_what_equals_the_threshold():
    threshold = torch.tensor([0.5, 1e-3, 3.0])
    assert (threshold > torch_files.just_below(threshold)).all()
    assert not (torch_files.just_below(threshold) > torch_files.just_below(threshold)).any()


def test_overcomplete_beyond_our_formula_is_refused(tmp_path):
    sae = make_sae("jump_relu")
    torch.save(torch.load(overcomplete(tmp_path, sae, "TopKSAE"))["state_dict"], tmp_path / "sae.pt")
    with pytest.raises(UserError, match="bare state dict.*torch.save"):
        SparseAutoencoder.load(tmp_path)
    with pytest.raises(UserError, match="MpSAE"):
        SparseAutoencoder.load(overcomplete(tmp_path, sae, "MpSAE"))
    with pytest.raises(UserError, match="without its running_threshold"):
        SparseAutoencoder.load(overcomplete(tmp_path, sae, "BatchTopKSAE", top_k=3))
    with pytest.raises(UserError, match="layer norm"):
        SparseAutoencoder.load(overcomplete(tmp_path, sae, "SAE", torch.nn.LayerNorm(WIDTH)))
    deep = torch.load(overcomplete(tmp_path, sae, "SAE"))
    deep["state_dict"]["encoder.mlp_blocks.0.0.weight"] = torch.eye(DIM)
    torch.save(deep, tmp_path / "sae.pt")
    with pytest.raises(UserError, match="several layers"):
        SparseAutoencoder.load(tmp_path)
