"""Where verdicts and observations get their numbers: a folder of experiments' results."""

from importlib import import_module
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.claims.verdict import Observation
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH, Effect


class Evidence:
    """What a folder of experiments' results says (the published ones by default)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.published_results() / "pocket"
        self._read: dict[str, Findings] = {}

    def has(self, experiment: str) -> bool:
        """Whether there are results of an experiment."""
        return (self.folder / f"{experiment}.json").is_file()

    def findings(self, experiment: str) -> Findings:
        if experiment not in self._read:
            self._read[experiment] = Findings.read(self.folder / f"{experiment}.json")
        return self._read[experiment]

    def effects(self, experiment: str, name: str, ending: str = "") -> dict[str, Effect]:
        """The effect of that name, or all that begin so where it ends in ``*``, by name; with ``ending`` after it.

        Args:
            ending: ``ENOUGH`` for the second population; the first one's names do not end so.
        """
        found = self.findings(experiment).effects
        if not name.endswith("*"):
            return {name + ending: found[name + ending]} if name + ending in found else {}
        bare = [key for key in found if key.startswith(name.removesuffix("*")) and not key.endswith(ENOUGH)]
        return {key + ending: found[key + ending] for key in bare if key + ending in found}

    def observations(self, experiment: str) -> list[Observation]:
        """What one experiment says beside the plan."""
        return import_module(f"vlm_sae_lib.claims.{experiment}").observe(self.findings(experiment))
