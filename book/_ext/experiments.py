"""Directives that put an experiment's published results into a page.

``{experiment-figure} uniqueness/jaccard`` draws a figure (``:alt:`` is needed, the content is the caption);
``{experiment-table} uniqueness`` lists results, one shell pattern a line to choose among their names;
``{experiment-frame} layers/spread`` shows a table of its rows (``:where:``, ``:columns:``, both parted by ``;``);
``{experiment-verdicts} uniqueness`` gives the verdicts of the claims that it decides, what else was seen, what the
results were made from, and whether that is still today's code.
A name that no results file holds is an error, and so a failed build.
"""

from collections.abc import Callable
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pandas as pd
import result_table
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib.claims import island_markdown, islands
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.islands import Answers
from vlm_sae_lib.claims.judging import judged
from vlm_sae_lib.claims.markdown import here, observed, reasons
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.verdict import number
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.files import write_bytes
from vlm_sae_lib.publishing.light_svg import light
from vlm_sae_lib.show.plotted import plotted
from vlm_sae_lib.show.style import use_style
from vlm_sae_lib.show.svg import dark_by_itself, to_svg
from vlm_sae_lib.show.tiles import covered

LONG = 16
FIGURES = "_build/experiment_figures"
"""Under the source of whichever edition is built."""
DATA = "figures"
"""Beside the pages: what figures show, as CSV."""


BESIDE = {
    True: "What else was looked at, beside the plan and so without one of its words:",
    False: "What the numbers answer. No claim of the paper rests on it:",
}
"""Before the observations of an experiment, by whether it decides a claim."""
PLANNED_APART = ("keeping_the_rest",)
BY_ITS_OWN_RULE = (
    "What comes first was asked by a rule written beforehand (the end of the {doc}`plan <../analysis_plan>`), the "
    "rest without:"
)
UNCORRECTED = (
    "These intervals are of 95 % each and are not corrected for their number: of forty comparisons without any effect "
    "about one would lie above zero with its whole interval, and one below. The least and the largest of several are "
    "picked out, and so look more extreme than they are. Student's t does not know what is possible: the interval of a "
    "share may reach beyond 1."
)


class FromResults(SphinxDirective):
    """A directive whose argument begins with an experiment's name."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            return self.show()
        except KeyError as missing:  # results of an older version of the experiment
            raise self.error(f"The published results lack {missing}: run the experiments again.") from missing

    def findings(self, name: str) -> Findings:
        path = running.published(name)
        self.env.note_dependency(str(path))
        try:
            return Findings.read(path)
        except ValueError as error:
            raise self.error(str(error)) from error

    def islands(self) -> dict[str, Evidence]:
        """The results of every island, on which the page depends from now on."""
        where = islands.evidences()
        for path in islands.files(where):
            self.env.note_dependency(str(path))
        return where

    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


class ExperimentFigure(FromResults):
    option_spec = {"alt": directives.unchanged_required}

    def show(self) -> list[nodes.Node]:
        name, _, what = self.arguments[0].partition("/")
        figures = import_module(f"vlm_sae_lib.show.experiments.{name}").FIGURES
        if what not in figures or not self.options.get("alt"):
            raise self.error(f"{self.arguments[0]}: figures are {', '.join(figures)}, and each needs an :alt:.")
        path = f"{FIGURES}/{name}-{what}.svg"
        table = draw(figures[what], self.findings(name), Path(self.env.srcdir) / path)
        image = nodes.image(uri=f"/{path}", alt=self.options["alt"], classes=["dark-light", "plot"])
        figure = nodes.figure("", image, ids=[nodes.make_id(f"fig-{name}-{what}")], align="center")
        if self.content:
            parsed = self.markdown(list(self.content))
            way = [] if table.empty else [nodes.raw("", self.data(table, f"{name}-{what}.csv"), format="html")]
            figure += nodes.caption("", "", *parsed[0].children, *way)
        return [figure]

    def data(self, table: pd.DataFrame, name: str) -> str:
        """What a figure shows, in a file beside the pages; the link to it."""
        text = table.to_csv(index=False, float_format="%.6g")
        write_bytes(Path(self.env.app.outdir) / DATA / name, text.encode())
        root = "../" * self.env.docname.count("/")
        return f' <span class="plot-ways"><a href="{root}{DATA}/{name}" download>data (CSV)</a></span>'


class ExperimentTable(FromResults):
    """``:digits:`` after the point; a long table is folded unless it is ``:open:``."""

    option_spec = {"digits": directives.positive_int, "open": directives.flag}

    def show(self) -> list[nodes.Node]:
        found = self.findings(self.arguments[0])
        patterns = [line.strip() for line in self.content if line.strip()] or ["*"]
        names = [name for name in found.results if any(fnmatch(name, pattern) for pattern in patterns)]
        for pattern in patterns:
            if not any(fnmatch(name, pattern) for name in names):
                raise self.error(f"{self.arguments[0]} has no result that fits {pattern!r}.")
        lines = result_table.lines(found, self.arguments[0], names, self.options.get("digits", 3))
        if len(names) > LONG and "open" not in self.options:
            common, labels = result_table.in_words(names)
            lines = [f"::::{{dropdown}} {len(names)} results: {common or labels[0] + ' …'}", *lines, "::::"]
        return self.markdown(lines)


class ExperimentFrame(FromResults):
    """One of an experiment's tables, by ``name/table``; ``:where:`` holds ``column=pattern``, ``:columns:`` chooses.

    A column that would be empty is left out; a long table is folded.
    """

    option_spec = {"digits": directives.positive_int, "where": directives.unchanged, "columns": directives.unchanged}

    def show(self) -> list[nodes.Node]:
        name, _, what = self.arguments[0].partition("/")
        frame = self.findings(name).frame(what)
        for condition in filter(None, self.options.get("where", "").split(";")):
            column, _, pattern = condition.strip().partition("=")
            frame = frame[[fnmatch(str(value), pattern) for value in frame[column]]]
        if "columns" in self.options:
            frame = frame[[column.strip() for column in self.options["columns"].split(";")]]
        frame = frame.dropna(axis=1, how="all")
        if frame.empty:
            raise self.error(f"{self.arguments[0]} has no row like that.")
        digits = self.options.get("digits", 2)
        rows = [list(frame), ["---"] * len(frame.columns)]
        rows += [[cell(value, digits) for value in row] for row in frame.itertuples(index=False)]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        if len(frame) > LONG:
            chosen = [part.strip().replace("=", " ") for part in self.options.get("where", "").split(";") if part]
            plain = [part for part in chosen if not set(part) & set("[*?")]
            told = ", ".join([what.replace("_", " "), *plain])
            lines = [f"::::{{dropdown}} {len(frame)} rows: {told}", *lines, "::::"]
        return self.markdown(lines)


def cell(value: object, digits: int) -> str:
    """A table's value: a dash for none, whole numbers as such, words as they are."""
    if hasattr(value, "item"):  # numpy's numbers
        value = value.item()
    if value is None or value != value:
        return "–"
    return number(int(value) if isinstance(value, float) and value.is_integer() else value, digits)


