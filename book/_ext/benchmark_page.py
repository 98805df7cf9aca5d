"""Directives that show the newest files of ``benchmarks/results``: no figure of the page is typed.

``{benchmark-table} scoring training`` lists the rows of some suites, with the same held to AVX2 beside them;
``{benchmark-growth}`` (``:alt:``) draws how cost
grows; ``{benchmark-machine}`` says when and on what the numbers were taken; ``{benchmark-floors}`` shows how floors are
worked out, in the words of ``benchmarks/floors.py``; ``{benchmark-quality}`` says whether training learns as well as
the peer's; ``{benchmark-book}`` how long the notebooks take.
"""

import ast
import json
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib import paths

COLUMNS = ("what", "ours", "theirs", "ratio [smallest, largest] (wanted)", "floor (ours over it)")
OLDER = ("AVX2 alone: ours", "AVX2 alone: ratio (wanted)")
AVX2 = "avx2-"
BEFORE_UNIT = re.compile(r"(?<=\d) (?=ms|s\b|GiB|×\))")
"""No line is broken there."""
NO_QUALITY = "This comparison has not been run here: `make bench-quality` takes about twenty minutes."
NO_TIMES = "This has not been timed here: `python -m benchmarks.book` does it."
FIGURE = "_build/benchmark_figures/growth.svg"


class FromBenchmarks(SphinxDirective):
    def newest(self) -> tuple[str, dict]:
        """(date, content) of the newest results."""
        path = newest_file(paths.root() / "benchmarks" / "results")
        if path is None:
            raise self.error("There are no results of benchmarks: make them by `make bench`.")
        return path.stem, self.content_of(path)

    def older(self) -> tuple[str, dict] | None:
        """The same of what was held to AVX2; None where nothing was."""
        path = newest_file(paths.root() / "benchmarks" / "results", AVX2)
        return None if path is None else (path.stem.removeprefix(AVX2), self.content_of(path))

    def content_of(self, path: Path) -> dict:
        self.env.note_dependency(str(path))
        return json.loads(path.read_text(encoding="utf-8"))

    def markdown(self, lines: list[str]) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


class Machine(FromBenchmarks):
    def run(self) -> list[nodes.Node]:
        date, found = self.newest()
        machine = found["machine"]
        lines = [
            f"Taken on {date}: {machine['threads']} threads of a {machine['processor']} processor with "
            f"{machine['capability']}, torch {machine['torch'].partition('+')[0]}, Python {machine['python']}. Of "
            + goals_sentence(found) + ceilings_sentence(found.get("ceilings"))
        ]  # fmt: skip
        if older := self.older():
            date, found = older
            lines += ["", f"The columns *AVX2 alone* were taken on {date} on the same kind of machine, held to the "
                      "instructions of older processors. Of " + goals_sentence(found)
                      + ceilings_sentence(found.get("ceilings"))]  # fmt: skip
        return self.markdown(lines)


class Table(FromBenchmarks):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        suites = self.arguments[0].split()
        rows = [row for suite in suites for row in self.newest()[1]["rows"].get(suite, ())]
        if not rows:
            raise self.error(f"The newest benchmarks have no suite {' or '.join(suites)}.")
        older = self.older()
        beside = {key(row): row for some in older[1]["rows"].values() for row in some} if older else {}
        held = [beside.get(key(row)) for row in rows]
        columns = [*COLUMNS, *(OLDER if any(held) else ())]
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        for row, other in zip(rows, held, strict=True):
            whole = [*cells(row), floor_cell(row), *(older_cells(other) if any(held) else ())]
            lines.append("| " + " | ".join(BEFORE_UNIT.sub("\u00a0", cell) for cell in whole) + " |")
        notes = [f"- {row['work']}: {row['note']}." for row in rows if row["note"]]
        return self.markdown([*lines, "", *dict.fromkeys(notes)])


def key(row: dict) -> tuple[str, str]:
    return row["work"], row["peer"]


def goals_sentence(found: dict) -> str:
    """``19 goals that were set before, in brackets below, 18 are reached.``"""
    goals = [goal_is_met(row) for rows in found["rows"].values() for row in rows]
    set_ones = [met for met in goals if met is not None]
    return f"{len(set_ones)} goals that were set before, in brackets below, {sum(set_ones)} are reached."


