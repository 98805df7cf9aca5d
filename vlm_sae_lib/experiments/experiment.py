"""What an experiment is. It knows no list of them, so that a new one leaves the results of the others as they are."""

from collections.abc import Callable
from dataclasses import dataclass

from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.workbench import Workbench


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
