"""ViT-Prisma's folders and files against that library's own formula."""

import pytest
import torch
from foreign_saes import PRISMA, X, agrees, matrix_state, prisma, top
from random_saes import make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.foreign import torch_files


def test_prisma_weights_with_their_config(tmp_path):
    sae = make_sae("top_k")
    hidden = (X - sae.b_dec) @ sae.w_enc + sae.b_enc
    for name, latents, config in (
        ("relu", torch.relu(hidden), {}),
        ("topk", torch.relu(top(hidden, 3)), {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}),
    ):
        loaded = SparseAutoencoder.load(prisma(tmp_path / name, sae, "n_images_2600058.pt", **config))
        agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)


def test_prisma_settings_in_the_torch_file_are_read_and_none_of_their_code(tmp_path):
    sae = make_sae("relu")
    settings = torch_files.SETTINGS()
    settings.__dict__.update(PRISMA | {"device": torch.device("cpu"), "dtype": torch.float32})
    with as_written(settings):
        torch.save({"cfg": settings, "state_dict": matrix_state(sae)}, tmp_path / "weights.pt")
    loaded = SparseAutoencoder.load(tmp_path)
    latents = torch.relu((X - sae.b_dec) @ sae.w_enc + sae.b_enc)
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)
    assert loaded.metadata["imported"]["cfg"]["activation_fn_str"] == "relu"
    torch.save({"cfg": SparseAutoencoder, "state_dict": matrix_state(sae)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="needs unpickling"):
        SparseAutoencoder.load(tmp_path)


def as_written(settings):
    """A module under ViT-Prisma's name, which pickle wants to see while it writes."""
    import sys
    import types
    from unittest.mock import patch

    module = types.ModuleType(type(settings).__module__)
    setattr(module, type(settings).__name__, type(settings))
    parents = {name: types.ModuleType(name) for name in ("vit_prisma", "vit_prisma.sae")}
    return patch.dict(sys.modules, parents | {module.__name__: module})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "gated"}, "'gated'"),
        ({"normalize_activations": "layer_norm"}, "at run time"),
        ({"activation_fn_str": "tanh-relu"}, "'tanh-relu'"),
    ],
)
def test_prisma_beyond_our_formula_is_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        SparseAutoencoder.load(prisma(tmp_path, make_sae("relu"), **config))
