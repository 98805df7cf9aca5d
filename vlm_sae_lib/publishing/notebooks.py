"""What a published notebook is: read, stripped for a run, normalised after it, and checked.

A notebook that was run twice on one machine must be the same file twice, so whatever a run leaves behind that is no
result (timings, random ids, a patch version) is taken out or renumbered here. The seconds that its last cell tells are
the one exception: they are asked for, and differ.
"""

import ast
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash, write_bytes
from vlm_sae_lib.publishing import colab
from vlm_sae_lib.terms import PUBLISHABLE

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
INJECTED_TAGS = {"injected-parameters", "papermill-error-cell-tag"}
RUN_METADATA = ("papermill", "execution", "ExecuteTime")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MEMORY_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


def read(path: str | Path) -> NotebookNode:
    """A notebook in format 4.5; ``UserError`` if the file is none."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a Jupyter notebook: {str(error).splitlines()[0][:120]}.") from error
    notebook.nbformat_minor = 5
    return notebook


def to_bytes(notebook: NotebookNode) -> bytes:
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()


def write(path: str | Path, notebook: NotebookNode) -> None:
    write_bytes(path, to_bytes(notebook))


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that hold any code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def parameters(notebook: NotebookNode) -> dict[str, str]:
    """The names that the cell tagged ``parameters`` assigns, each with the source of its value."""
    found: dict[str, str] = {}
    for cell in code_cells(notebook):
        if "parameters" not in tags(cell):
            continue
        for statement in ast.parse(cell.source).body:
            if isinstance(statement, ast.Assign):
                targets, value = statement.targets, statement.value
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                targets, value = [statement.target], statement.value
            else:
                continue
            found.update({t.id: ast.unparse(value) for t in targets if isinstance(t, ast.Name)})
    return found


def source_hash(notebook: NotebookNode) -> str:
    """Hash of what a run executes: the code cells and their tags, in order; neither prose nor outputs.

    The first cell, which does nothing but on Colab, does not count: a fork's other address changes no result.
    """
    cells = [c for c in code_cells(notebook) if not {*INJECTED_TAGS, colab.TAG} & set(tags(c))]
    return content_hash([[cell.source, tags(cell)] for cell in cells])


def stripped(notebook: NotebookNode) -> NotebookNode:
    """A copy without outputs, and without the cells that an earlier run put in.

    Papermill obeys an injected cell that it finds, even where no parameter is passed: it must not find one.
    """
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if not INJECTED_TAGS & set(tags(cell))]
    copy.metadata = NotebookNode({k: v for k, v in copy.metadata.items() if k not in ("widgets", *RUN_METADATA)})
    copy.metadata.kernelspec = NotebookNode(KERNEL)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def grafted(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The source notebook with the outputs of a run of its code: prose may have changed since, code may not.

    Raises:
        ValueError: the code differs.
    """
    if source_hash(source) != source_hash(executed):
        raise ValueError("its code has changed since it was run")
    copy = stripped(source)
    if "language_info" in executed.metadata:
        copy.metadata["language_info"] = executed.metadata["language_info"]
    ran = [cell for cell in code_cells(executed) if not INJECTED_TAGS & set(tags(cell))]
    for cell, made in zip(code_cells(copy), ran, strict=True):
        cell.outputs, cell.execution_count = made.outputs, made.execution_count
    return copy


def normalised(notebook: NotebookNode) -> NotebookNode:
    """A copy of an executed notebook without anything that differs between two equal runs.

    Widgets go too: their ids are random, and no page has a kernel behind it.
    """
    copy = nbformat.from_dict(notebook)
    for key in ("widgets", *RUN_METADATA):
        copy.metadata.pop(key, None)
    copy.metadata.kernelspec = NotebookNode(KERNEL)
    copy.metadata.get("language_info", {}).pop("version", None)
    seen: dict[str, int] = {}
    count = 0
    for cell in copy.cells:
        cell.id = _cell_id(cell, seen)
        for key in RUN_METADATA:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        cell.outputs = _merged_streams(cell.outputs)
        for output in cell.outputs:
            output.get("metadata", {}).pop(PUBLISHABLE, None)
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if "execution_count" in output:
                output.execution_count = cell.execution_count
    return copy


def problems(notebook: NotebookNode) -> list[str]:
    """Why a notebook may not be published, one sentence each; none when it may."""
    found = []
    if (tagged := sum("parameters" in tags(cell) for cell in notebook.cells)) != 1:
        found.append(f"{tagged} cells are tagged 'parameters' where one must be")
    if notebook.metadata.get("kernelspec", {}).get("name") != KERNEL["name"]:
        found.append(f"its kernel is not named {KERNEL['name']}")
    if "papermill" in notebook.metadata:
        found.append("it still holds papermill's record of a run")
    for number, cell in enumerate(notebook.cells):
        if INJECTED_TAGS & set(tags(cell)):
            found.append(f"cell {number} was put in by papermill")
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if cell.execution_count is None:
            found.append(f"cell {number} was not run")
        found += [f"cell {number} {fault}" for fault in _output_faults(cell)]
    return found


def _output_faults(cell: NotebookNode) -> set[str]:
    faults = set()
    for output in cell.outputs:
        if output.output_type == "error":
            faults.add(f"ended in an error ({output.ename})")
        elif output.output_type == "stream" and output.name == "stderr":
            faults.add(f"wrote to stderr ({output.text.strip().splitlines()[0][:80]})")
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if MEMORY_ADDRESS.search(text):
            faults.add("shows a memory address, which no two runs share")
    return faults


def _cell_id(cell: NotebookNode, seen: dict[str, int]) -> str:
    """An id made of the cell's content, so that a new cell leaves the others' ids alone."""
    key = content_hash([cell.cell_type, cell.source])[:12]
    seen[key] = seen.get(key, 0) + 1
    return key if seen[key] == 1 else f"{key}-{seen[key]}"


def _merged_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """How often a kernel flushes is a matter of timing: neighbouring pieces of one stream become one."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output.output_type == "stream" and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged
