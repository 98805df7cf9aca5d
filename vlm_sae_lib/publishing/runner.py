"""The notebooks: run apart with papermill, published together once all of them have passed."""

import ast
import importlib.metadata
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash, file_hash, folder_hash, read_json, write_bytes, write_json
from vlm_sae_lib.overrides import held
from vlm_sae_lib.profiles import Profile, load_profile
from vlm_sae_lib.publishing import colab, notebooks
from vlm_sae_lib.records.made_by import write_record
from vlm_sae_lib.reserving import reserved
from vlm_sae_lib.taking_turns import Each, in_turn

PUBLISHED_PROFILE = "pocket"
CELL_SECONDS = 1800  # a published run's cell that takes longer hangs
KERNEL_ARGUMENTS = [
    "--IPKernelApp.log_level=50",  # a kernel warns about its transport each time; errors come as outputs
    "--IPKernelApp.exec_lines=import gc; gc.set_threshold(10_000)",  # to look through all of torch takes long
]
LONGEST = ("01_activation_collection", "05_llava_steering", "02_sae_training")
"""Which begin where several are run at once: the first collects what all others read."""
VERSIONS = ("torch", "numpy", "scipy", "pandas", "matplotlib", "transformers", "open_clip_torch")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ANNOTATIONS = {int: int, float: float, bool: bool, str: str, dict: dict[str, Any]}
"""What another value of a notebook's parameter may be, by the type of its own."""
KERNEL_ENVIRONMENT = {
    "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONHASHSEED": "0", "JUPYTER_PREFER_ENV_PATH": "1",
}  # fmt: skip


class NotebookFailed(UserError):
    """A notebook did not pass; the message is its traceback or what is wrong with it."""


@dataclass(frozen=True)
class Run:
    """What to run: a profile, the notebooks' prefixes (all when empty), and values for their parameters."""

    profile: str = PUBLISHED_PROFILE
    only: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)
    force: bool = False

    @property
    def published(self) -> bool:
        """Only what a reader gets by pressing "run all" is published."""
        return self.profile == PUBLISHED_PROFILE and not self.overrides

    def parameters(self, notebook: notebooks.NotebookNode) -> dict[str, Any]:
        """What papermill injects: nothing for a published run, because an injected cell stays and rules for ever."""
        if self.published:
            return {}
        known = notebooks.parameters(notebook)
        return {"profile": self.profile} | {k: v for k, v in self.overrides.items() if k in known}


def run(plan: Run, say: Callable[[str], None], each: Each = in_turn) -> Path:
    """Run the chosen notebooks and return the folder with the executed copies.

    A notebook whose inputs are those of its last run is skipped. The first failure raises ``NotebookFailed`` and
    leaves the published notebooks as they were. A notebook that another process runs is a UserError, which says which.
    ``each`` says who runs them: in turn they keep their order, else those that take longest begin. What two of them
    need, the first makes, and the other waits for it and loads it.
    """
    chosen = choose(plan)
    sources = {path.stem: _source(path.stem) for path in chosen}
    _check_overrides(plan, sources)
    folder = paths.runs(plan.profile) / "notebooks"
    started = time.perf_counter()
    with ExitStack() as mine:
        for name in sources:
            mine.enter_context(reserved(folder / f"{name}.ipynb"))
        lacking = []
        for name, source in sources.items():
            if not plan.force and (seconds := _seconds_of_same_run(plan, name, source)) is not None:
                say(f"{name:<30} up to date ({seconds:.1f} s when it ran)")
            else:
                lacking.append(name)
        if each is not in_turn:
            lacking.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
        for name, seconds in each(partial(_execute, plan), lacking, say):
            write_record(_profile_of(plan))  # at once: what is made after a break may be made on another machine
            say(f"{name:<30} {seconds:6.1f} s")
        write_record(_profile_of(plan))
        if plan.published:
            publish(list(sources))
    say(f"{len(sources)} notebooks in {time.perf_counter() - started:.1f} s: {folder}")
    return folder


