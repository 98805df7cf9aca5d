"""``python -m vlm_sae_lib train``: a sparse autoencoder on an activation store."""

import argparse
import shutil
import sys
from argparse import SUPPRESS
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from vlm_sae_lib.commands.engines import add_engine, by_ray, ray_of
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Count, option

HELP = "train a sparse autoencoder on an activation store"
EXAMPLE = (
    "example:\n  python -m vlm_sae_lib train --activations runs/my-store --out runs/my-sae "
    "--kind matryoshka_batch_top_k --expansion 4 --k 20 --steps 2000"
)

NAMED = ("kind", "expansion", "k", "steps", "batch_size", "lr", "seed", "frozen")
"""Settings with an option of their own; one that is not given is left to ``SaeConfig``."""
TOGETHER = 4
OF_KINDS = {
    "k": ("matryoshka_batch_top_k", "batch_top_k", "top_k", "jump_relu"),
    "aux_coefficient": ("matryoshka_batch_top_k", "batch_top_k", "top_k"),
    "group_fractions": ("matryoshka_batch_top_k",),
    "l1_coefficient": ("relu",),
    "l0_coefficient": ("jump_relu",),
    "bandwidth": ("jump_relu",),
}
"""Settings that only some kinds read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--activations", required=True, metavar="STORE", help="a store written by collect")
    parser.add_argument("--out", required=True, metavar="SAE", help="folder to write; an SAE found there is replaced")
    parser.add_argument(
        "--kind",
        default=SUPPRESS,
        help="matryoshka_batch_top_k (default), batch_top_k, top_k, relu or jump_relu",
    )
    parser.add_argument("--expansion", type=float, default=SUPPRESS, help="latents per dimension (default: 4)")
    parser.add_argument("--k", type=int, default=SUPPRESS, help="active latents per sample (default: 20)")
    parser.add_argument("--steps", type=int, default=SUPPRESS, help="optimiser steps (default: 2000)")
    parser.add_argument("--batch-size", type=int, default=SUPPRESS, help="samples per step (default: 1024)")
    parser.add_argument(
        "--lr", type=float, default=SUPPRESS, help="learning rate (default: 2e-4 / sqrt(latents / 2^14))"
    )
    parser.add_argument(
        "--seed", type=int, default=SUPPRESS, help="decides the initial weights and the order (default: 0)"
    )
    parser.add_argument(
        "--frozen",
        default=SUPPRESS,
        help="what stays at its random start, for a baseline: nothing (default), decoder, soft_decoder (a cosine of at "
        "least .8 to it) or encoder",
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, … (default: the first GPU, or else the CPU)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting of SaeConfig, such as lr_decay=0.3 or group_fractions=[0.1,0.9]",
    )
    parser.add_argument(
        "--sweep",
        default=None,
        metavar="FILE",
        help="many SAEs at once, which this YAML file names; --out is then the folder of their folders",
    )
    parser.add_argument(
        "--together",
        type=option(Count),
        default=None,
        help="with --sweep: how many SAEs share one pass over the activations (default: 4)",
    )
    parser.add_argument(
        "--workers",
        type=option(Count),
        default=None,
        help="with --engine ray: how many workers learn one SAE together, each with its share of every batch",
    )
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Train, write the SAE, print how it does. A killed run resumes from the folder beside ``--out``."""
    on_ray = by_ray(args)
    if args.sweep is not None:
        return sweep(args, on_ray)
    if args.together is not None:
        raise UserError("--together is for sweeps: give --sweep too, or leave it out.")
    if on_ray and args.workers is None:
        raise UserError("Of one SAE Ray has to know how many workers share it: give --workers, or --sweep.")
    return train_one(args, on_ray)


