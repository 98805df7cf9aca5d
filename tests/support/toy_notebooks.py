"""A checkout in miniature with tiny notebooks, for the tests of the runner and of the notebooks' gates."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from vlm_sae_lib.publishing import notebooks

CONFIG = "repository:\n  url: https://github.com/somebody/a-book\n  branch: main\n"
PARAMETERS = 'profile = "pocket"\nseed = 3'
RESULTS = """from vlm_sae_lib import paths
from vlm_sae_lib.files import write_json
write_json(paths.results(profile) / "{name}.json", {{"profile": profile, "seed": seed}})"""


def toy_notebook(name: str, *sources: str, parameters: str = PARAMETERS) -> NotebookNode:
    """A notebook with a parameters cell, the given code cells, and a last cell that writes the results."""
    cells = [new_markdown_cell(f"# {name}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for source in (*sources, RESULTS.format(name=name)):
        cells += [new_markdown_cell("Prose."), new_code_cell(source)]
    notebook = new_notebook(cells=[*cells, new_markdown_cell("The end.")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "anything", "language": "python"}
    return notebook


def executed(notebook: NotebookNode) -> NotebookNode:
    """As if it had been run: counts, and one printed line per cell."""
    for count, cell in enumerate(notebooks.code_cells(notebook), start=1):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text=f"{count}\n")]
    return notebooks.normalised(notebook)


def write_checkout(root: Path, books: dict[str, NotebookNode]) -> Path:
    """Write the notebooks into ``root/notebooks``; point ``VLM_SAE_ROOT`` at ``root`` to run them."""
    (root / "notebooks").mkdir(parents=True)
    (root / "_config.yml").write_text(CONFIG)
    for name, notebook in books.items():
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    return root
