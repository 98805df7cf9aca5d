"""The gates that the five published notebooks must pass.

nbval compares outputs, but finds nothing wrong with a notebook that was never run. The gates close that door.
"""

import ast
import copy
import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_output
from toy_notebooks import executed, toy_notebook

from vlm_sae_lib import paths
from vlm_sae_lib.publishing import notebooks

NAMES = (
    "01_activation_collection",
    "02_sae_training",
    "03_monosemanticity_score",
    "04_taxonomy_alignment",
    "05_llava_steering",
)
MAX_LINES = 15
MIN_CHECKED = 5
UNCHECKED_TAGS = {"nbval-ignore-output", "nbval-skip"}
IMAGES = ("image/png", "image/svg+xml")
WIDTH = 80  # letters, which the book's column holds
TEXTS = ("text/plain", "text/html", "text/markdown")

each_notebook = pytest.mark.parametrize("name", NAMES)


def published(name: str) -> nbformat.NotebookNode:
    path = paths.notebooks() / f"{name}.ipynb"
    assert path.exists(), f"{path} is missing: it is one of the five that the book consists of"
    return notebooks.read(path)


def is_checked(cell) -> bool:
    """Whether nbval compares any text of the cell's output."""
    if UNCHECKED_TAGS & set(notebooks.tags(cell)):
        return False
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream" and output.text.strip():
            return True
        if notebooks.WIDGET_VIEW not in data and any("".join(data.get(kind, "")).strip() for kind in TEXTS):
            return True
    return False


