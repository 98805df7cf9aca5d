"""The SAE folder: SAELens's file names, key names and orientation, our own facts under ``metadata``."""

import errno
import os
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.config import BATCH_TOP_K_KINDS
from vlm_sae_lib.sae.files.probe import check_probe, make_probe

LIBRARY, SCHEMA = "vlm_sae_lib", 1
CONFIG, WEIGHTS, PROBE = "cfg.json", "sae_weights.safetensors", "probe.safetensors"
SAE_LENS_FORMAT = "6.0.0"
"""SAELens rewrites a cfg.json without a version from 6.0.0 on as an old one, and loses our metadata."""
ARCHITECTURES = {
    "matryoshka_batch_top_k": "jumprelu",
    "batch_top_k": "jumprelu",
    "jump_relu": "jumprelu",
    "top_k": "topk",
    "relu": "standard",
}


def save(sae: SparseAutoencoder, path: str | Path) -> Path:
    """Write the folder whole; equal SAEs give equal bytes."""
    return _write(sae, path, make_probe(sae))


def export(sae: SparseAutoencoder, path: str | Path, format: str) -> Path:
    """Write the folder as another library knows it: for SAELens, ours without the probe."""
    if format != "sae_lens":
        raise UserError(f"an SAE cannot be exported as {format!r}: the one known format is sae_lens.")
    return _write(sae, path, None)


def check_target(path: Path) -> None:
    """Raise ``UserError`` where writing an SAE to ``path`` would fail or replace something else; makes its parents."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(path, error) from error
    if path.exists() and not (path.is_dir() and ((path / CONFIG).exists() or not any(path.iterdir()))):
        raise UserError(f"{path} exists and is no SAE folder: give a new path or an SAE to replace.")


def _write(sae: SparseAutoencoder, path: str | Path, probe: dict[str, Tensor] | None) -> Path:
    path = Path(path)
    check_target(path)
    try:
        with files.whole_folder(path) as folder:
            files.write_json(folder / CONFIG, config_of(sae))
            files.write_bytes(folder / WEIGHTS, safetensors.torch.save(_tensors(sae)))
            if probe is not None:
                files.write_bytes(folder / PROBE, safetensors.torch.save(probe))
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"the SAE cannot be written to {path} ({error.strerror}): choose a path you may write.")


def config_of(sae: SparseAutoencoder) -> dict[str, Any]:
    """cfg.json's content."""
    provenance = sae.metadata.get("provenance") or {}
    config = {
        "architecture": ARCHITECTURES[sae.kind],
        "d_in": sae.dim,
        "d_sae": sae.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            **sae.metadata,
            "library": LIBRARY,
            "schema": SCHEMA,
            "sae_lens_version": SAE_LENS_FORMAT,
            "model_name": str(provenance.get("tower", "")),
            "hook_name": str(provenance.get("hook_point", "")),
        },
    }
    return config | ({"k": sae.k, "rescale_acts_by_decoder_norm": False} if sae.kind == "top_k" else {})


def _tensors(sae: SparseAutoencoder) -> dict[str, Tensor]:
    tensors = {"W_enc": sae.w_enc, "b_enc": sae.b_enc, "W_dec": sae.w_dec, "b_dec": sae.b_dec}
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold.expand(sae.n_latents)
    return {name: value.cpu().contiguous() for name, value in tensors.items()}


def contents(path: Path, weights: str = WEIGHTS) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """cfg.json and the tensors of a folder, ours or another library's; a null in it is a setting left out.

    Raises ``UserError`` for a damaged one.
    """
    try:
        config = files.read_json(path / CONFIG)
        tensors = safetensors.torch.load((path / weights).read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no readable SAE folder ({reason}): it needs {CONFIG} and {weights}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path / CONFIG} is no SAE configuration: it must hold a JSON object.")
    return {name: value for name, value in config.items() if value is not None}, tensors


def is_ours(config: dict[str, Any]) -> bool:
    """Whether this library wrote a cfg.json."""
    metadata = config.get("metadata")
    return isinstance(metadata, dict) and metadata.get("library") == LIBRARY


def read(path: Path) -> SparseAutoencoder:
    """Read our folder. Raises ``UserError`` where it is damaged or no longer gives the latents recorded in it."""
    config, tensors = contents(path)
    missing = [name for name in ("W_enc", "b_enc", "W_dec", "b_dec") if name not in tensors]
    if missing:
        raise UserError(f"{path / WEIGHTS} lacks {', '.join(missing)}: fetch the folder again.")
    sae = _ours(path, config, tensors)
    if (path / PROBE).exists():
        try:
            probe = safetensors.torch.load((path / PROBE).read_bytes())
        except SafetensorError as error:
            raise UserError(f"{path / PROBE} is damaged ({error}): fetch the folder again.") from error
        check_probe(sae, probe, str(path))
    return sae


def _ours(path: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> SparseAutoencoder:
    facts = dict(config["metadata"])
    if facts.get("schema") != SCHEMA:
        raise UserError(
            f"{path} is an SAE of schema {facts.get('schema')}, this library reads {SCHEMA}: update one of them."
        )
    kind: Any = facts.get("kind")  # what is none is refused with the SAE
    threshold = tensors.get("threshold")
    if kind in BATCH_TOP_K_KINDS and threshold is not None:
        threshold = threshold[0]
    added = ("library", "schema", "sae_lens_version", "model_name", "hook_name", "kind", "k", "group_sizes")
    return SparseAutoencoder(
        kind=kind,
        w_enc=tensors["W_enc"],
        b_enc=tensors["b_enc"],
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        k=facts.get("k"),
        threshold=threshold,
        group_sizes=tuple(facts.get("group_sizes") or ()),
        metadata={name: value for name, value in facts.items() if name not in added},
    )
