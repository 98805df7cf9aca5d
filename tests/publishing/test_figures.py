"""Figures of a notebook on its page: numbered, in the page or beside it, with their data and the way to their code."""

import nbformat
import pytest
from nbformat.v4 import new_output
from toy_notebooks import toy_notebook

from vlm_sae_lib.publishing import figures, notebooks

PLOT = '<svg width="600" height="300"><path/></svg>'
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
PLATE = f'<svg width="600" height="300"><image xlink:href="data:image/png;base64,{DOT}"/></svg>'


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    made = toy_notebook("03_toy", "plot()", "plate()")
    for cell, drawn, title in zip(
        notebooks.code_cells(made)[1:3], (PLOT, PLATE), ("A < plot.", "A plate."), strict=True
    ):
        told = {"title": title} | ({"csv": "x\n1\n"} if drawn is PLOT else {})
        cell.outputs = [new_output("display_data", data={"image/svg+xml": drawn}, metadata={"figure": told})]
    return made


def test_figures_are_counted_within_their_notebook(notebook):
    found = [figure for _, _, figure in figures.figures_of(notebook, "03_toy.ipynb")]
    assert [(one.number, one.anchor, one.code) for one in found] == [
        ("3.1", "figure-3-1", "code-3-1"), ("3.2", "figure-3-2", "code-3-2"),
    ]  # fmt: skip
    assert list(found[0].files()) == ["figure-3-1.csv"] and list(found[1].files()) == ["figure-3-2.svg"]
    assert "prefers-color-scheme" in found[1].files()["figure-3-2.svg"]


def test_a_plot_stands_in_the_page_and_a_plate_beside_it(notebook):
    page = figures.set_in_page(notebook, "03_toy.ipynb", "../figures")
    plot, plate = (cell.outputs[0].data["text/html"] for cell in notebooks.code_cells(page)[1:3])
    assert "<path/>" in plot and 'aria-label="A &lt; plot."' in plot and "A &lt; plot." in plot
    assert 'href="../figures/figure-3-1.csv" download' in plot and 'href="#code-3-1"' in plot
    assert "base64" not in plate and 'loading="lazy"' in plate and 'width="600" height="300"' in plate
    assert 'src="../figures/figure-3-2.svg"' in plate and "CSV" not in plate
    marks = [cell.source for cell in page.cells if "plot-code" in cell.source]
    assert len(marks) == 2 and 'id="code-3-1"' in marks[0]


@pytest.mark.parametrize(("drawn", "wide"), [
    ('<svg viewBox="0 0 400 90"><text style="font-size: 8px; fill: red">a</text><text font-size="12">b</text></svg>',
     400 * figures.READABLE / 8),
    ('<svg viewBox="0 0 400.5 90"><g font-size="11.5"><text>a</text></g></svg>', 400.5 * figures.READABLE / 11.5),
    ('<svg viewBox="0 0 400 90"><path/></svg>', 0), (PLOT, 0),
])  # fmt: skip
def test_a_drawing_is_as_wide_as_its_smallest_letters_ask(drawn, wide):
    assert wide <= figures.least_width(drawn) < wide + 1
    assert figures.boxed("<i></i>", drawn) == (
        f'<div class="figure-box" style="--least: {figures.least_width(drawn)}px"><i></i></div>'
    )


def test_caption_name_and_alternative_text_are_those_of_the_cell(notebook):
    cell = notebooks.code_cells(notebook)[1]
    cell.metadata["mystnb"] = {"figure": {"caption": "Said.", "name": "fig-said"}, "image": {"alt": 'a "curve"'}}
    page = figures.set_in_page(notebook, "03_toy.ipynb", "..")
    shown = notebooks.code_cells(page)[1].outputs[0].data["text/html"]
    assert "Said." in shown and "A &lt; plot." not in shown and 'aria-label="a &quot;curve&quot;"' in shown
    assert any(cell.source.startswith("(fig-said)=") for cell in page.cells)


def test_other_outputs_stay_as_they_are():
    made = toy_notebook("03_toy", "plot()")
    cell = notebooks.code_cells(made)[1]
    cell.outputs = [new_output("display_data", data={"image/svg+xml": PLOT}), new_output("stream", text="a")]
    before = notebooks.to_bytes(made)
    assert notebooks.to_bytes(figures.set_in_page(made, "03_toy.ipynb", "..")) == before
