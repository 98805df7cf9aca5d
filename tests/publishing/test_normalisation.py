"""Notebooks as they are read and normalised: no run leaves a trace but its outputs."""

import copy
import random

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output
from toy_notebooks import executed, toy_notebook

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing import notebooks


@pytest.fixture
def good():
    return executed(toy_notebook("01_toy", "print(2)", "print(3)"))


def with_widgets(seed: int) -> nbformat.NotebookNode:
    """An executed notebook with a slider, its layout, and a model that nothing shows, under random ids."""
    names = ("box", "slider", "layout", "stray")
    rng = random.Random(seed)
    ids = {name: f"{rng.getrandbits(128):032x}" for name in names}
    state = {
        ids["box"]: {"state": {"children": [f"IPY_MODEL_{ids['slider']}"], "layout": f"IPY_MODEL_{ids['layout']}"}},
        ids["slider"]: {"state": {"value": 3, "layout": f"IPY_MODEL_{ids['layout']}"}},
        ids["layout"]: {"state": {"width": None}},
        ids["stray"]: {"state": {"value": 9}},
    }
    notebook = executed(toy_notebook("01_toy", "box"))
    shown = new_output("display_data", data={notebooks.WIDGET_VIEW: {"model_id": ids["box"], "version_major": 2}})
    notebooks.code_cells(notebook)[1].outputs = [shown]
    keys = sorted(state)
    notebook.metadata["widgets"] = {notebooks.WIDGET_STATE: {"state": {key: state[key] for key in keys}}}
    return nbformat.from_dict(notebook)


def test_random_widget_ids_become_numbers_and_keep_their_meaning():
    one, other = (notebooks.normalised(with_widgets(seed)) for seed in (1, 2))
    assert notebooks.to_bytes(one) == notebooks.to_bytes(other)
    state = one.metadata.widgets[notebooks.WIDGET_STATE].state
    box = state[notebooks.code_cells(one)[1].outputs[0].data[notebooks.WIDGET_VIEW].model_id]
    assert state[box["state"]["children"][0].removeprefix("IPY_MODEL_")]["state"]["value"] == 3
    assert len(state) == 4


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
