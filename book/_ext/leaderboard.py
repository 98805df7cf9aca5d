"""The leaderboard's page, drawn from ``data/leaderboard`` while the book is built.

``{leaderboard}`` prints every place at which there are entries: their order, then a table for each group of measures.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.quoting import in_markdown
from vlm_sae_lib.records.provenance import code_hash
from vlm_sae_lib.scorecard import board
from vlm_sae_lib.scorecard.card import Scorecard, Scores
from vlm_sae_lib.scorecard.measures import MEASURES, Measure
from vlm_sae_lib.scorecard.page import OVER, written

ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


class Leaderboard(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        for path in sorted(board.folder().glob("*.json")):
            self.env.note_dependency(str(path))
        try:
            found = board.entries()
        except UserError as error:
            raise self.error(str(error)) from error
        lines = page(found.values(), code_hash("vlm_sae_lib.scorecard.measuring"))
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)


def page(cards: Sequence[Scorecard], code: str) -> list[str]:
    """The whole page in Markdown; ``code`` is the hash of today's measuring code."""
    lines = []
    for _, group in groupby(sorted(cards, key=where), key=where):
        own = list(group)
        place, pictures = own[0].place, own[0].pictures
        many = f"{len(own)} entries" if len(own) > 1 else "One entry"
        told = (place["hook_point"], place["tower"], place["tokens"], pictures["test"])
        at, tower, tokens, test = map(in_markdown, told)
        lines += [f"**{many} at {at} of the tower {tower}, tokens {tokens}; {pictures['n']:,} final pictures "
                  f"({test}).**", ""]  # fmt: skip
        lines += [*order(own), "", *mean_rank(own), "", *measured(own), ""]
        if any(card.code != code for card in own):
            old = ", ".join(card.subject.name for card in own if card.code != code)
            lines += [":::{warning}", f"The measuring code has changed since these were measured: {old}.", ":::", ""]
    return lines


def where(card: Scorecard) -> tuple[str, ...]:
    """Only what was measured at one place, on the same pictures, can be ranked."""
    return (*map(str, card.place.values()), *map(str, card.pictures.values()))


def order(cards: Sequence[Scorecard]) -> list[str]:
    """Place, mean rank, name, what it is, who trained it. Equal mean ranks share a place."""
    facts = {card.subject.name: card.facts for card in cards}
    ordered = board.in_order([card.subject for card in cards])
    rows = []
    for scores, mean in ordered:
        place = 1 + sum(other < mean for _, other in ordered)
        rows.append((str(place), f"{mean:.1f}" if mean == mean else "–", f"`{scores.name}`",
                     in_markdown(f"{scores.what}; {facts[scores.name]['trained_with']}")))  # fmt: skip
    return table(("place", "mean rank", "entry", "what it is, and with what it was trained"), rows)


def mean_rank(cards: Sequence[Scorecard]) -> list[str]:
    """Which measures the mean rank is over, and which not, with who lacks them."""
    several = [card.subject for card in cards]
    common = board.compared(several)
    lacking = {
        one.title: [f"`{scores.name}`" for scores in several if scores.values[one.name].value is None]
        for one in MEASURES if one not in common and one.better != "neither"
    }  # fmt: skip
    some = {title: who for title, who in lacking.items() if 0 < len(who) < len(several)}
    unranked = [one.title for one in MEASURES if one.better == "neither"]
    told = [f"The mean rank is over {len(common)} measures, of which every entry has a value: "
            f"{', '.join(one.title for one in common)}."]  # fmt: skip
    others = "; ".join(f"{title} (without: {_and(who)})" for title, who in some.items())
    told += [f"Ranked, and not in the mean: {others}."] if some else []
    told += [f"Not ranked at all: {_and(unranked)}."] if unranked else []
    return [" ".join(told)]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def measured(cards: Sequence[Scorecard]) -> Iterator[str]:
    """For each group of measures a table: value, interval, rank. A measure that nobody has is left out."""
    ordered = [scores for scores, _ in board.in_order([card.subject for card in cards])]
    ranks = board.ranks(ordered)
    for group, several in groupby(MEASURES, key=lambda one: one.group):
        kept = [one for one in several if any(scores.values[one.name].value is not None for scores in ordered)]
        if not kept:
            continue
        rows = []
        for scores in ordered:
            cells = []
            for one in kept:
                rank = ranks[scores.name].get(one.name)
                cells.append(written(scores.values[one.name]) + (f" · {rank.place}" if rank else ""))
            rows.append((f"`{scores.name}`", *cells))
        head = ("", *(f"{one.title} {ARROWS[one.better]}".strip() for one in kept))
        yield from (f"**{group}.** " + "; ".join(f"{one.title}: {one.meaning} ({behind(one, ordered)})" for one in kept)
                    + ".", "")  # fmt: skip
        yield from (*table(head, rows), "")


def behind(measure: Measure, several: Sequence[Scores]) -> str:
    """The n of a measure with what it counts, from the least to the most of all entries, and what its interval is."""
    found = [scores.values[measure.name].n for scores in several]
    counts = sorted(n for n in found if n is not None)
    if not counts:
        return OVER[measure.over]
    n = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    return f"n = {n} {measure.counted}; {OVER[measure.over]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    whole = (head, ["---"] * len(head), *rows)
    return ["| " + " | ".join(row) + " |" for row in whole]


def setup(app: Sphinx) -> dict:
    app.add_directive("leaderboard", Leaderboard)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
