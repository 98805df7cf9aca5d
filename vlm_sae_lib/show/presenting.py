"""A figure in a notebook: drawn as SVG, with its title, and its data for whoever wants to count."""

import matplotlib.pyplot as plt
import pandas as pd
from IPython.core.pylabtools import print_figure
from IPython.display import display
from matplotlib.figure import Figure

from vlm_sae_lib.show.plotted import digest, plotted
from vlm_sae_lib.show.svg import to_svg
from vlm_sae_lib.show.tiles import covered
from vlm_sae_lib.terms import PUBLISHABLE

FIGURE = "figure"
"""Where an output's metadata holds the title and the data of a figure, for the page that shows it."""


def present(figure: Figure, title: str, *, data: pd.DataFrame | None = None, png: bool = False) -> None:
    """Show a figure and close it.

    Its text, which a reader without pictures gets and tests compare, is the title and what was plotted in three
    digits; its metadata hold the title, and the data as CSV.

    Args:
        title: one sentence, without a number: the book counts its figures.
        data: what the figure shows; by default what can be read off its lines, bars and dots.
        png: also as PNG, for whoever cannot show SVG.
    """
    table = plotted(figure) if data is None else data
    drawn, stated = {"image/svg+xml": to_svg(figure)}, {}
    if png:
        drawn["image/png"] = print_figure(figure, base64=True)
    with covered(figure) as terms:
        if terms:
            stated = {"svg": to_svg(figure), "terms": terms} | (
                {"png": print_figure(figure, base64=True)} if png else {}
            )
    text = "\n".join(filter(None, [title, digest(table)]))
    told = {"title": title} | ({"csv": table.to_csv(index=False, float_format="%.6g")} if len(table) else {})
    display({**drawn, "text/plain": text}, metadata={PUBLISHABLE: stated or True, FIGURE: told}, raw=True)
    plt.close(figure)