def choose(plan: Run) -> list[Path]:
    """The notebooks of the plan, in the order of their numbers; ``UserError`` for a prefix that fits none."""
    found = sorted(paths.notebooks().glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise UserError(f"There is no notebook in {paths.notebooks()}: run this from a full checkout of the project.")
    for prefix in plan.only:
        if not any(path.name.startswith(prefix) for path in found):
            names = ", ".join(path.stem for path in found)
            raise UserError(f"No notebook's name begins with {prefix!r}; the notebooks are {names}.")
    return [path for path in found if not plan.only or path.name.startswith(plan.only)]


def publish(names: Sequence[str]) -> None:
    """Put the outputs of the last runs, and their results, in the place of the published ones.

    Nothing is written unless every notebook is fit to be published; ``NotebookFailed`` says what is wrong.
    """
    scratch = paths.runs(PUBLISHED_PROFILE) / "notebooks"
    ready, faults = {}, []
    for name in names:
        source, executed = _source(name), notebooks.read(scratch / f"{name}.ipynb")
        try:
            ready[name] = notebooks.normalised(notebooks.grafted(source, executed))
            faults += [f"{name}: {problem}" for problem in notebooks.problems(ready[name])]
        except ValueError as error:
            faults.append(f"{name}: {error}")
        if not _results(name).exists():
            faults.append(f"{name}: it wrote no {_results(name)}")
    if faults:
        raise NotebookFailed("Not published:\n  " + "\n  ".join(faults))
    for name, notebook in ready.items():
        notebooks.write(paths.notebooks() / f"{name}.ipynb", notebook)
        write_bytes(paths.published_results() / f"{name}.json", _results(name).read_bytes())


def inputs(plan: Run, source: notebooks.NotebookNode) -> dict[str, Any]:
    """What a notebook's outcome depends on: its cells, parameters, the library's code, the data, the versions."""
    return {
        "cells": notebooks.source_hash(source),
        "parameters": plan.parameters(source),
        "library": library_hash(),
        "data": {part.name: folder_hash(part) for part in (paths.pocket(), paths.published())},
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }


def library_hash() -> str:
    """Hash of the library's code."""
    return folder_hash(paths.PACKAGE, ("*.py", "*.js", "*.css", "*.html"))


def _source(name: str) -> notebooks.NotebookNode:
    """A notebook as it is in the checkout, with the badge and first cell of today's repository."""
    return colab.headed(notebooks.read(paths.notebooks() / f"{name}.ipynb"), name, colab.Repository.read())


def _check_overrides(plan: Run, sources: dict[str, notebooks.NotebookNode]) -> None:
    """Refuse what the notebooks would, before one of them is started: they give it to ``load_profile``."""
    if "profile" in plan.overrides:
        raise UserError("The profile is chosen with --profile, not with --set.")
    known = {name: text for source in sources.values() for name, text in notebooks.parameters(source).items()}
    known.pop("profile", None)
    for name, value in plan.overrides.items():
        if name not in known:
            raise UserError(
                f"No chosen notebook has a parameter {name!r}; they have {', '.join(sorted(known)) or 'none'}."
            )
        if (annotation := _annotation_of(known[name])) is not None:
            held(name, value, annotation)
    changes = plan.overrides.get("changes", {})
    if {"name", "seed"} & set(changes):
        raise UserError("The name of a run is chosen with --profile, its seed with --set seed=…, neither in changes.")
    _profile_of(plan)


def _profile_of(plan: Run) -> Profile:
    """The settings that the notebooks of a plan will have; ``UserError`` for what cannot be."""
    seed = {k: v for k, v in plan.overrides.items() if k == "seed"}
    return load_profile(plan.profile, **plan.overrides.get("changes", {}), **seed)


def _annotation_of(source: str) -> Any:
    """What may take the place of a parameter's value; None where that is computed, or of a type not checked here."""
    with suppress(ValueError):
        return ANNOTATIONS.get(type(ast.literal_eval(source)))
    return None


def _execute(plan: Run, name: str) -> float:
    """Run one notebook into the scratch folder and return the seconds it took."""
    from papermill import PapermillExecutionError, execute_notebook

    source = _source(name)
    folder = paths.runs(plan.profile) / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    output, record = folder / f"{name}.ipynb", folder / f"{name}.made.json"
    record.unlink(missing_ok=True)
    (paths.results(plan.profile) / f"{name}.json").unlink(missing_ok=True)  # an older run's may not pass for this one's
    made_from = inputs(plan, source)
    started, computed = time.perf_counter(), _of_children()
    try:
        with _kernel_environment(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            execute_notebook(
                notebooks.stripped(source),
                output,
                parameters=plan.parameters(source),
                kernel_name=notebooks.KERNEL["name"],
                progress_bar=sys.stderr.isatty(),
                cwd=paths.notebooks(),
                extra_arguments=KERNEL_ARGUMENTS,
                shutdown_kernel="immediate",  # nothing is left to it, and to take down what torch holds takes seconds
                execution_timeout=CELL_SECONDS if plan.profile == PUBLISHED_PROFILE else None,
            )
    except PapermillExecutionError as error:
        seconds = time.perf_counter() - started
        told = COLOURS.sub("", str(error)).strip()
        raise NotebookFailed(f"{told}\n{name} failed after {seconds:.1f} s; as far as it came: {output}") from error
    except (RuntimeError, TimeoutError) as error:  # a kernel that died, a cell that hangs
        raise NotebookFailed(f"{name}: {error}\nas far as it came: {output}") from error
    seconds = time.perf_counter() - started
    taken = {"seconds": round(seconds, 1), "processor_seconds": round(_of_children() - computed, 1)}
    write_json(record, {"inputs": made_from, "output": file_hash(output), **taken})
    return seconds


def _of_children() -> float:
    """Processor time of the kernels that have ended: beside others a notebook also waits for what they make."""
    times = os.times()
    return times.children_user + times.children_system


def _seconds_of_same_run(plan: Run, name: str, source: notebooks.NotebookNode) -> float | None:
    """How long the last run took if it was from the same inputs and what it made is still there."""
    folder = paths.runs(plan.profile) / "notebooks"
    output, record = folder / f"{name}.ipynb", folder / f"{name}.made.json"
    if not (record.exists() and output.exists() and (paths.results(plan.profile) / f"{name}.json").exists()):
        return None
    made = read_json(record)
    same = content_hash(made["inputs"]) == content_hash(inputs(plan, source)) and made["output"] == file_hash(output)
    return made["seconds"] if same else None


def _results(name: str) -> Path:
    return paths.results(PUBLISHED_PROFILE) / f"{name}.json"


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """The kernels' environment: no progress bars, and this very library wherever Jupyter starts them."""
    before = dict(os.environ)
    library = [str(paths.PACKAGE.parent), *filter(None, [before.get("PYTHONPATH")])]
    os.environ.update(KERNEL_ENVIRONMENT, PYTHONPATH=os.pathsep.join(library))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
