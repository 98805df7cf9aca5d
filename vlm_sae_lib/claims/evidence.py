"""All published results by name, for claims that rest on several files."""

from functools import cached_property
from pathlib import Path
from typing import Any

from vlm_sae_lib import paths
from vlm_sae_lib.claims.verdict import clearly_above, clearly_below, said
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.results import Results


class Evidence:
    """The results files of a folder (the published ones by default), read when asked for.

    A result is named ``<file>/<result>``, as in the book's prose: ``03_monosemanticity_score/ms_mean/…``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.published_results()

    @cached_property
    def files(self) -> dict[str, Results]:
        found = {path.stem: path for path in sorted(self.folder.rglob("*.json"))}
        return {name: Results.read(path) for name, path in found.items()}

    def find(self, name: str) -> tuple[Results, str]:
        """The file of a result and its name there; ``UserError`` if there is none."""
        file, _, result = name.partition("/")
        if file not in self.files or result not in self.files[file].results:
            raise UserError(f"There is no result {name!r} in {self.folder.name}; run what makes {file} first.")
        return self.files[file], result

    def value(self, name: str) -> Any:
        results, result = self.find(name)
        return results.value(result)

    def low(self, name: str) -> Any:
        """The lower end of a result's interval, None where it has none."""
        results, result = self.find(name)
        return results.results[result]["ci_low"]

    def high(self, name: str) -> Any:
        """The upper end of a result's interval, None where it has none."""
        results, result = self.find(name)
        return results.results[result]["ci_high"]

    def said(self, name: str, digits: int = 2) -> str:
        return said(*self.find(name), digits)

    def above(self, name: str, bar: float = 0.0) -> bool:
        """The whole interval lies above a bar."""
        return clearly_above(*self.find(name), bar)

    def below(self, name: str, bar: float = 0.0) -> bool:
        """The whole interval lies below a bar."""
        return clearly_below(*self.find(name), bar)
