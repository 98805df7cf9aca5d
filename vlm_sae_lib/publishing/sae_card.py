"""The card of an SAE, and its publication on the Hugging Face hub."""

import tempfile
from pathlib import Path
from typing import Any

from vlm_sae_lib.quoting import in_markdown
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.files.hub import hub_errors

LOGGED = {"r2": "R² (training batch, last step)", "l0": "L0 (training batch, last step)"}


def push_to_hub(
    sae: SparseAutoencoder,
    repo_id: str,
    *,
    scores: dict[str, float] | None = None,
    private: bool = False,
    token: str | None = None,
    message: str = "Sparse autoencoder",
) -> str:
    """Upload the SAE folder and its card to ``owner/name``, made if need be; the commit that holds them.

    ``scores`` (such as ``{"MS": 0.31}``) stand in the card, beside what the metadata says. Raises ``UserError`` for
    a missing token, one that may not write there, an impossible name and an unreachable hub.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        folder = sae.save(Path(temporary) / "sae")
        (folder / "README.md").write_text(model_card(sae, scores), encoding="utf-8")
        with hub_errors(repo_id, writing=True):
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
    return commit.oid


def model_card(sae: SparseAutoencoder, scores: dict[str, float] | None = None) -> str:
    """README.md of a published SAE: what it is, what it was trained on, how good it is, how to open it."""
    known = sae.metadata
    provenance, log, config = (known.get(name) or {} for name in ("provenance", "log", "config"))
    numbers = {**(known.get("scores") or {}), **(scores or {})}
    for column, label in LOGGED.items():
        values = [value for value in log.get(column) or [] if value is not None]
        if values and column.upper() not in {name.upper().replace("²", "2") for name in numbers}:
            numbers[label] = values[-1]
    facts = {
        "kind": sae.kind,
        "latents": f"{sae.n_latents} for {sae.dim} dimensions",
        "k": sae.k,
        "groups": ", ".join(map(str, sae.group_sizes)) if len(sae.group_sizes) > 1 else None,
        "tower": provenance.get("tower"),
        "hook point": provenance.get("hook_point"),
        "tokens": provenance.get("tokens"),
        "pictures": provenance.get("source"),
        "training rows": provenance.get("rows"),
        "seed": config.get("seed"),
        "tower weights (SHA-256)": provenance.get("weights_hash"),
        "SAE (SHA-256)": sae.hash,
    }
    lines = ["---", "library_name: vlm_sae_lib", "tags:", "- sparse-autoencoder", "- interpretability", "---", ""]
    lines += [
        f"# {sae.kind}, {sae.dim} → {sae.n_latents}",
        "",
        "A sparse autoencoder of a vision tower's activations.",
        "",
    ]
    lines += _table("what", "value", {name: value for name, value in facts.items() if value is not None})
    if numbers:
        lines += ["## How good it is", "", *_table("measure", "value", {n: f"{v:.4g}" for n, v in numbers.items()})]
    lines += ["## Open it", "", "```python", "from vlm_sae_lib.sae.files.hub import from_hub", ""]
    lines += ['sae = from_hub("<this repository>", revision="<commit>")', "```", ""]
    lines += ["SAELens opens the same files with `SAE.load_from_disk`, after a download.", ""]
    return "\n".join(lines)


def _table(left: str, right: str, rows: dict[str, Any]) -> list[str]:
    return [f"| {left} | {right} |", "|---|---|",
            *(f"| {in_markdown(name)} | {in_markdown(value)} |" for name, value in rows.items()), ""]  # fmt: skip
