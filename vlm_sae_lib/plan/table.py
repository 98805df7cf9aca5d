"""A plan as text: for the shell, stage by stage, and for a notebook, in one sentence."""

import os
import sys
from collections.abc import Sequence

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.loading import first_sentence
from vlm_sae_lib.plan.estimate import INSTALLED_GB, Estimate, plan
from vlm_sae_lib.plan.machines import Machine, machine
from vlm_sae_lib.plan.promises import PROMISES, broken
from vlm_sae_lib.plan.work import NOTEBOOKS
from vlm_sae_lib.profiles.settings import Profile

RED, PLAIN = "\x1b[31m", "\x1b[0m"
COLUMNS = ("fetched", "disk", "host", "GPU", "TFLOP", "minutes")
WIDTH = 11


def plan_text(profile: Profile, where: Machine, notebook: str | None = None) -> str:
    """The plan stage by stage, with sums, the promise and what does not fit (in red on a terminal)."""
    found = plan(profile, where, notebook)
    lines = [f"{profile.name} on {where.title}", f"  {'':44}" + "".join(f"{name:>{WIDTH}}" for name in COLUMNS)]
    for name in NOTEBOOKS:
        if rows := found.of(name):
            lines.append(f"  {name}")
            lines += [f"    {part:42}" + _row(some) for part, some in _by_part(rows)]
    flop = sum(one.flop for one in found.estimates)
    sums = _cells(found.fetched_gb, found.disk_gb, found.host_gib, found.gpu_gib, flop, found.minutes)
    lines.append(f"  {'together':44}{sums}")
    if found.batch is not None:
        lines.append(f"  The fewest prompts read at once: {found.batch}.")
    per = ", ".join(f"{use} {rows:.0f}" for use, rows in found.rows_per_latent.items())
    lines.append(f"  Training rows for each latent: {per}.")
    lines.append(f"  {where.setup_minutes:g} minutes for setting up are part of the sum. GB, and GiB of memory.")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    wrong = [f"Does not fit: {one}" for one in found.misfits()]
    wrong += [f"A promise is broken: {one}" for one in (broken(found) if notebook is None else [])]
    lines += [f"  {RED if colour else ''}{one}{PLAIN if colour else ''}" for one in wrong]
    return "\n".join(lines) + "\n"


def plan_sentence(profile: Profile, notebook: str) -> str:
    """What one notebook will take when it is run alone on the machine that its profile is meant for; for a reader.

    Of other models and pictures than the profiles' own it may not be known, and the sentence says so: a count must not
    stop a run.
    """
    where = machine(PROMISES[profile.name].machine)
    try:
        found = plan(profile, where, notebook)
    except Exception as error:  # a model of another kind can break its count anywhere
        why = f" ({first_sentence(error)})" if isinstance(error, UserError) else ""
        return f"What this notebook takes is not known beforehand{why}."
    flop = sum(one.flop for one in found.estimates)
    fetched = f"{found.fetched_gb:.1f} GB to fetch, " if found.fetched_gb else "nothing to fetch, "
    memory = f", {found.gpu_gib:.0f} GiB of GPU memory" if where.gpu_gib else ""
    minutes, gb = max(1, round(found.minutes - where.setup_minutes)), found.disk_gb - INSTALLED_GB
    disk = f"{gb:.1f} GB" if gb >= 0.95 else f"{1000 * gb:.0f} MB"
    told = (
        f"By count this notebook, run alone, takes {fetched}{operations(flop)}, {disk} of disk{memory}, and "
        f"about {minutes} {'minute' if minutes == 1 else 'minutes'} on {where.title}."
    )
    return " ".join([told, *found.misfits()])


def operations(flop: float) -> str:
    """So many of them, in words."""
    for size, word in ((1e18, "quintillion"), (1e15, "quadrillion"), (1e12, "trillion")):
        if flop >= size:
            return f"{flop / size:.1f} {word} operations"
    return f"{flop / 1e9:.0f} billion operations"


def _by_part(rows: Sequence[Estimate]) -> list[tuple[str, list[Estimate]]]:
    parts: dict[str, list[Estimate]] = {}
    for row in rows:
        parts.setdefault(row.stage.part, []).append(row)
    return list(parts.items())


def _row(some: Sequence[Estimate]) -> str:
    return _cells(
        sum(one.fetched_gb for one in some), sum(one.disk_gb for one in some), max(one.host_gib for one in some),
        max(one.gpu_gib for one in some), sum(one.flop for one in some), sum(one.seconds for one in some) / 60,
    )  # fmt: skip


def _cells(fetched: float, disk: float, host: float, gpu: float, flop: float, minutes: float) -> str:
    tera = f"{flop / 1e12:,.0f}" if flop >= 1e13 else f"{flop / 1e12:.2f}"
    cells = [f"{fetched:.2f}", f"{disk:.2f}", f"{host:.1f}", f"{gpu:.1f}", tera, f"{minutes:,.1f}"]
    return "".join(f"{'' if float(cell.replace(',', '')) == 0 else cell:>{WIDTH}}" for cell in cells)
