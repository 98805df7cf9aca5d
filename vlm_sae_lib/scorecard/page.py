"""The scorecard as one page of HTML that asks for nothing from outside: values, intervals, ranks, a strip for each."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from vlm_sae_lib.scorecard.card import Rank, Scorecard, Scores, Value
from vlm_sae_lib.scorecard.measures import Measure
from vlm_sae_lib.scorecard.short import COUNTED, short
from vlm_sae_lib.scorecard.strip import strip

STYLE = Path(__file__).with_name("page.css")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BETTER = {"higher": "higher is better", "lower": "lower is better", "neither": "neither way is better"}
OVER = {
    "pictures": "bootstrap over the final pictures", "latents": "bootstrap over the latents",
    "concepts": "Student's t over the concepts", "none": "no interval",
}  # fmt: skip
AMONG = {"rivals": "with its rivals", "leaderboard": "on the leaderboard"}
RIVALS = (
    "A latent is one entry of a dictionary, active on some pictures and silent on the others. Each rival has as many "
    "latents, as many of them active, and was made for this card at the same place. Where one that never learned, or "
    "of which a part never did, comes as far, the measure does not show that a dictionary was learned."
)
READING = (
    "The interval of 95 % says how far other pictures could have moved the value of this one training. It does not say "
    "how another training would come out: for that, compare several cards. Latents, matches, thresholds and strengths "
    "were chosen on other pictures; the final ones have had no part in any training or choice. A rank is a place by "
    "value alone, so that neighbours whose intervals overlap may well be equal. A dictionary that finds little also "
    "loses little: read absorption and splitting beside recovery, isolation beside cause, and every measure beside L0. "
    "Steering is chosen and tested on fewer pictures of fewer concepts than in the book, to be done within minutes."
)
MORE = "What each measure means, the entries of the leaderboard, and how to add one: the book's page "
PAGE = "The leaderboard"


def html(card: Scorecard, about: str = "") -> str:
    """The whole page; ``about`` is the address of the book's page on the leaderboard."""
    title = f"Scorecard: {card.subject.name}"
    others = [*card.rivals, *card.against]
    ranks = card.ranks()
    parts = [
        f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(card.subject.what)}</p>',
        _facts(card), _legend(card, others), _short(card),
    ]  # fmt: skip
    for group, measures in groupby(card.measures, key=lambda one: one.group):
        rows = [_row(one, card.subject, others, card.board, ranks.get(one.name, {})) for one in measures]
        parts += [f"<section><h2>{escape(group)}</h2>", *rows, "</section>"]
    notes = "".join(f"<p>{escape(note)}</p>" for note in card.notes)
    parts += [
        f"<h2>How to read it</h2><p>{escape(READING)}</p>{notes}<p>{escape(MORE)}{_page(about)}.</p>",
        _table(card, others),
        f"<footer>SAE {escape(card.facts['hash'])}, tower weights {escape(card.place['weights_hash'])}, "
        f"measured by code {escape(card.code)}.</footer>",
    ]  # fmt: skip
    style = STYLE.read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{style}</style>\n</head>\n'
        "<body>\n<main>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def written(value: Value) -> str:
    """``0.229 [0.217, 0.242]``; a dash where nothing was measured."""
    if value.value is None:
        return "–"
    if value.low is None or value.high is None:
        return _number(value.value)
    return f"{_number(value.value)} [{_number(value.low)}, {_number(value.high)}]"


def _page(about: str) -> str:
    return f'<a href="{escape(about)}">{PAGE}</a>' if about else PAGE


def _facts(card: Scorecard) -> str:
    pictures = card.pictures
    facts = {
        "trained with": card.facts["trained_with"],
        "reads": f"{card.place['hook_point']} of the tower {card.place['tower']}, tokens: {card.place['tokens']}",
        "measured on": f"{pictures['n']:,} final pictures ({pictures['test']})",
        "chosen on": pictures["choosing"],
        "rivals trained on": pictures["train"],
        "latents": f"{card.subject.n_latents:,} for {card.facts['dim']} dimensions",
    }
    return '<dl class="facts">' + "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd></div>" for name, fact in facts.items()
    ) + "</dl>"  # fmt: skip


def _legend(card: Scorecard, others: Sequence[Scores]) -> str:
    items = [f"<li><b>◆</b> {escape(card.subject.name)}</li>"]
    items += [f'<li title="{escape(one.what)}"><b>{letter}</b> {escape(one.name)}</li>'
              for letter, one in zip(LETTERS, others, strict=False)]  # fmt: skip
    if card.board:
        items.append(f"<li><b>|</b> the leaderboard's {len(card.board)} entries at the same place</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _short(card: Scorecard) -> str:
    """Who the rivals are, and in a few sentences how the SAE does beside them."""
    if not card.rivals:
        return ""
    rivals = "".join(f"<div><dt>{escape(one.name)}</dt><dd>{escape(one.what)}</dd></div>" for one in card.rivals)
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in (*short(card), COUNTED))
    return (
        f'<section><h2>In short</h2>{told}<details><summary>Who the rivals are</summary><p>{escape(RIVALS)}</p>'
        f'<dl class="facts">{rivals}</dl></details></section>'
    )


def _row(
    measure: Measure, subject: Scores, others: Sequence[Scores], board: Sequence[Scores], ranks: dict[str, Rank]
) -> str:
    own = subject.values[measure.name]
    head = (f"<div><h3>{escape(measure.title)}</h3>"
            f"<p>{escape(measure.meaning)} ({BETTER[measure.better]})</p></div>")  # fmt: skip
    if own.value is None:
        return f'<div class="measure">{head}<div class="missing">{escape(own.why)}</div></div>'
    n = f"{own.n:,} {escape(measure.counted)}; {OVER[measure.over]}"
    placed = "".join(
        f'<span class="rank{" first" * (one.place == 1)}">rank {one.place} of {one.of} {AMONG[who]}</span> '
        for who, one in ranks.items()
    )
    value = (f'<div class="value"><strong>{_number(own.value)}</strong><small>{_around(own)}</small>'
             f"<small>{n}</small>{placed}</div>")  # fmt: skip
    marks = [(letter, one.name, one.values[measure.name]) for letter, one in zip(LETTERS, others, strict=False)]
    ticks = [one.values[measure.name].value for one in board if measure.name in one.values]
    return f'<div class="measure">{head}{value}<div>{strip(measure.title, own, marks, ticks)}</div></div>'


def _table(card: Scorecard, others: Sequence[Scores]) -> str:
    everyone = [card.subject, *others]
    head = "".join(f"<th>{escape(one.name)}</th>" for one in everyone)
    rows = []
    for measure in card.measures:
        cells = "".join(_cell(one.values.get(measure.name, Value()), one is card.subject) for one in everyone)
        rows.append(f"<tr><th>{escape(measure.title)}</th>{cells}</tr>")
    return (f'<details><summary>All values with their intervals</summary><div class="wide" tabindex="0"><table><thead>'
            f"<tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>")  # fmt: skip


def _cell(value: Value, own: bool) -> str:
    what = "<td class=\"own\"" if own else "<td"
    if value.value is None:
        return f'{what} title="{escape(value.why)}">–</td>'
    around = _around(value)
    return f"{what}>{_number(value.value)}{f'<br><small>{around}</small>' if around else ''}</td>"


def _around(value: Value) -> str:
    return "" if value.low is None or value.high is None else f"{_number(value.low)} to {_number(value.high)}"


def _number(value: float) -> str:
    return f"{value:.{1 if abs(value) >= 10 else 3}f}".replace("-", "−")
