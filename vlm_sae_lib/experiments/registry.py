"""The experiments by name, in the order in which the book tells them."""

from importlib import import_module

from vlm_sae_lib.experiments.experiment import Experiment

NAMES = (
    "layers",
    "towers",
    "sparsity",
    "uniqueness",
    "agreement",
    "hierarchy",
    "similarity",
    "diff_mean",
    "keeping_the_rest",
    "captioning",
    "monoloss",
    "origins",
    "factors",
    "naming",
    "probing",
    "recovery",
)

LONGEST = ("layers", "origins", "monoloss", "keeping_the_rest", "sparsity", "diff_mean", "towers", "similarity")
"""Those that take longest begin, so that at the end no process waits for another one."""


def module(name: str) -> str:
    """The module of an experiment."""
    return f"vlm_sae_lib.experiments.{name}"


def experiment(name: str) -> Experiment:
    """The experiment of that name; ``KeyError`` if there is none."""
    if name not in NAMES:
        raise KeyError(name)
    return import_module(module(name)).EXPERIMENT
