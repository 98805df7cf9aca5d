"""What became of a claim on several islands, as Markdown lines and as words for a figure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.islands import Answer, Answers, experiments_run
from vlm_sae_lib.claims.markdown import in_words
from vlm_sae_lib.claims.overall import OverallEffect
from vlm_sae_lib.claims.rule import Decision
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.pocket.islands import ISLANDS, Island
from vlm_sae_lib.statistics.intervals import UNDEFINED, Estimate, Interval
from vlm_sae_lib.statistics.meta_analysis import Combined

NO_INTERVAL = Interval(*UNDEFINED)
NOT_YET = "The claims have not been asked on other islands yet"
ONLY_HERE = "It has not been asked on other islands."
READ = (
    "In each strip a mark is an island with its interval, and the diamond all of them together, with the interval of "
    "the overall effect and, thin, where a further island would lie. The line is zero, the dotted ones the smallest "
    "effect that matters. A hollow mark is the published island seen by a CLIP of another training, which counts for "
    "no other island. At the right stands the claim's word on each. How the islands differ stands on {doc}`a page "
    "of its own <islands>`."
)
BRACKETS = (
    "In brackets: intervals of 95 %, corrected after Holm where several effects decide the claim. Claims are not "
    "corrected for one another. Over the islands n is their number."
)
NOWHERE = "cannot be tested on any island on which it was asked"
SHARES = ((0.25, "hardly any"), (0.5, "some"), (0.75, "most"), (math.inf, "nearly all"))
"""Upper ends of I², and how much of the spread between islands that is."""


def called(island: Island) -> str:
    return island.name or "published island"


def tally(answers: Answers) -> str:
    """``holds on 3 of 5 islands``; empty where it has been asked on the published island alone."""
    if not answers.elsewhere:
        return ""
    if not (m := len(answers.counted)):
        return NOWHERE
    return f"{Verdict.HOLDS.value} on {answers.words[Verdict.HOLDS]} of {m} island{'' if m == 1 else 's'}"


def lines(answers: Answers, strip: Sequence[str] = ()) -> list[str]:
    """On how many islands it holds, the strip, and the overall effects; one sentence where it was asked on one alone.

    Args:
        strip: the lines of its figure.
    """
    if not answers.elsewhere:
        return [ONLY_HERE, ""] if answers.claim.decided_by else []
    if not answers.counted:
        return [f"**{_capital(NOWHERE)}**.", "", "On the published island:", ""]
    told = [f"**{_capital(tally(answers))}**{_others(answers)}.{_left_out(answers)}{_apart(answers)}", "", *strip, ""]
    return [*told, *_overall(answers.overall), "", *_numbers(answers), "On the published island:", ""]


def summary(claims: Sequence[Answers]) -> list[str]:
    """How the strips are read, and a row for each claim; nothing where no claim has been asked on another island."""
    if not any(answers.elsewhere for answers in claims):
        return []
    rows = [["claim", "published island", "holds on (islands)", "over islands"], ["---"] * 4]
    for answers in (answers for answers in claims if answers.claim.decided_by):
        home = next((one for one in answers.each if not one.island.name), None)
        alone = not answers.elsewhere or not answers.counted
        nothing = NOWHERE if answers.elsewhere else "not asked on others"
        on = nothing if alone else _holding(answers)
        over = "–" if alone else answers.overall.word.value
        rows += [[answers.claim.text, _word(home) if home else "–", on, over]]
    return [READ, "", *("| " + " | ".join(row) + " |" for row in rows), ""]


def _holding(answers: Answers) -> str:
    """On how many of the islands that count it holds, and on which: ``2 of 3: the published one, `atoll```."""
    there = [name for name, judgement in answers.counted.items() if judgement.verdict is Verdict.HOLDS]
    count = f"{len(there)} of {len(answers.counted)}"
    return f"{count}: {', '.join(map(_named, there))}" if there else count


def _named(name: str) -> str:
    return f"`{name}`" if name else "the published one"


def alt(answers: Answers) -> str:
    """What the strip shows, for who does not see it; the numbers stand in the table below it."""
    words = "; ".join(
        f"{called(one.island)}: {one.judgement.verdict.value}" for one in answers.each if one.judgement is not None
    )
    effects = "; ".join(
        f"{one.words} {in_words(one.corrected)} {one.of}" for one in answers.overall.effects if one.combined
    )
    over = f" Over the islands together: {effects}." if effects else ""
    return f"{_capital(tally(answers))}. {words}.{over} The numbers stand in the table below."


def asked(where: Mapping[str, Evidence]) -> str:
    """On which other islands the claims have been asked: a sentence or two for any page."""
    others = [ISLANDS[name] for name in where if name]
    runs = {island.name: experiments_run(island, where[island.name]) for island in others}
    whole, part, none = (
        [f"`{name}`" for name, (there, missing) in runs.items() if test(there, missing)]
        for test in (lambda t, m: t and not m, lambda t, m: t and m, lambda t, m: not t)
    )
    if not whole and not part:
        return f"{NOT_YET}: every number of this edition is of the published one."
    told = [f"The claims have been asked on {_and(whole + part)} too"]
    told += [f"on {_and(part)} not all of them, as not every experiment has results there"] if part else []
    told += [f"not yet on {_and(none)}"] if none else []
    return f"{'; '.join(told)}. What is said without the name of an island is of the published one."


def _overall(found: Decision[OverallEffect]) -> list[str]:
    if not any(one.combined for one in found.effects):
        return ["On fewer than two islands there is no overall effect."]
    told = ["Over the islands together:", ""]
    told += [f"- {one.words}: {_effect(one, one.combined)}" for one in found.effects if one.combined]
    last = f"Over them the word is “{found.before.value}”"
    if not math.isnan(found.stability):
        same = round(found.stability * found.left_out)
        last += f"; with one island left out, {same} of {found.left_out} analyses say so"
        if found.word is not found.before:
            last += f", too few, so that it is *{found.word.value}*"
    return [*told, f"- {last}."]


def _effect(one: OverallEffect, combined: Combined) -> str:
    text, corrected = in_words(combined.estimate()), in_words(one.corrected)
    widened = "" if corrected == text else f", for several comparisons at once {corrected}"
    share = next(words for end, words in SHARES if combined.i2 <= end)
    further = combined.prediction()
    beyond = "" if math.isnan(further.low) else f"; a further island within {_between(one.corrected, further)}"
    return (
        f"{text}{widened} {one.of}, {combined.places} islands; {share} of the spread between them is more than chance "
        f"(I² {_percent(combined.i2)}, τ {in_words(Estimate(combined.tau, NO_INTERVAL))}){beyond}: "
        f"**{one.word.value}**"
    )


def _percent(share: float) -> str:
    """Whole per cents; nothing that is less than all reads as all."""
    return "over 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _between(estimate: Estimate, interval: Interval) -> str:
    """An interval alone, with as many places as the estimate beside it."""
    return in_words(Estimate(estimate.value, interval)).partition(" ")[2]


def _others(answers: Answers) -> str:
    """What it is where it does not hold: ``; undecided on atoll and fjord``."""
    there = defaultdict(list)
    for name, judgement in answers.counted.items():
        if judgement.verdict is not Verdict.HOLDS:
            there[judgement.verdict.value].append(_named(name))
    return "".join(f"; {word} on {_and(names)}" for word, names in there.items())


def _left_out(answers: Answers) -> str:
    """Which islands could not be asked, and why."""
    why = defaultdict(list)
    for one in answers.each:
        if not one.apart and one.island.name not in answers.counted:
            why[one.why or Verdict.UNTESTED.value].append(f"`{one.island.name}`" if one.island.name else "here")
    return f" Not asked: {'; '.join(f'{_and(names)} ({reason})' for reason, names in why.items())}." if why else ""


def _apart(answers: Answers) -> str:
    """The published island seen by another CLIP, which counts for no other island."""
    seen = [f"`{one.island.name}`: {_word(one)}" for one in answers.each if one.apart]
    return f" Beside them, the published island seen by a CLIP of another training, {'; '.join(seen)}." if seen else ""


def _word(one: Answer) -> str:
    return one.judgement.verdict.value if one.judgement else f"not asked ({one.why})"


def _numbers(answers: Answers) -> list[str]:
    """A folded table: a row for each effect, a column for each island."""
    there = [(called(one.island), one.judgement) for one in answers.each if one.judgement is not None]
    columns = ["effect", "n on each", *(name for name, _ in there), "over islands", "a further island"]
    unit = {named.words: named.part.effect.unit for _, judgement in there for named in judgement.named}
    rows = [columns, ["---"] * len(columns)]
    for one in answers.overall.effects:
        cells, units = [], []
        for _, judgement in there:
            judged = dict(zip((named.words for named in judgement.named), judgement.decision.effects, strict=True))
            cells += [in_words(judged[one.words].corrected) if one.words in judged else "–"]
            units += [judged[one.words].units] if one.words in judged else []
        further = one.combined.prediction() if one.combined else NO_INTERVAL
        beyond = "–" if math.isnan(further.low) else _between(one.corrected, further)
        rows += [[f"{one.words} ({one.of})", _spread(units, unit[one.words]), *cells, in_words(one.corrected), beyond]]
    over = answers.overall.word.value
    rows += [["*the claim*", "", *(f"*{judgement.verdict.value}*" for _, judgement in there), f"*{over}*", ""]]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return ["```{dropdown} The numbers of the strip", *lines, "", BRACKETS, "```", ""]


def _spread(units: Sequence[int], unit: str) -> str:
    """``10 trainings``; from the fewest to the most where the islands differ in it."""
    least, most = min(units), max(units)
    n = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{n} {unit}{'' if most == 1 else 's'}"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
