"""What each profile promises its reader, and on which machine; ``tests/plan/test_plan.py`` holds the plans to it."""

from dataclasses import dataclass

from vlm_sae_lib.plan.estimate import Plan, plan
from vlm_sae_lib.plan.machines import GB, GIB, machine
from vlm_sae_lib.profiles import load_profile


@dataclass(frozen=True)
class Promise:
    """All five notebooks within so many minutes, and so many GB (10^9 bytes) of GPU memory; None: nothing is said."""

    machine: str
    minutes: float | None = None
    gpu_gb: float | None = None


PROMISES = {
    "pocket": Promise("two_cores", minutes=15),
    "light": Promise("runner", minutes=100),
    "colab": Promise("t4", minutes=60, gpu_gb=13),
    "paper": Promise("a100", gpu_gb=40),
}
ROWS_PER_LATENT = 20
"""Fewer training rows than that are learned by heart, of the public profiles' autoencoders."""


def promised(profile: str) -> Plan:
    """The plan of a profile on the machine that it is meant for."""
    return plan(load_profile(profile), machine(PROMISES[profile].machine))


def broken(found: Plan) -> list[str]:
    """Which promises of its profile a plan does not keep, as sentences; those of another machine do not count."""
    promise, name = PROMISES[found.profile.name], found.profile.name
    if found.machine.name != promise.machine:
        return []
    told = []
    if promise.minutes is not None and found.minutes > promise.minutes:
        told.append(f"{name} promises {promise.minutes:g} minutes and takes {found.minutes:.0f}.")
    if promise.gpu_gb is not None and found.gpu_gib * GIB / GB > promise.gpu_gb:
        told.append(f"{name} promises {promise.gpu_gb:g} GB of GPU memory and takes {found.gpu_gib * GIB / GB:.1f}.")
    if name != "pocket":
        told += [
            f"{name} has {rows:.0f} training rows for a latent ({use}), fewer than {ROWS_PER_LATENT}."
            for use, rows in found.rows_per_latent.items() if rows < ROWS_PER_LATENT
        ]  # fmt: skip
    return told
