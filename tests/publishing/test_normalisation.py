"""Notebooks as they are read and normalised: no run leaves a trace but its outputs."""

import copy

import pytest
from nbformat.v4 import new_code_cell, new_output
from toy_notebooks import executed, toy_notebook

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing import notebooks


@pytest.fixture
def good():
    return executed(toy_notebook("01_toy", "print(2)", "print(3)"))


def test_no_widget_is_published_and_its_cell_keeps_its_text(good):
    """Their ids are random and no page has a kernel: what is left is what a reader without widgets gets."""
    cell = notebooks.code_cells(good)[1]
    cell.outputs = [new_output("display_data", data={notebooks.WIDGET_VIEW: {"model_id": "ab"}, "text/plain": "a box"})]
    good.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"ab": {}}}}
    clean = notebooks.normalised(good)
    assert "widgets" not in clean.metadata
    assert notebooks.code_cells(clean)[1].outputs[0].data == {"text/plain": "a box"}


def test_what_a_run_leaves_behind_is_taken_out(good):
    noisy = copy.deepcopy(good)
    noisy.metadata["papermill"] = {"start_time": "now"}
    noisy.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    for number, cell in enumerate(noisy.cells):
        cell.id = f"random-{number}"
        cell.metadata["papermill"] = {"duration": 1.5}
        cell.metadata["execution"] = {"iopub.status.busy": "now"}
    clean = notebooks.normalised(noisy)
    good.metadata["language_info"] = {"name": "python"}
    assert notebooks.to_bytes(clean) == notebooks.to_bytes(notebooks.normalised(good))


def test_pieces_of_a_stream_are_one(good):
    cell = notebooks.code_cells(good)[1]
    cell.outputs = [new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    cell.outputs.append(new_output("display_data", data={"text/plain": "shown"}))
    cell.outputs.append(new_output("stream", name="stdout", text="c\n"))
    merged = notebooks.code_cells(notebooks.normalised(good))[1].outputs
    assert [output.get("text") for output in merged] == ["a\nb\n", None, "c\n"]


def test_a_new_cell_leaves_the_ids_of_the_others_alone(good):
    longer = copy.deepcopy(good)
    longer.cells.insert(2, new_code_cell("print('new')", execution_count=1))
    before = {cell.id for cell in good.cells}
    after = [cell.id for cell in notebooks.normalised(longer).cells]
    assert before < set(after) and len(set(after)) == len(after)


def test_source_hash_sees_code_and_tags_but_neither_prose_nor_outputs(good):
    other = copy.deepcopy(good)
    other.cells[0].source = "# Another title"
    notebooks.code_cells(other)[1].outputs = []
    assert notebooks.source_hash(other) == notebooks.source_hash(good)
    notebooks.code_cells(other)[1].source += "\n"
    assert notebooks.source_hash(other) != notebooks.source_hash(good)


def test_parameters_are_read_with_their_values():
    notebook = toy_notebook("01_toy", "later = 5", parameters="profile = 'pocket'\nsteps: int = 10\nprint(steps)")
    assert notebooks.parameters(notebook) == {"profile": "'pocket'", "steps": "10"}


def test_a_file_that_is_no_notebook_is_told(tmp_path):
    (tmp_path / "broken.ipynb").write_text("no json")
    with pytest.raises(UserError, match="broken.ipynb is not a Jupyter notebook"):
        notebooks.read(tmp_path / "broken.ipynb")