def goal_is_met(row: dict) -> bool | None:
    """Whether a row reaches the ratio or the time that was wanted; None where nothing was."""
    if row["wanted"]:
        return row["ratio"] >= row["wanted"]
    goal = row["facts"].get("goal_seconds")
    return None if goal is None else row["ours_median"] <= goal


def cells(row: dict) -> list[str]:
    """A row of the table as text, but for its floor."""
    goal = row["facts"].get("goal_seconds")
    wanted = f"({row['wanted']:.3g} ×)" if row["wanted"] else f"({goal:g} s)" if goal else ""
    ours = amount(row["ours_median"], row)
    if not row["theirs"]:
        return [row["work"], ours, "–", wanted or "–"]
    ratio = "{} [{}, {}] {}".format(*(times(row[name]) for name in ("ratio", "ratio_low", "ratio_high")), wanted)
    return [f"{row['work']}; beside it *{row['peer']}*", ours, amount(row["theirs_median"], row), ratio.strip()]


def older_cells(row: dict | None) -> list[str]:
    """Ours and the ratio of the same row, held to AVX2."""
    if row is None:
        return ["–", "–"]
    _, ours, _, ratio = cells(row)
    return [ours, ratio]


def times(ratio: float) -> str:
    """Three digits, and whole numbers from a hundred up: ``12.1``, ``1,479``."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def floor_cell(row: dict) -> str:
    """A row's floor, and how many times as long ours took."""
    floor = row["facts"].get("floor_seconds")
    return f"{seconds(floor)} ({row['ours_median'] / floor:.2g} ×)" if floor else "–"


