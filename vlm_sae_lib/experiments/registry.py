"""The experiments by name, in the order in which the book tells them."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.workbench import Workbench

NAMES = (
    "layers",
    "towers",
    "sparsity",
    "uniqueness",
    "agreement",
    "hierarchy",
    "similarity",
    "diff_mean",
    "captioning",
    "monoloss",
    "origins",
    "factors",
    "naming",
)


@dataclass(frozen=True)
class Experiment:
    """One experiment: what it asks, what of the paper it stands beside, and how it is run.

    Attributes:
        name: of its module, and of its results file.
        title: a heading.
        question: one sentence.
        paper: the paper's tables and figures that it stands beside; empty where there are none.
        run: fills the findings.
        speaks: whether it takes a vision-language model, which not every island has.
    """

    name: str
    title: str
    question: str
    paper: str
    run: Callable[[Workbench, Findings], None]
    speaks: bool = False


def module(name: str) -> str:
    """The module of an experiment."""
    return f"vlm_sae_lib.experiments.{name}"


def experiment(name: str) -> Experiment:
    """The experiment of that name; ``KeyError`` if there is none."""
    if name not in NAMES:
        raise KeyError(name)
    return import_module(module(name)).EXPERIMENT