def figures_without_alt(notebook) -> list[int]:
    """The cells that show an image without an alternative text for the book."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and any(set(IMAGES) & set(output.get("data", {})) for output in cell.outputs)
        and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip()
    ]


def definitions(notebook) -> list[str]:
    """Functions, classes and named lambdas: they belong into the library, where they are tested."""
    found = []
    for cell in notebooks.code_cells(notebook):
        code = "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!")))
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.append(node.name)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
                found.append(ast.unparse(node.targets[0]))
    return found


# The published notebooks


def test_there_are_the_five_and_no_other():
    assert sorted(path.stem for path in paths.notebooks().glob("*.ipynb")) == list(NAMES)


@each_notebook
def test_published_notebook_was_run_without_a_fault(name):
    assert notebooks.problems(published(name)) == []


@each_notebook
def test_published_notebook_is_normalised(name):
    notebook = published(name)
    assert notebooks.to_bytes(notebooks.normalised(notebook)) == (paths.notebooks() / f"{name}.ipynb").read_bytes()


@each_notebook
def test_enough_outputs_are_compared(name):
    checked = sum(map(is_checked, notebooks.code_cells(published(name))))
    assert checked >= MIN_CHECKED, f"only {checked} cells have a text output that nbval compares"


@each_notebook
def test_parameters_begin_with_the_profile(name):
    values = notebooks.parameters(published(name))
    assert next(iter(values)) == "profile" and values["profile"] == "'pocket'"


@each_notebook
def test_cells_are_short_and_define_nothing(name):
    notebook = published(name)
    lengths = [len(cell.source.splitlines()) for cell in notebooks.code_cells(notebook)]
    assert max(lengths) <= MAX_LINES
    assert definitions(notebook) == []


@each_notebook
def test_code_fits_its_column_and_fills_no_results_by_hand(name):
    cells = [cell for cell in notebooks.code_cells(published(name)) if "colab" not in notebooks.tags(cell)]
    assert [line for cell in cells for line in cell.source.splitlines() if len(line) > WIDTH] == []
    assert [cell.source for cell in cells if "results.add(" in cell.source] == []


@each_notebook
def test_every_figure_is_drawn_for_the_page_and_says_what_it_shows(name):
    """No raster where lines do; a title for each; no bare table of pandas, which cuts its cells; no raw Markdown."""
    for cell in notebooks.code_cells(published(name)):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data or "image/svg+xml" in data:
                assert "image/svg+xml" in data and output["metadata"]["figure"]["title"].endswith("."), cell.source
            assert '<table border="1"' not in data.get("text/html", ""), cell.source
            assert "|:--" not in data.get("text/markdown", ""), cell.source
            assert output.output_type != "stream", cell.source


@each_notebook
def test_prose_outnumbers_code(name):
    notebook = published(name)
    prose = sum(cell.cell_type == "markdown" for cell in notebook.cells)
    assert prose > len(notebooks.code_cells(notebook))


@each_notebook
def test_every_figure_has_an_alternative_text(name):
    assert figures_without_alt(published(name)) == []


@each_notebook
def test_the_last_cell_wrote_the_published_results(name):
    last = notebooks.code_cells(published(name))[-1]
    assert "write" in last.source and UNCHECKED_TAGS.isdisjoint(notebooks.tags(last))
    assert (paths.published_results() / f"{name}.json").exists()


# The gates themselves, on notebooks with one fault each


@pytest.fixture
def good():
    return executed(toy_notebook("01_toy", "print(2)", "print(3)"))


def test_a_good_notebook_has_no_problem(good):
    assert notebooks.problems(good) == []


def spoil_count(cell):
    cell.execution_count = None


def spoil_error(cell):
    cell.outputs.append(new_output("error", ename="ValueError", evalue="", traceback=[]))


def spoil_stderr(cell):
    cell.outputs.append(new_output("stream", name="stderr", text="a warning"))


def spoil_address(cell):
    cell.outputs.append(new_output("stream", name="stdout", text="<Thing at 0x7f3a5c001d30>"))


def spoil_tag(cell):
    cell.metadata["tags"] = ["injected-parameters"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_count, "was not run"),
        (spoil_error, "ended in an error"),
        (spoil_stderr, "wrote to stderr"),
        (spoil_address, "memory address"),
        (spoil_tag, "put in by papermill"),
    ],
)
def test_each_fault_of_a_cell_is_found(good, spoil, words):
    spoil(notebooks.code_cells(good)[1])
    assert [problem for problem in notebooks.problems(good) if words in problem]


def test_each_fault_of_a_notebook_is_found(good):
    for spoil, words in (
        (lambda n: n.cells[1].metadata.pop("tags"), "0 cells are tagged"),
        (lambda n: n.cells[3].metadata.update(tags=["parameters"]), "2 cells are tagged"),
        (lambda n: n.metadata.update(papermill={}), "papermill's record"),
        (lambda n: n.metadata.pop("kernelspec"), "kernel"),
    ):
        bad = copy.deepcopy(good)
        spoil(bad)
        assert [problem for problem in notebooks.problems(bad) if words in problem], words


def test_gates_see_definitions_figures_and_unchecked_outputs(good):
    source = "def f(): ...\nclass C: ...\ng = lambda: 1\n%matplotlib inline"
    assert definitions(toy_notebook("01_toy", source)) == ["f", "C", "g"]
    cell = notebooks.code_cells(good)[1]
    assert is_checked(cell)
    cell.metadata["tags"] = ["nbval-ignore-output"]
    assert not is_checked(cell)
    cell.outputs = [new_output("display_data", data={"image/png": "aGVsbG8="})]
    cell.metadata["tags"] = []
    assert not is_checked(cell)
    assert len(figures_without_alt(good)) == 1
    cell.metadata["mystnb"] = {"image": {"alt": "a curve"}}
    assert figures_without_alt(good) == []


# nbval itself: one changed number must be seen


def nbval(path) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", str(paths.PACKAGE.parent / "tests" / "nbval_sanitize.cfg"), path.name]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    environment["PYTHONPATH"] = str(paths.PACKAGE.parent)
    return subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, timeout=280).returncode


def test_one_changed_number_turns_nbval_red(tmp_path):
    path = tmp_path / "toy.ipynb"
    notebook = toy_notebook("01_toy", "print(f'score {1 / 3:.2f}')", "print('/somewhere/else/notebooks/x took 12.3 s')")
    for cell in notebook.cells[-2:]:
        notebook.cells.remove(cell)  # the results cell has no place to write to here
    for count, (cell, text) in enumerate(zip(notebooks.code_cells(notebook), ("", "score 0.33\n", ""), strict=True), 1):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text=text)] if text else []
    notebooks.code_cells(notebook)[2].outputs = [
        new_output("stream", name="stdout", text="/home/a/repo/notebooks/x took 0.4 s\n")
    ]
    nbformat.write(notebook, path)
    assert nbval(path) == 0
    path.write_text(path.read_text().replace("score 0.33", "score 0.34"))
    assert nbval(path) == 1
