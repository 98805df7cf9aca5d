"""``run``: the notebooks, and the experiments that are too long for them."""

import argparse
import sys
from functools import partial
from typing import Any

from vlm_sae_lib.commands.engines import add_engine, by_ray, ray_of
from vlm_sae_lib.commands.settings import by_name
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import Count, option

HELP = "run the notebooks; those of the pocket profile are published into notebooks/ when all have passed"
EXAMPLE = "python -m vlm_sae_lib run --only 03"
BYTES_OF_ONE = 3 << 30
"""Of memory that an experiment takes at most in the pocket world; the largest was seen to take two thirds of it, and no
notebook more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="pocket", help="pocket (default), light, colab, paper, island-<name>")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PREFIX",
        help="only notebooks whose name begins so, or `experiments`, or one of them (`experiments/layers`), or `atlas` "
        "for the data of the book's neuron atlas; repeatable",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="overrides",
        help="another value for a name in the notebooks' parameters cell, such as seed=3 or changes=\"{'k': 8}\"; "
        "nothing is published then; repeatable",
    )
    parser.add_argument(
        "--processes",
        type=option(Count),
        default=None,
        help="how many notebooks or experiments at once, each in a process of one thread (default: as many as there "
        "are cores and memory for; on models that are not the pocket world's, one after the other with all cores)",
    )
    parser.add_argument("--force", action="store_true", help="run also what was already run from the same inputs")
    add_engine(parser, gpus=False)


def main(arguments: argparse.Namespace) -> int:
    from vlm_sae_lib.profiles import load_profile
    from vlm_sae_lib.side_by_side import side_by_side
    from vlm_sae_lib.taking_turns import in_turn

    profile, ray = load_profile(arguments.profile), by_ray(arguments)
    if arguments.processes is not None and ray:
        raise UserError("--processes is for this machine: leave it out, or leave out --engine ray.")
    if not ray:
        processes = arguments.processes or processes_for(profile)
        return run_all(arguments, side_by_side(processes) if processes else in_turn)
    from vlm_sae_lib.cluster.running import each

    with ray_of(arguments):
        return run_all(arguments, each)


def experiments_of(arguments: argparse.Namespace) -> list[str]:
    return [prefix for prefix in arguments.only if prefix.startswith("experiments")]


def processes_for(profile: Any) -> int:
    """How many notebooks or experiments this machine does at once; 0: one after the other, with all its threads."""
    import torch

    from vlm_sae_lib.machine.devices import free_bytes
    from vlm_sae_lib.pictures.decoding import cores

    if profile.island is None:
        return 0
    free = free_bytes(torch.device("cpu"))
    return max(1, min(cores(), cores() if free is None else free // BYTES_OF_ONE))


def run_all(arguments: argparse.Namespace, each: Any) -> int:
    from vlm_sae_lib.publishing.runner import NotebookFailed, Run, run

    longer = experiments_of(arguments)
    if longer:
        from vlm_sae_lib.experiments.running import choose, run_experiments

        if arguments.overrides:
            raise UserError("Experiments are run with the profile's own settings; --set is for notebooks.")
        say = partial(print, flush=True)
        run_experiments(arguments.profile, choose(longer), force=arguments.force, say=say, each=each)
    if "atlas" in arguments.only:
        make_atlas(arguments)
        longer.append("atlas")
    if longer and len(longer) == len(arguments.only):
        return 0
    plan = Run(
        profile=arguments.profile,
        only=tuple(prefix for prefix in arguments.only if prefix not in longer),
        overrides=by_name(arguments.overrides),
        force=arguments.force,
    )
    try:
        run(plan, say=partial(print, flush=True), each=each)
    except NotebookFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def make_atlas(arguments: argparse.Namespace) -> None:
    """The committed data of the book's atlas, unless what it follows from is as it was."""
    from vlm_sae_lib.atlas import published
    from vlm_sae_lib.atlas.book import PROFILE

    if arguments.profile != PROFILE or arguments.overrides:
        raise UserError(f"The book's atlas is of the profile {PROFILE}; for other SAEs there is the stage `atlas`.")
    if not arguments.force and not published.stale():
        print(f"{'atlas':<30} up to date")
        return
    print(f"{'atlas':<30} running", flush=True)
    print(f"{'atlas':<30} {published.make()}")