def train_one(args: argparse.Namespace, on_ray: bool) -> int:
    from vlm_sae_lib.activations import ActivationStore
    from vlm_sae_lib.commands.settings import by_name
    from vlm_sae_lib.machine.devices import choose_device
    from vlm_sae_lib.sae import SaeConfig
    from vlm_sae_lib.sae.files.folder import check_target
    from vlm_sae_lib.sae.training import train_sae

    given = by_name(args.set, {name: value for name, value in vars(args).items() if name in NAMED})
    config = SaeConfig(**given)
    _refuse_idle(config.kind, given)
    store = ActivationStore.open(args.activations, verify=True)
    check_target(args.out)
    device = choose_device(args.device)
    _tell_of_few_rows(len(store), config.schedule(store.dim, len(store)).n_latents, config.batch_size)
    checkpoints = args.out.with_name(f"{args.out.name}.checkpoint")
    if checkpoints.exists():
        sys.stderr.write(f"resuming from {checkpoints}\n")
    if on_ray:
        from vlm_sae_lib.cluster.wide import train_wide

        with ray_of(args):
            sae = train_wide(store, config, args.workers, checkpoints=checkpoints, device=args.device,
                             gpus=args.gpus or 0)  # fmt: skip
    else:
        sae = train_sae(store, config, checkpoint_dir=checkpoints, device=device)
    sae.save(args.out)
    shutil.rmtree(checkpoints)

    log = {name: column[-1] for name, column in sae.metadata["log"].items()}
    numbers = f"last batch: R² {_shown(log['r2'], '.4f')}, L0 {_shown(log['l0'], '.2f')}"
    latents = f"{sae.n_latents} latents, {log['dead']} dead"
    sys.stdout.write(f"{sae.kind}: {latents} after {config.steps} steps on {len(store)} rows\n{numbers}\n{args.out}\n")
    return 0


def sweep(args: argparse.Namespace, on_ray: bool) -> int:
    """Train the SAEs that a file names, and print a line for each. What is there already stays."""
    from functools import partial

    from vlm_sae_lib.activations import ActivationStore
    from vlm_sae_lib.machine.devices import choose_device
    from vlm_sae_lib.progress import progress
    from vlm_sae_lib.sae.training.sweep import Trained, grouped, read_sweep, train_group

    if args.workers is not None:
        raise UserError("--workers is for one SAE: leave it out, as each of a sweep is trained by one worker.")
    if given := [name for name in NAMED if name in args] + [text.partition("=")[0] for text in args.set]:
        raise UserError(f"{given[0]} is told by --sweep {args.sweep}: give it there, under `all`.")
    wanted = read_sweep(args.sweep)
    store = ActivationStore.open(args.activations, verify=True)
    for one in wanted:
        one.config.schedule(store.dim, len(store))
    groups = grouped(wanted, args.together or TOGETHER)
    done: Iterable[list[Trained]]
    with ExitStack() as stack:
        if on_ray:
            from vlm_sae_lib.cluster.training import train

            stack.enter_context(ray_of(args))
            done = train(store, groups, args.out, device=args.device, gpus=args.gpus or 0)
        else:
            one_group = partial(train_group, store, out=args.out, device=choose_device(args.device))
            done = map(one_group, groups)
        width = max(len(one.name) for one in wanted)
        for group in progress(done, "sweep", total=len(groups), unit="group"):
            for sae in group:
                print(f"{sae.name:<{width}}  {sae.latents:>7} latents, {sae.dead} dead, R² {_shown(sae.r2, '.4f')}, "
                      f"L0 {_shown(sae.l0, '.2f')}", flush=True)  # fmt: skip
    print(args.out)
    return 0


def _refuse_idle(kind: str, given: dict[str, Any]) -> None:
    for name in given:
        if kind not in OF_KINDS.get(name, (kind,)):
            whose = ", ".join(OF_KINDS[name])
            raise UserError(f"{name} does nothing for an SAE of kind {kind}: leave it out (it is for {whose}).")


def _tell_of_few_rows(rows: int, latents: int, batch_size: int) -> None:
    """On stderr: that so many latents learn too little from these rows, and that a step takes all there are."""
    from vlm_sae_lib.sae.config import ROWS_PER_LATENT

    if rows < ROWS_PER_LATENT * latents:
        sys.stderr.write(
            f"few rows ({rows:,}) for so many latents ({latents:,}): R² and scores on these rows promise little for "
            f"others; the paper's widest SAE had {ROWS_PER_LATENT} rows a latent, so take more pictures, more tokens "
            "of each, or a lower --expansion\n"
        )
    if rows < batch_size:
        sys.stderr.write(f"fewer rows ({rows:,}) than the batch size ({batch_size:,}): a step takes them all\n")


def _shown(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)
