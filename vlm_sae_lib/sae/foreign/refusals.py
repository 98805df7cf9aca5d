"""What is no sparse autoencoder of one hook point, told by its settings and tensors, whatever library wrote it."""

from pathlib import Path
from typing import Any

from torch import Tensor

from vlm_sae_lib.errors import UserError

SETTINGS = {
    "is_transcoder": "is a transcoder",  # ViT-Prisma
    "transcoder_with_skip_connection": "is a transcoder",
    "transcode": "is a transcoder",  # sparsify
    "skip_connection": "has a skip connection",
    "embed_skip": "has a skip connection from the embedding",
    "gram_lookup": "adds a table of n-grams",
}
TENSORS = {"b_dec_out": "is a transcoder", "W_skip": "has a skip connection"}
GATES = {"r_mag", "b_mag", "b_gate", "mag_bias", "gate_bias"}


def refuse_settings(path: Path, config: dict[str, Any]) -> None:
    """Raise ``UserError`` where settings say that what was trained is no autoencoder."""
    for name, means in SETTINGS.items():
        if config.get(name):
            raise UserError(f"{path} {means}, not an autoencoder: name an SAE trained without {name}.")


def refuse_tensors(path: Path, tensors: dict[str, Any], used: tuple[str, ...], bias: str) -> None:
    """Raise ``UserError`` for tensors that no autoencoder of one hook point has.

    ``used`` are those that make up the SAE, ``bias`` the encoder's among them. A number, or one number per latent, may
    lie beside them, as counters of training do; anything else would change what is computed.
    """
    tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    for name, value in tensors.items():
        if value.ndim > 2:
            raise UserError(
                f"{path} has a {name} of {value.ndim} axes, as a crosscoder of several hook points has: name an SAE of "
                "one."
            )
    if gates := sorted(GATES & set(tensors)):
        raise UserError(f"{path} is a gated SAE (it holds {', '.join(gates)}), which is not read: train another kind.")
    if bias not in tensors:  # no SAE that is known: whoever reads on says so
        return
    for name, value in tensors.items():
        if name not in used and value.numel() > 1 and value.shape != tensors[bias].shape:
            means = TENSORS.get(name, "computes more than an SAE does")
            raise UserError(f"{path} {means} (it holds {name}), not an autoencoder: name an SAE without.")