def amount(value: float, row: dict) -> str:
    unit = row.get("unit", "s")
    return seconds(value) if unit == "s" else f"{value:.3g} {unit}"


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
    """One panel per line of growth, times and floors against size on logarithmic scales, the exponent in the title."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from vlm_sae_lib.files import write_bytes
    from vlm_sae_lib.publishing.light_svg import light
    from vlm_sae_lib.show.style import use_style
    from vlm_sae_lib.show.svg import dark_by_itself, to_svg

    use_style()
    high = -(-len(rows) // 2)
    figure, axes = plt.subplots(high, 2, figsize=(6.4, 2.5 * high), squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, rows, strict=False):
        facts = row["facts"]
        axis.loglog(facts["sizes"], facts["seconds"], marker="o", color="#0072B2", label="measured")
        if "floors" in facts:
            axis.loglog(facts["sizes"], facts["floors"], linestyle="--", color="#D55E00", label="floor")
        if axis is axes.flat[0]:
            axis.legend(fontsize=8, frameon=False)
        axis.set_title(f"{row['work'].partition(',')[0]}\nexponent {facts['exponent']:.2f}", fontsize=10)
        axis.set_ylabel("s")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, dark_by_itself(light(to_svg(figure))).encode())
    plt.close(figure)


class Floors(FromBenchmarks):
    def run(self) -> list[nodes.Node]:
        path = paths.root() / "benchmarks" / "floors.py"
        self.env.note_dependency(str(path))
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return self.markdown(text.replace("``", "`").splitlines()[2:])


class Book(FromBenchmarks):
    def run(self) -> list[nodes.Node]:
        path = newest_file(paths.root() / "benchmarks" / "results", "book-")
        found = {} if path is None else self.content_of(path)
        if path is None or "site" not in found:  # the site is built last, by the same command
            return self.markdown([NO_TIMES])
        return self.markdown(book_lines(path.stem.removeprefix("book-"), found))


class Quality(FromBenchmarks):
    def run(self) -> list[nodes.Node]:
        path = newest_file(paths.root() / "benchmarks" / "results", "quality-")
        if path is None:
            return self.markdown([NO_QUALITY])
        date = path.stem.removeprefix("quality-")
        return self.markdown(quality_lines(date, self.content_of(path)))


def newest_file(folder: Path, prefix: str = "") -> Path | None:
    """The file ``<prefix><date>.json`` with the latest date; None where there is none."""
    files = sorted(folder.glob(f"{prefix}[0-9]*.json"))
    return files[-1] if files else None


def ceilings_sentence(ceilings: dict | None) -> str:
    """What the machine can do at most; nothing for results that were taken without."""
    if not ceilings:
        return ""
    giga = {name: value / 1e9 for name, value in ceilings.items()}
    return (
        f" In the same run the machine reached {giga['fp32']:.0f} Gflop/s in single precision, {giga['bf16']:.0f} "
        f"in bf16 and {giga['int8']:.0f} Gop/s in int8, read {giga['read']:.0f} GB/s from memory and "
        f"{giga['cache']:.0f} GB/s from its last cache of {ceilings['cache_bytes'] / 2**20:.0f} MiB."
    )


WAYS = {"free": "free cores", "avx2": "AVX2 alone", "busy": "one core busy"}


def book_lines(date: str, found: dict) -> list[str]:
    """Markdown: seconds of each notebook, and of a core, by what the machine was like, and of all together."""
    lines = ["| notebook | " + " | ".join(WAYS.values()) + " |", "|---|" + "---:|" * len(WAYS)]
    lines += [
        f"| {name[:2].lstrip('0')} | " + " | ".join(_notebook(found[way]["each"][name]) for way in WAYS) + " |"
        for name in sorted(found["free"]["each"])
    ]
    lines.append("| all, side by side | " + " | ".join(f"{found[way]['together']:.0f} s" for way in WAYS) + " |")
    minutes = {way: (found[way]["together"] + found["site"]) / 60 for way in WAYS}
    machine = found["machine"]
    return [
        *lines, "",
        f"Taken on {date}: {machine['cores']} cores with {machine['capability']}. The site takes {found['site']:.0f} s "
        f"more, so `make book` takes {minutes['free']:.1f} minutes, and {minutes['avx2']:.1f} with AVX2 alone. With a "
        f"core that does other things the notebooks take {found['busy']['together'] / found['free']['together']:.2f} "
        "times as long.",
    ]  # fmt: skip


def _notebook(taken: dict[str, float]) -> str:
    return f"{taken['seconds']:.0f} s, {taken['processor_seconds']:.0f} s of a core"


def quality_lines(date: str, found: dict) -> list[str]:
    """Markdown: the setting, a table of both libraries by kind, and each goal with its outcome."""
    recipe, data = found["recipe"], found["data"]
    lines = [
        f"Taken on {date}: {recipe['expansion'] * data['dim']:,} latents on {data['dim']} numbers, K {recipe['k']}, "
        f"{recipe['steps']:,} steps of {recipe['batch_size']:,}, learning rate {recipe['lr']:g}, dead after "
        f"{recipe['dead_window']:,} silent samples; {data['train']:,} activations from {data['features']:,} true "
        f"features, and {data['test']:,} others to test on. A mean over seeds, each seed in brackets.",
        "",
        "| kind | | ours | dictionary_learning | difference |",
        "|---|---|---|---|---|",
    ]
    for kind, of in found["kinds"].items():
        for name, label, form in (("r2", "test R²", ".4f"), ("dead", "dead share", ".3f"), ("l0", "L0", ".2f")):
            both = [
                f"{of[name][library]['mean']:{form}} ({', '.join(f'{v:{form}}' for v in of[name][library]['by_seed'])})"
                for library in ("ours", "theirs")
            ]
            lines.append(f"| {kind} | {label} | {both[0]} | {both[1]} | {of['differences'][name]:+{form}} |")
    lines.append("")
    for kind, of in found["kinds"].items():
        outcome = {True: "reached", False: "**missed**"}
        lines += [f"- {kind}: {check['sentence']}: {outcome[check['passed']]}." for check in of["checks"]]
    return lines


def setup(app: Sphinx) -> dict:
    for name, directive in (
        ("benchmark-machine", Machine),
        ("benchmark-floors", Floors),
        ("benchmark-quality", Quality),
        ("benchmark-book", Book),
        ("benchmark-table", Table),
        ("benchmark-growth", Growth),
    ):
        app.add_directive(name, directive)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
