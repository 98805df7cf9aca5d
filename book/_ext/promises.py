"""The page of promises: what the tests of faults have tried (``{tried}`pictures` ``), when, and which file holds it.

``{held-by}`faults/test_kills.py` `` names a file of the tests, with a link to it; ``{tried-when}`` says when and where,
and ``{elsewhere}`` what another instruction set changes in the notebooks.

The numbers come from ``data/faults.json``, which ``make test-faults`` writes. A kind that it does not hold is a
warning, and so a failed build.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vlm_sae_lib import paths
from vlm_sae_lib.files import read_json
from vlm_sae_lib.publishing.colab import Repository

FILE = paths.data() / "faults.json"
ELSEWHERE = paths.root() / "tests" / "data" / "results_elsewhere.json"


def number_of(kind: str, found: dict) -> str:
    """How many of a kind were tried; ``KeyError`` says which kinds there are."""
    if kind not in found["tried"]:
        raise KeyError(f"{kind!r} was not tried; there are {', '.join(found['tried'])}")
    return f"{found['tried'][kind]:,}"


def when(found: dict) -> str:
    """Markdown: the day, the machine, and what could not be tried there."""
    machine = found["machine"]
    left = found["not tested"]
    told = f"Figures of {found['date']}: {machine['processor']}, {machine['instructions']}, {machine['system']}. "
    if found["failed"]:
        told += f"**{found['failed']} tests failed.** "
    if not left:
        return told + "Nothing was left out."
    return told + f"Not tested there: {', '.join(f'`{one}`' for one in left)}."


def elsewhere(there: dict, here: dict[str, dict]) -> str:
    """Markdown: how many numbers of the notebooks another instruction set moved, and what became of them.

    ``there`` is the saved file, ``here`` the published results by notebook.
    """
    rows = [(value, verdict, here[notebook][name]) for notebook, found in there["notebooks"].items()
            for name, (value, verdict) in found["results"].items()]  # fmt: skip
    moved = [(value, row) for value, _, row in rows if value != row["value"]]
    left = sum(row["ci_low"] is not None and not (value is not None and row["ci_low"] <= value <= row["ci_high"])
               for value, row in moved)  # fmt: skip
    verdicts = [verdict == row["verdict"] for _, verdict, row in rows if row["verdict"] is not None]
    return (f"With {there['instructions']}: {len(moved)} of {len(rows)} numbers moved, {left} of them out of their "
            f"published intervals; {sum(verdicts)} of {len(verdicts)} verdicts are the same.")  # fmt: skip


class Elsewhere(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(ELSEWHERE))
        there = read_json(ELSEWHERE)
        published = paths.published_results()
        here = {name: read_json(published / f"{name}.json")["results"] for name in there["notebooks"]}
        return self.parse_text_to_nodes(elsewhere(there, here), allow_section_headings=False)


class Tried(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.env.note_dependency(str(FILE))
        try:
            return [nodes.Text(number_of(self.text, read_json(FILE)))], []
        except (KeyError, OSError) as error:
            message = self.inliner.reporter.error(f"tried: {error}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]


class HeldBy(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path = f"tests/{self.text}"
        if not (paths.root() / path).is_file():
            message = self.inliner.reporter.error(f"held-by: there is no {path}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        name = nodes.literal(text=self.text)
        return [nodes.reference("", "", name, refuri=Repository.read().page(path))], []


class When(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(FILE))
        return self.parse_text_to_nodes(when(read_json(FILE)), allow_section_headings=False)


def setup(app: Sphinx) -> dict:
    app.add_role("tried", Tried())
    app.add_role("held-by", HeldBy())
    app.add_directive("tried-when", When)
    app.add_directive("elsewhere", Elsewhere)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
