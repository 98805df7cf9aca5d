"""Where a stage is computed: in this process, or by the workers of a Ray cluster."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import AtLeastZero, option

LOCAL, RAY = "local", "ray"


def add_engine(parser: argparse.ArgumentParser, *, gpus: bool = True) -> None:
    """``--engine``, ``--address`` and, where a worker can use one, ``--gpus``."""
    parser.add_argument("--engine", default=LOCAL, help="local (default), or ray: by the workers of a cluster")
    parser.add_argument(
        "--address",
        default=None,
        help="with --engine ray: auto (the cluster this machine belongs to) or ray://<host>:<port> (default: a Ray on "
        "this machine alone)",
    )
    if gpus:
        parser.add_argument(
            "--gpus",
            type=option(AtLeastZero),
            default=None,
            metavar="SHARE",
            help="with --engine ray: how much of a GPU a worker takes, such as 1 or 0.5 (default: 0)",
        )


def by_ray(arguments: argparse.Namespace) -> bool:
    """Whether Ray was asked for.

    Raises:
        UserError: there is no such engine, or something is given that only Ray would read.
    """
    if arguments.engine not in (LOCAL, RAY):
        raise UserError(f"--engine {arguments.engine} is not known: give {LOCAL} or {RAY}.")
    for name in ("address", "gpus", "workers"):
        if arguments.engine == LOCAL and getattr(arguments, name, None) is not None:
            raise UserError(f"--{name} does nothing without --engine {RAY}: leave it out, or give that too.")
    return arguments.engine == RAY


@contextmanager
def ray_of(arguments: argparse.Namespace) -> Iterator[None]:
    """The cluster that was asked for, for as long as the block lasts. Raises ``UserError`` as ``connected``."""
    from vlm_sae_lib.cluster.connection import connected

    with connected(arguments.address):
        yield
