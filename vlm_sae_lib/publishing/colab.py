"""A notebook opened alone, as on Colab: the badge and first cell that each carries, and what that cell starts.

Colab opens the one file and nothing else. The first cell fetches the repository and runs this module there, which adds
the packages that Colab lacks and never replaces one that it has: a torch without its GPU build is worse than none. So
nothing is imported here on top that might have to be added first.

    python -m vlm_sae_lib.publishing.colab
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing.installing import add_what_is_missing

if TYPE_CHECKING:
    from nbformat import NotebookNode

TAG = "colab"
REQUIREMENTS = "requirements-colab.txt"
SETUP = """\
# On Colab this fetches the library and what Colab lacks. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    import os
    import subprocess

    if not os.path.isdir("companion"):
        address = os.environ.get("COMPANION_REPO_URL", "{url}")
        subprocess.run(["git", "clone", "-q", "--depth", "1", "-b", "{branch}", address, "companion"], check=True)
    if subprocess.run([sys.executable, "-m", "vlm_sae_lib.publishing.colab"], cwd="companion").returncode:
        raise SystemExit("What is missing here was not installed; the reason stands above.")
    sys.path.insert(0, os.path.abspath("companion"))
    os.chdir("companion/notebooks")"""


@dataclass(frozen=True)
class Repository:
    """Where the project is public: the one place that says so is ``_config.yml``."""

    url: str
    branch: str

    @classmethod
    def read(cls) -> "Repository":
        """``UserError`` where ``_config.yml`` names none."""
        import yaml

        try:
            entry = yaml.safe_load((paths.root() / "_config.yml").read_text(encoding="utf-8"))["repository"]
            return cls(entry["url"].rstrip("/"), entry["branch"])
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{paths.root() / '_config.yml'} names no repository with url and branch.") from error

    def colab(self, notebook: str) -> str:
        """The address that opens a notebook on Colab."""
        return f"https://colab.research.google.com/github/{self.slug}/blob/{self.branch}/notebooks/{notebook}.ipynb"

    def page(self, path: str) -> str:
        """The address that shows a file of the repository."""
        return f"{self.url}/blob/{self.branch}/{path}"

    @property
    def slug(self) -> str:
        """``owner/name``."""
        return "/".join(self.url.split("/")[-2:])


def headed(notebook: "NotebookNode", name: str, repository: Repository) -> "NotebookNode":
    """The notebook with today's badge and first cell in their places, right below its title."""
    from nbformat.v4 import new_code_cell, new_markdown_cell

    cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    badge = f"[![Open in Colab](../book/images/open_in_colab.svg)]({repository.colab(name)})"
    setup = SETUP.format(url=repository.url, branch=repository.branch)
    head = [new_markdown_cell(badge), new_code_cell(setup)]
    for cell, tags in zip(head, ([TAG], [TAG, "hide-input"]), strict=True):
        cell.metadata["tags"] = tags
    notebook.cells = [*cells[:1], *head, *cells[1:]]
    return notebook


def main() -> int:
    try:
        add_what_is_missing(paths.root() / REQUIREMENTS)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
