"""``python -m vlm_sae_lib train``: a sparse autoencoder on an activation store."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

HELP = "train a sparse autoencoder on an activation store"
EXAMPLE = (
    "example:\n  python -m vlm_sae_lib train --activations runs/my-store --out runs/my-sae "
    "--kind matryoshka_batch_top_k --expansion 4 --k 20 --steps 2000"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--activations", required=True, metavar="STORE", help="a store written by collect")
    parser.add_argument("--out", required=True, metavar="SAE", help="folder to write; an SAE found there is replaced")
    parser.add_argument(
        "--kind",
        default="matryoshka_batch_top_k",
        help="matryoshka_batch_top_k (default), batch_top_k, top_k, relu or jump_relu",
    )
    parser.add_argument("--expansion", type=float, default=4, help="latents per dimension (default: 4)")
    parser.add_argument("--k", type=int, default=20, help="active latents per sample (default: 20)")
    parser.add_argument("--steps", type=int, default=2000, help="optimiser steps (default: 2000)")
    parser.add_argument("--batch-size", type=int, default=1024, help="samples per step (default: 1024)")
    parser.add_argument("--lr", type=float, default=None, help="learning rate (default: 2e-4 / sqrt(latents / 2^14))")
    parser.add_argument("--seed", type=int, default=0, help="decides the initial weights and the order (default: 0)")
    parser.add_argument("--device", default=None, help="cpu, cuda, … (default: the first GPU, or else the CPU)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting of SaeConfig, such as lr_decay=0.3 or group_fractions=[0.1,0.9]",
    )


def main(args: argparse.Namespace) -> int:
    """Train, write the SAE, print how it does. A killed run resumes from the folder beside ``--out``."""
    from vlm_sae_lib.activations import ActivationStore
    from vlm_sae_lib.sae import SaeConfig, train_sae
    from vlm_sae_lib.sae.folder import check_target

    named = ("kind", "expansion", "k", "steps", "batch_size", "lr", "seed")
    config = SaeConfig(**{**{name: getattr(args, name) for name in named}, **_settings(args.set)})
    out = Path(args.out).expanduser()
    check_target(out)
    store = ActivationStore.open(args.activations)
    checkpoints = out.with_name(f"{out.name}.checkpoint")
    if checkpoints.exists():
        sys.stderr.write(f"resuming from {checkpoints}\n")
    sae = train_sae(store, config, checkpoint_dir=checkpoints, device=args.device)
    sae.save(out)
    shutil.rmtree(checkpoints)

    log = {name: column[-1] for name, column in sae.metadata["log"].items()}
    numbers = f"last batch: R² {_shown(log['r2'], '.4f')}, L0 {_shown(log['l0'], '.2f')}"
    latents = f"{sae.n_latents} latents, {log['dead']} dead"
    sys.stdout.write(f"{sae.kind}: {latents} after {config.steps} steps on {len(store)} rows\n{numbers}\n{out}\n")
    return 0


def _shown(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)


def _settings(pairs: list[str]) -> dict[str, Any]:
    from vlm_sae_lib.errors import UserError

    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair} is no NAME=VALUE: write for example --set lr_decay=0.3.")
        try:
            settings[name] = json.loads(text)
        except json.JSONDecodeError:
            settings[name] = text
    return settings
