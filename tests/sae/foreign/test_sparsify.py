"""sparsify's folders against that library's own formula."""

import pytest
import torch
from foreign_saes import X, agrees, sparsify, top
from random_saes import make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder


def test_sparsify(tmp_path):
    sae = make_sae("top_k")
    loaded = SparseAutoencoder.load(sparsify(tmp_path / "run" / "layers.10", sae))
    latents = top(torch.relu((X - sae.b_dec) @ sae.w_enc + sae.b_enc), 3)
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)
    assert loaded.kind == "top_k" and loaded.metadata["imported"]["format"] == "sparsify"
    with pytest.raises(UserError, match="name one of layers.10"):
        SparseAutoencoder.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"activation": "groupmax"}, "'groupmax'"),
        ({"transcode": True}, "transcoder"),
        ({"skip_connection": True}, "skip connection"),
        ({"signed": True}, "signed topk"),
    ],
)
def test_sparsify_beyond_our_formula_is_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        SparseAutoencoder.load(sparsify(tmp_path / "a", make_sae("top_k"), **config))
