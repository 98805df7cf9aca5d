"""Directives that show the newest file of ``benchmarks/results``: no figure of the page is typed.

``{benchmark-table} scoring training`` lists the rows of some suites; ``{benchmark-growth}`` (``:alt:``) draws how cost
grows; ``{benchmark-machine}`` says when and on what the numbers were taken.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib import paths

COLUMNS = ("what", "ours", "beside it", "theirs", "ratio [smallest, largest]", "wanted")
FIGURE = "_build/benchmark_figures/growth.png"


class FromBenchmarks(SphinxDirective):
    def newest(self) -> tuple[str, dict]:
        """(date, content) of the newest results."""
        files = sorted((paths.root() / "benchmarks" / "results").glob("*.json"))
        if not files:
            raise self.error("There are no results of benchmarks: make them by `make bench`.")
        self.env.note_dependency(str(files[-1]))
        return files[-1].stem, json.loads(files[-1].read_text(encoding="utf-8"))

    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


class Machine(FromBenchmarks):
    def run(self) -> list[nodes.Node]:
        date, found = self.newest()
        machine = found["machine"]
        goals = [goal_is_met(row) for rows in found["rows"].values() for row in rows]
        set_ones = [met for met in goals if met is not None]
        return self.markdown([
            f"Taken on {date}: {machine['threads']} threads of a {machine['processor']} processor with "
            f"{machine['capability']}, torch {machine['torch'].partition('+')[0]}, Python {machine['python']}. Of "
            f"{len(set_ones)} goals that were set before, in the last column, {sum(set_ones)} are reached."
        ])  # fmt: skip


class Table(FromBenchmarks):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        suites = self.arguments[0].split()
        rows = [row for suite in suites for row in self.newest()[1]["rows"].get(suite, ())]
        if not rows:
            raise self.error(f"The newest benchmarks have no suite {' or '.join(suites)}.")
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
        notes = [f"- {row['work']}: {row['note']}." for row in rows if row["note"]]
        return self.markdown([*lines, "", *dict.fromkeys(notes)])


def goal_is_met(row: dict) -> bool | None:
    """Whether a row reaches the ratio or the time that was wanted; None where nothing was."""
    if row["wanted"]:
        return row["ratio"] >= row["wanted"]
    goal = row["facts"].get("goal_seconds")
    return None if goal is None else row["ours_median"] <= goal


def cells(row: dict) -> list[str]:
    """A row of the table as text."""
    goal = row["facts"].get("goal_seconds")
    wanted = f"{row['wanted']:.3g} ×" if row["wanted"] else f"{goal:g} s" if goal else "–"
    if not row["theirs"]:
        return [row["work"], seconds(row["ours_median"]), "–", "–", "–", wanted]
    ratio = f"{row['ratio']:.3g} [{row['ratio_low']:.3g}, {row['ratio_high']:.3g}]"
    return [row["work"], seconds(row["ours_median"]), row["peer"], seconds(row["theirs_median"]), ratio, wanted]


def seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


class Growth(FromBenchmarks):
    option_spec = {"alt": directives.unchanged_required}
    has_content = True

    def run(self) -> list[nodes.Node]:
        rows = self.newest()[1]["rows"]["growth"]
        draw(rows, Path(self.env.srcdir) / FIGURE)
        figure = nodes.figure("", nodes.image(uri=f"/{FIGURE}", alt=self.options["alt"]), align="center")
        if self.content:
            figure += nodes.caption("", "", *self.markdown(list(self.content))[0].children)
        return [figure]


def draw(rows: list[dict], path: Path) -> None:
    """One panel per line of growth, times against size on logarithmic scales, with the exponent in the title."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from vlm_sae_lib.show.style import use_style

    use_style()
    high = -(-len(rows) // 2)
    figure, axes = plt.subplots(high, 2, figsize=(6.4, 2.5 * high), squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, rows, strict=False):
        facts = row["facts"]
        axis.loglog(facts["sizes"], facts["seconds"], marker="o", color="#0072B2")
        axis.set_title(f"{row['work'].partition(',')[0]}\nexponent {facts['exponent']:.2f}", fontsize=10)
        axis.set_ylabel("s")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def setup(app: Sphinx) -> dict:
    for name, directive in (
        ("benchmark-machine", Machine),
        ("benchmark-table", Table),
        ("benchmark-growth", Growth),
    ):
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
