"""What of a run's outputs may be published: text and drawings, and pictures whose terms allow it; nothing else.

Figures and the explorer bring what stands in the place of a picture that may not be published, and a sentence behind
the cell says why. Whatever else could hold a picture and does not say that it may be published is refused.
"""

import re
from collections.abc import Iterable
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from vlm_sae_lib.publishing import notebooks
from vlm_sae_lib.show.explorer import without_pictures
from vlm_sae_lib.terms import PUBLISHABLE, TERMS, UNKNOWN

TEXTS = ("text/plain", "text/markdown", "text/latex", "text/html")
DRAWN = {"image/png": "png", "image/svg+xml": "svg"}
"""Under which name a figure's metadata holds what is published in its place (``show.tiles``, ``show.presenting``)."""
PICTURE = re.compile(
    r"data:[^\s\"'<>]*,|<\s*(img|image|picture|svg|canvas|video|script|iframe|object|embed|link)\b", re.IGNORECASE
)
"""What lets text or HTML show a picture: a URL that holds one, or an element that can."""


def withhold(notebook: NotebookNode) -> NotebookNode:
    """An executed notebook without what may not be published. The notebook that is passed is changed, and returned.

    Widgets and their state, which holds what they show, go too: no page has a kernel behind it.

    Raises:
        ValueError: an output that does not say what of it may be published, as one of an older library's run.
    """
    notebook.metadata.pop("widgets", None)
    cells = []
    for number, cell in enumerate(notebook.cells):
        cells.append(cell)
        hidden: set[str] = set()
        for output in cell.get("outputs", []):
            if "data" in output:  # else a stream or an error: text
                output.data.pop(notebooks.WIDGET_VIEW, None)
                for kind, value in output.data.items():
                    if (shown := _publishable(kind, value, output.get("metadata", {}))) is None:
                        raise ValueError(
                            f"cell {number} shows {kind} and does not say that it may be published, as figures of "
                            "vlm_sae_lib.show do"
                        )
                    output.data[kind] = shown[0]
                    hidden.update(shown[1])
        if hidden:
            cells.append(new_markdown_cell(_sentence(hidden)))
    notebook.cells = cells
    return notebook


def _publishable(kind: str, value: Any, metadata: dict[str, Any]) -> tuple[Any, list[str]] | None:
    """What may be published of an output's representation, and the names of the terms of what is not in it.

    None: it could hold a picture, and says nothing. metadata: the output's, see ``show.tiles.publishable``.
    """
    stated = metadata.get(PUBLISHABLE)
    if kind == "text/html" and "steering-explorer" in value:
        return without_pictures(value)
    if kind in TEXTS and not PICTURE.search(value):
        return value, []
    if isinstance(stated, dict) and DRAWN.get(kind) in stated:
        return stated[DRAWN[kind]], stated["terms"]
    return (value, []) if kind.startswith("image/") and stated is True else None


def _sentence(names: Iterable[str]) -> str:
    """Whose pictures are not shown, and why, in Markdown."""
    said = []
    for terms in (TERMS.get(name, UNKNOWN) for name in sorted(names)):
        where = f" ([where this stands]({terms.url}))" if terms.url else ""
        said.append(f"Not shown here: pictures of {terms.title}. {terms.sentence}{where}")
    return f"*{' '.join(said)} A run of one's own shows them.*"
