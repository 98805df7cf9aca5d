"""The claims with their words: ``{claims}`` is the whole page, ``{verdict-strip}`` a line for each, for another page.

On the page each claim is a section of its own, with an address that stays (``claims.html#claim-steering``). Above them
stands a choice of word; it needs no server and no script, and where a browser cannot do it, all claims are shown.
"""

import html
from pathlib import Path

from docutils import nodes
from experiments import FIGURES, FromResults, draw
from sphinx.application import Sphinx

from vlm_sae_lib.claims import island_markdown, islands
from vlm_sae_lib.claims.islands import Answers
from vlm_sae_lib.claims.judging import Judgement, judged
from vlm_sae_lib.claims.markdown import card
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.show.islands import strip

PAGE = "book/claims"
CARD = "#222832"
"""The ground of the theme's cards in the dark."""
MARKS = {
    Verdict.HOLDS: "✓", Verdict.REVERSED: "⇄", Verdict.FAILS: "✗", Verdict.UNDECIDED: "?",
    Verdict.UNTESTED: "–", Verdict.NO_SUCH_CLAIM: "∅",
}  # fmt: skip


def anchor(key: str) -> str:
    return f"claim-{key}"


def marked(verdict: Verdict) -> str:
    """The class that gives a verdict its colour."""
    return f"is-{verdict.name.lower().replace('_', '-')}"


def pill(verdict: Verdict) -> str:
    """A verdict's mark and word as HTML."""
    word = html.escape(verdict.value)
    return f'<span class="verdict {marked(verdict)}"><span aria-hidden="true">{MARKS[verdict]}</span> {word}</span>'


def counted(judgements: list[Judgement]) -> list[tuple[Verdict, int]]:
    """How many claims have each word; words that none has are left out."""
    counts = [(verdict, sum(one.verdict is verdict for one in judgements)) for verdict in Verdict]
    return [(verdict, count) for verdict, count in counts if count]


class Claims(FromResults):
    """Every claim with its word, what the paper shows, what came of it on each island, and the effects that decide it.

    Above them stands what their words come to; with a row for each claim where it has been asked on other islands.
    """

    required_arguments = 0
    has_content = False

    def show(self) -> list[nodes.Node]:
        where = self.islands()
        home, judgements = where[islands.HOME.name], judged(where[islands.HOME.name])
        answers = [islands.ask(one.claim, where) for one in judgements]
        sums = ", ".join(f"*{verdict.value}* {count}" for verdict, count in counted(judgements))
        here = ", on the published island" if any(several.elsewhere for several in answers) else ""
        top = [f"{len(judgements)} claims{here}: {sums}.", "", *island_markdown.summary(answers)]
        found = [*self.markdown(top), nodes.raw("", choice(judgements), format="html")]
        for i, (judgement, several) in enumerate(zip(judgements, answers, strict=True)):
            drawn = self.strip(several, i) if several.elsewhere and several.counted else ()
            there = island_markdown.lines(several, drawn)
            lines = card(judgement, home, islands=there, tally=island_markdown.tally(several))
            found.append(section(judgement, self.markdown(lines)))
        return found

    def strip(self, answers: Answers, place: int) -> list[str]:
        """A claim's effects on every island, drawn into a file; the lines that show it."""
        path = f"{FIGURES}/claim-{place}.svg"
        draw(strip, answers, Path(self.env.srcdir) / path, ground=CARD)
        how = [":class: dark-light plot"]
        return [f"```{{figure}} /{path}", f":alt: {island_markdown.alt(answers)}", *how, "```"]


def section(judgement: Judgement, body: list[nodes.Node]) -> nodes.section:
    claim = judgement.claim
    return nodes.section(
        "", nodes.title("", claim.title), *body,
        ids=[anchor(claim.key)], names=[anchor(claim.key)], classes=["claim", marked(judgement.verdict)],
    )  # fmt: skip


def choice(judgements: list[Judgement]) -> str:
    """One of the words, or all; what it shows and hides is the style's business (``book.css``)."""

    def box(key: str, words: str, checked: str = "") -> str:
        return f'<label><input type="radio" name="verdict" id="show-{key}"{checked}> {words}</label>'

    every = box("all", f"all {len(judgements)}", " checked")
    each = (box(marked(verdict).removeprefix("is-"), f"{pill(verdict)} {n}") for verdict, n in counted(judgements))
    legend = "<legend>Show the claims whose word is</legend>"
    return f'<fieldset class="verdict-choice">{legend}{every}{"".join(each)}</fieldset>'


class VerdictStrip(FromResults):
    """A line for each claim on the published island: its word, leading to the claim."""

    required_arguments = 0
    has_content = False

    def show(self) -> list[nodes.Node]:
        page = self.env.app.builder.get_relative_uri(self.env.docname, PAGE)
        judgements = judged(self.islands()[islands.HOME.name])
        lines = "".join(
            f'<li><a href="{page}#{anchor(one.claim.key)}">{pill(one.verdict)} {html.escape(one.claim.title)}</a></li>'
            for one in judgements
        )
        return [nodes.raw("", f'<ul class="verdict-strip">{lines}</ul>', format="html")]


def setup(app: Sphinx) -> dict:
    app.add_directive("claims", Claims)
    app.add_directive("verdict-strip", VerdictStrip)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
