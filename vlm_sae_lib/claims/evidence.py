"""The conclusions of all experiments, from the published results, for claims that rest on several of them."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.claims.verdict import Conclusion, Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings


class Evidence:
    """What a folder of experiments' results says (the published ones by default)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.published_results() / "pocket"

    def findings(self, experiment: str) -> Findings:
        return Findings.read(self.folder / f"{experiment}.json")

    def conclusions(self, experiment: str) -> list[Conclusion]:
        """What one experiment concludes."""
        return import_module(f"vlm_sae_lib.claims.{experiment}").conclude(self.findings(experiment))

    def conclusion(self, experiment: str, beginning: str) -> Conclusion:
        """The one conclusion of an experiment whose claim begins so; ``UserError`` for none or several."""
        every = self.conclusions(experiment)
        found = [one for one in every if one.claim.startswith(beginning)]
        if len(found) != 1:
            known = "; ".join(one.claim for one in every)
            raise UserError(f"{len(found)} conclusions of {experiment} begin with {beginning!r}; they are: {known}")
        return found[0]


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of several: what cannot be tested does not count unless nothing can."""
    tested = {verdict for verdict in verdicts if verdict is not Verdict.UNTESTED}
    if not tested:
        return Verdict.UNTESTED
    return tested.pop() if len(tested) == 1 else Verdict.IN_PART