class ExperimentVerdicts(FromResults):
    """The claims that the experiment decides, what else it shows, and what its results were made from."""

    def show(self) -> list[nodes.Node]:
        name, evidence = self.arguments[0], Evidence()
        found = self.findings(name)
        decided = [claim for claim in CLAIMS if name in {part.experiment for part in claim.decided_by}]
        lines = ["The claims that it decides, by the {doc}`plan <../analysis_plan>`:", ""] if decided else []
        where = self.islands()
        for judgement in judged(evidence, decided):
            tally = island_markdown.tally(islands.ask(judgement.claim, where))
            word = f"{here(judgement.verdict.value)}, {tally}" if tally else judgement.verdict.value
            lines += [f"**{judgement.claim.text}** {word}.", ""]
            lines += [*reasons(judgement, evidence, name), ""]
        lines += [BESIDE[bool(decided)] if name not in PLANNED_APART else BY_ITS_OWN_RULE, ""]
        lines += [*observed(evidence, name), "", UNCORRECTED]
        short = {what: hash[:10] for what, hash in sorted(found.inputs.items()) if what in running.INPUTS}
        lines += ["", f"Made again by `python -m vlm_sae_lib run --only experiments/{name}`; made from "
                  + ", ".join(f"{what} `{hash}`" for what, hash in short.items()) + "."]  # fmt: skip
        if old := running.changed(found, name, running.load_profile(found.profile)):
            moved = " and ".join(old)
            lines += ["", ":::{warning}", f"These numbers are stale: since they were made, {moved} changed.", ":::"]
        return self.markdown(lines)


def draw(
    figure_of: Callable[..., Figure], found: Findings | Answers, path: Path, **colours: str
) -> pd.DataFrame:
    """Draw a figure into an SVG file; the same results give the same bytes. Returns what it shows.

    A page shows it as a picture, and it follows the colour scheme of whoever reads; ``colours`` as of `dark_by_itself`.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    use_style()
    figure = figure_of(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = plotted(figure)
    with covered(figure):  # this page is published
        write_bytes(path, dark_by_itself(light(to_svg(figure)), **colours).encode())
    plt.close(figure)
    return table


def setup(app: Sphinx) -> dict:
    for name, directive in (
        ("experiment-figure", ExperimentFigure),
        ("experiment-table", ExperimentTable),
        ("experiment-frame", ExperimentFrame),
        ("experiment-verdicts", ExperimentVerdicts),
    ):
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
