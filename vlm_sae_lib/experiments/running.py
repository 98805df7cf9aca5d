"""Run experiments, skip those whose results still stand, publish, and tell which published ones are stale."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.registry import LONGEST, NAMES, experiment, module
from vlm_sae_lib.files import canonical_json, read_json, write_bytes, write_json
from vlm_sae_lib.machine.allocator import keep_freed_memory
from vlm_sae_lib.pocket.islands import of_kind
from vlm_sae_lib.profiles import Profile, load_profile
from vlm_sae_lib.records.made_by import write_record
from vlm_sae_lib.records.provenance import code_hash, models_hash, settings_hash
from vlm_sae_lib.reserving import reserved
from vlm_sae_lib.taking_turns import Each, in_turn
from vlm_sae_lib.workbench import Workbench

PUBLISHED_PROFILE = "pocket"
INPUTS = ("code", "models", "settings")
TIMED = "this machine"
"""How the unit of what a clock measured ends."""
FOR_OTHERS = tuple(
    f"vlm_sae_lib.{name}"
    for name in (
        "files", "machine.precision", "profiles.public", "sae.files.formats", "sae.files.released", "terms",
        "towers.vlm_towers",
        "pictures.archive", "pictures.bare", "pictures.decoding", "pictures.depth", "pictures.facts",
        "pictures.folders", "pictures.hf_datasets", "pictures.reading", "pictures.refusal", "pictures.sample",
        "vlms.choice",
    )
)  # fmt: skip
"""What only pictures, models and files from elsewhere need, who may show them, and how bytes get onto the disk whole:
nothing there changes what an experiment finds in the published profile."""


def run_experiments(
    profile: str,
    names: Sequence[str] = NAMES,
    *,
    force: bool = False,
    say: Callable[[str], None] = print,
    each: Each = in_turn,
) -> Path:
    """Run the named experiments, the longest first, and return the folder with their results.

    One whose code, models and settings are those of its last run is skipped. What a stopped run had finished (stores,
    SAEs, whole experiments) is kept, and the next call goes on from there. In the published profile each result is
    copied to ``data/results/pocket`` as soon as it is there; of another island what decides claims, to
    ``data/results/island-<name>``. ``each`` says who runs them.

    Raises:
        UserError: another process runs one of them (says which).
    """
    settings = load_profile(profile)
    started = time.perf_counter()
    with ExitStack() as mine:
        for name in names:
            mine.enter_context(reserved(paths.results(profile) / f"{name}.json"))
        _run_each(settings, names, force, say, each)
        write_record(settings)
    say(f"{len(names)} experiments in {time.perf_counter() - started:.1f} s: {paths.results(profile)}")
    return paths.results(profile)


def _run_each(settings: Profile, names: Sequence[str], force: bool, say: Callable[[str], None], each: Each) -> None:
    profile, lacking = settings.name, []
    for name in names:
        path = paths.results(profile) / f"{name}.json"
        if not possible(name, settings):
            say(f"{name:<30} needs a vision-language model, which this island has not")
        elif not force and path.is_file() and not changed(Findings.read(path), name, settings):
            say(f"{name:<30} up to date")
            _publish(name, settings)
        else:
            lacking.append(name)
    lacking.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    for name, seconds in each(partial(_written, settings), lacking, say):
        if profile == PUBLISHED_PROFILE:
            _note_same_numbers(name, Findings.read(paths.results(profile) / f"{name}.json"))
        write_record(settings)
        _publish(name, settings)
        say(f"{name:<30} {seconds:6.1f} s")


def _written(settings: Profile, name: str) -> float:
    """Run one experiment and write its findings; the seconds it took."""
    keep_freed_memory()
    before = time.perf_counter()
    run_one(name, settings).write()
    return time.perf_counter() - before


def _publish(name: str, settings: Profile) -> None:
    path = paths.results(settings.name) / f"{name}.json"
    if settings.name == PUBLISHED_PROFILE:
        write_bytes(published(name), path.read_bytes())
    elif settings.island is not None and (decisive := Findings.read(path).decisive())["effects"]:
        small = canonical_json(decisive)  # a line for each number would be thrice as much
        write_bytes(published(name, settings.name), f"{small}\n".encode())


def run_one(name: str, profile: Profile) -> Findings:
    """Run one experiment; its findings are not written yet."""
    found = Findings(name, profile.name)
    for what, hash in _inputs(name, profile).items():
        found.input(what, hash)
    experiment(name).run(Workbench(profile), found)
    return found


def choose(prefixes: Sequence[str]) -> tuple[str, ...]:
    """The experiments that prefixes name: ``experiments`` names all, ``experiments/la`` those that begin with "la".

    Raises:
        UserError: a prefix fits none.
    """
    chosen: set[str] = set()
    for prefix in prefixes:
        start = prefix.removeprefix("experiments").removeprefix("/")
        fitting = [name for name in NAMES if name.startswith(start)]
        if not fitting:
            raise UserError(f"No experiment's name begins with {start!r}; the experiments are {', '.join(NAMES)}.")
        chosen.update(fitting)
    return tuple(name for name in NAMES if name in chosen)


def published(name: str, profile: str = PUBLISHED_PROFILE) -> Path:
    """The committed results of an experiment; of another island, what decides claims."""
    return paths.published_results() / profile / f"{name}.json"


def stale(name: str) -> list[str]:
    """Which of code, models and settings are no longer those that made the published results of an experiment."""
    return changed(Findings.read(published(name)), name, load_profile(PUBLISHED_PROFILE))


def changed(found: Findings, name: str, profile: Profile) -> list[str]:
    """Which inputs of some results are no longer those of today.

    Code that was seen to find the same on the published island counts as the same on every other one.
    """
    today = _inputs(name, profile)
    same = {today["code"]}
    for old, new in reversed(_same_numbers().get(name, ())) if profile.name != PUBLISHED_PROFILE else ():
        if new in same:
            same.add(old)
    code = found.inputs.get("code")
    then = {**found.inputs, "code": today["code"] if code in same else code}
    return [what for what, hash in today.items() if then.get(what) != hash]


def possible(name: str, profile: Profile) -> bool:
    """Whether a profile has the models that an experiment takes: not every island has one that speaks."""
    island = of_kind(profile.vlm)
    return not experiment(name).speaks or island is None or "llava" in island.trains or not island.name


def _note_same_numbers(name: str, found: Findings) -> None:
    """Keep it in mind if new code has found, to the last digit, what decides claims in the published results.

    An island's published results hold nothing else.
    """
    if not published(name).is_file():
        return
    before = Findings.read(published(name))
    old, new = ({**one.inputs, "code": ""} for one in (before, found))
    pair = [before.inputs.get("code"), found.inputs["code"]]
    if old == new and pair[0] != pair[1] and _numbers(before) == _numbers(found):
        known = _same_numbers()
        write_json(_same_file(), known | {name: [*known.get(name, ()), pair]})


def _numbers(found: Findings) -> dict[str, Any]:
    """All that decides claims, but for what a clock measured: no two runs are equally fast."""
    content = found.decisive()
    results = {name: row for name, row in content["results"].items() if not str(row["unit"]).endswith(TIMED)}
    return content | {"inputs": {}, "results": results}


def _same_file() -> Path:
    """For each experiment the pairs of code, old and new, that on the published island found what decides alike."""
    return paths.published_results() / "same_numbers.json"


def _same_numbers() -> dict[str, list[list[str]]]:
    return read_json(_same_file()) if _same_file().is_file() else {}


def _inputs(name: str, profile: Profile) -> dict[str, str]:
    code = code_hash(module(name), without=FOR_OTHERS)
    return {"code": code, "models": models_hash(profile), "settings": settings_hash(profile)}
