"""Figures of the notebooks as pages show them; their data, and plates of pictures, as files in ``figures/``.

A drawing of any other page goes into the same kind of box: a narrow page scrolls it, and its letters stay readable.
"""

from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

from vlm_sae_lib.files import write_bytes
from vlm_sae_lib.publishing import figures

FOLDER = "figures"


def set_figures(app: Sphinx, docname: str, content: list[str]) -> None:
    """Before a notebook is read: its figures become HTML."""
    if Path(app.env.doc2path(docname)).suffix == ".ipynb":
        root = "../" * docname.count("/")
        notebook = figures.set_in_page(nbformat.reads(content[0], as_version=4), Path(docname).name, root + FOLDER)
        content[0] = nbformat.writes(notebook)


def box_drawings(app: Sphinx, doctree: nodes.document) -> None:
    """Once a page is read: each figure that is an SVG file, into a box."""
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        if isinstance(image.parent, nodes.figure) and path.suffix == ".svg":
            before, after = figures.boxed("|", path.read_text(encoding="utf-8")).split("|")
            place = image.parent.index(image)
            image.parent.insert(place + 1, nodes.raw("", after, format="html"))
            image.parent.insert(place, nodes.raw("", before, format="html"))


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Once the pages are written: what lies beside them."""
    if exception is not None or app.builder.format != "html":
        return
    for docname in sorted(app.env.found_docs):
        path = Path(app.env.doc2path(docname))
        if path.suffix == ".ipynb":
            for _, _, figure in figures.figures_of(nbformat.read(path, as_version=4), path.name):
                for name, text in figure.files().items():
                    write_bytes(Path(app.outdir) / FOLDER / name, text.encode())


def setup(app: Sphinx) -> dict:
    app.connect("source-read", set_figures)
    app.connect("doctree-read", box_drawings)
    app.connect("build-finished", write_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
