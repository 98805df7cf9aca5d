"""A notebook opened alone, as on Colab: the badge and first cell that each carries, and what that cell starts.

Colab opens the one file and nothing else. The first cell fetches the repository and runs this module there, which adds
the packages that Colab lacks and never replaces one that it has: a torch without its GPU build is worse than none.

    python -m vlm_sae_lib.colab
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError

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
    subprocess.run([sys.executable, "-m", "vlm_sae_lib.colab"], cwd="companion", check=True)
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
        try:
            entry = yaml.safe_load((paths.root() / "_config.yml").read_text(encoding="utf-8"))["repository"]
            return cls(entry["url"].rstrip("/"), entry["branch"])
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{paths.root() / '_config.yml'} names no repository with url and branch.") from error

    def colab(self, notebook: str) -> str:
        """The address that opens a notebook on Colab."""
        return f"https://colab.research.google.com/github/{self.slug}/blob/{self.branch}/notebooks/{notebook}.ipynb"

    @property
    def slug(self) -> str:
        """``owner/name``."""
        return "/".join(self.url.split("/")[-2:])


def headed(notebook: NotebookNode, name: str, repository: Repository) -> NotebookNode:
    """The notebook with today's badge and first cell in their places, right below its title."""
    cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    badge = f"[![Open in Colab](../book/images/open_in_colab.svg)]({repository.colab(name)})"
    setup = SETUP.format(url=repository.url, branch=repository.branch)
    head = [new_markdown_cell(badge), new_code_cell(setup)]
    for cell, tags in zip(head, ([TAG], [TAG, "hide-input"]), strict=True):
        cell.metadata["tags"] = tags
    notebook.cells = [*cells[:1], *head, *cells[1:]]
    return notebook


def add_what_is_missing(requirements: Path) -> None:
    """Install what some requirements name and this environment lacks, everything that is installed held where it is.

    Raises:
        UserError: a requirement cannot be met without replacing an installed package.
    """
    held = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions() if d.metadata["Name"]})
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("\n".join(held) + "\n")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "-c", str(constraints), "-r", str(requirements)], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise UserError(f"What {requirements.name} asks for cannot be added to what is installed here: {reason}")


def main() -> int:
    try:
        add_what_is_missing(paths.root() / REQUIREMENTS)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
