"""The strip of a claim: its effects on every island with their intervals, and what they are over all of them."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_sae_lib.claims.island_markdown import called
from vlm_sae_lib.claims.islands import Answer, Answers
from vlm_sae_lib.claims.overall import OverallEffect
from vlm_sae_lib.show.style import COLOURS
from vlm_sae_lib.statistics.intervals import Estimate

ACROSS = 3
ISLAND, APART, OVER = COLOURS["matryoshka_batch_top_k"], COLOURS["raw"], COLOURS["truth"]
INCHES, ROW, POINTS, LETTERS = 6.4, 0.21, 8.5, {1: 74, 2: 32, 3: 21}
"""Width of a figure, height of a row, size of letters, and how many fit above a panel where so many stand in a row."""


def strip(answers: Answers) -> Figure:
    """A panel for each deciding effect: a mark an island with its interval, a diamond for all of them together.

    The lines are zero and, dotted, the smallest size that matters to either side. At the right stands the claim's word
    on each island. A hollow mark is the published island seen by another CLIP, and is part of no count.
    """
    there = [one for one in answers.each if one.judgement is not None]
    effects = answers.overall.effects
    across = 2 if len(effects) == 4 else min(ACROSS, len(effects))
    down = -(-len(effects) // across)
    titles = [textwrap.wrap(one.words, LETTERS[across]) for one in effects]
    height = 0.6 + ROW * (len(there) + 1) + 0.16 * max(map(len, titles))
    figure, grid = plt.subplots(down, across, figsize=(INCHES, down * height), sharey=True, squeeze=False)
    rows = [called(one.island) for one in there] + ["over islands"]
    for axis, one, title in zip(grid.flat, effects, titles, strict=False):
        _panel(axis, there, one)
        axis.set_title("\n".join(title), fontsize=POINTS, fontweight="normal", loc="left")
        axis.set_xlabel(one.of, fontsize=POINTS)
        axis.set_yticks(range(len(rows)), rows, fontsize=POINTS)
    for axis in list(grid.flat)[len(effects) :]:
        axis.set_visible(False)
    words = [one.judgement.verdict.value for one in there if one.judgement] + [answers.overall.word.value]
    for row in grid:
        _words(next(axis for axis in row[::-1] if axis.get_visible()), words)
    grid[0, 0].set_ylim(len(rows) - 0.4, -0.6)  # the first island above, and room for whole marks
    return figure


def _panel(axis: Axes, there: Sequence[Answer], one: OverallEffect) -> None:
    marks = [(row, *found) for row, answer in enumerate(there) if (found := _mark(answer, one)) is not None]
    ends = [end for _, estimate, _ in marks for end in (*estimate.interval, estimate.value) if end == end]
    ends += [0, -one.delta, one.delta] + ([one.combined.value] if one.combined else [])
    room = 0.06 * (max(ends) - min(ends))
    low, high = min(ends) - room, max(ends) + room
    axis.axvline(0, color="black", linewidth=0.8)
    for side in (-one.delta, one.delta):
        axis.axvline(side, color="black", linewidth=0.8, linestyle=":")
    for row, estimate, apart in marks:
        colour = APART if apart else ISLAND
        axis.hlines(row, *estimate.interval, color=colour, linewidth=1.6)
        axis.plot(estimate.value, row, "o", markersize=5, color=colour, markerfacecolor="white" if apart else colour)
    if one.combined:
        last = len(there)
        axis.hlines(last, *one.combined.prediction(), color=OVER, linewidth=0.8)
        axis.hlines(last, *one.corrected.interval, color=OVER, linewidth=2.6)
        axis.plot(one.combined.value, last, "D", markersize=6.5, color=OVER)
        for end, at, arrow in zip(one.corrected.interval, (low, high), "<>", strict=True):
            if not low <= end <= high:  # few islands can leave it far wider than they lie apart
                axis.plot(at, last, arrow, markersize=5, color=OVER, clip_on=False)
    axis.set_xlim(low, high)
    axis.locator_params(axis="x", nbins=4)
    axis.tick_params(axis="x", labelsize=POINTS)
    axis.grid(axis="y", visible=False)


def _mark(answer: Answer, one: OverallEffect) -> tuple[Estimate, bool] | None:
    """The effect on an island, with the interval that its word follows from, and whether it stands apart."""
    if answer.judgement is None:
        return None
    for named, judged in zip(answer.judgement.named, answer.judgement.decision.effects, strict=True):
        if named.words == one.words:
            return judged.corrected, answer.apart
    return None


def _words(axis: Axes, words: Sequence[str]) -> None:
    """The claim's word on each row, at the right of its last panel."""
    beside = axis.secondary_yaxis("right")
    beside.set_yticks(range(len(words)), words, fontsize=POINTS)
    beside.tick_params(length=0, pad=7)
    beside.spines["right"].set_visible(False)
