"""saev's files against that library's own formula."""

import pytest
import torch
from foreign_saes import X, agrees, matrix_state, saev, saev_header, top
from random_saes import DIM, make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder


@pytest.mark.parametrize("name", ["Relu", "TopK", "BatchTopK"])
def test_saev_does_not_centre_its_input(tmp_path, name):
    sae, threshold = make_sae("relu"), 0.6
    state = matrix_state(sae) | ({"activation.threshold": torch.tensor(threshold)} if name == "BatchTopK" else {})
    loaded = SparseAutoencoder.load(
        saev(tmp_path, state, saev_header(name, **({} if name == "Relu" else {"top_k": 3})))
    )
    hidden = X @ sae.w_enc + sae.b_enc
    latents = {
        "Relu": torch.relu(hidden),
        "TopK": top(hidden, 3),
        "BatchTopK": torch.where(hidden > threshold, hidden, 0.0),
    }[name]
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)
    assert SparseAutoencoder.load(tmp_path).hash == loaded.hash


def test_the_first_saev_files_did_centre_it(tmp_path):
    sae = make_sae("relu")
    loaded = SparseAutoencoder.load(
        saev(tmp_path, matrix_state(sae), {"d_vit": DIM, "exp_factor": 4, "l1_coeff": 1e-4})
    )
    latents = torch.relu((X - sae.b_dec) @ sae.w_enc + sae.b_enc)
    agrees(loaded, latents, latents @ sae.w_dec + sae.b_dec)


def test_saev_files_that_are_not_certain_are_refused(tmp_path):
    state = matrix_state(make_sae("relu"))
    for header, message in (
        (saev_header("BatchTopK", top_k=3), "without a learned threshold"),
        (saev_header("Heaviside"), "'Heaviside'"),
        (saev_header("Relu") | {"schema": 1}, "schema 1"),
        (saev_header("Relu") | {"schema": 6}, "schema 6"),
    ):
        with pytest.raises(UserError, match=message):
            SparseAutoencoder.load(saev(tmp_path, state, header))
    untrained = state | {"activation.threshold": torch.tensor(0.0)}
    with pytest.raises(UserError, match="without a learned threshold"):
        SparseAutoencoder.load(saev(tmp_path, untrained, saev_header("BatchTopK", top_k=3)))
    (tmp_path / "sae.pt").write_bytes(b"{broken\n")
    with pytest.raises(UserError, match="no readable header"):
        SparseAutoencoder.load(tmp_path)
