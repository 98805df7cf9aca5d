"""One measure drawn: the SAE with its interval, a lettered mark for each rival, a tick for each leaderboard entry."""

from collections.abc import Sequence
from html import escape

from vlm_sae_lib.scorecard.card import Value

WIDTH, SIDE, RADIUS, LANE = 340, 14, 7, 16
MIDDLE = 14
"""Height of the SAE's own line; rivals hang below it."""


def strip(
    title: str, own: Value, rivals: Sequence[tuple[str, str, Value]], board: Sequence[float | None] = ()
) -> str:
    """An SVG on a scale from the smallest to the largest value shown.

    Args:
        own: has a value.
        rivals: (letter, name, value); one without a value has no mark.
    """
    assert own.value is not None  # the row says otherwise why there is none
    shown = [(letter, name, value.value) for letter, name, value in rivals if value.value is not None]
    ticks = [value for value in board if value is not None]
    ends = [own.value if end is None else end for end in (own.low, own.high)]
    everything = [own.value, *ends, *ticks, *(value for _, _, value in shown)]
    low, high = min(everything), max(everything)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return round(SIDE + (value - low) / span * (WIDTH - 2 * SIDE), 1)

    lanes = _lanes([(x(value), letter, name) for letter, name, value in shown])
    deepest = max((lane for *_, lane in lanes), default=0)
    base = MIDDLE + LANE * (deepest + 1) + 18
    parts = [f'<line class="axis" x1="{SIDE}" y1="{MIDDLE}" x2="{WIDTH - SIDE}" y2="{MIDDLE}"/>']
    parts += [f'<line class="board" x1="{x(v)}" y1="{MIDDLE - 8}" x2="{x(v)}" y2="{MIDDLE + 4}"/>' for v in ticks]
    for place, letter, name, lane in lanes:
        y = MIDDLE + LANE * (lane + 1)
        parts.append(f'<g><title>{escape(name)}</title><circle class="rival" cx="{place}" cy="{y}" r="{RADIUS}"/>'
                     f'<text class="letter" x="{place}" y="{y + 3.5}">{letter}</text></g>')  # fmt: skip
    at = x(own.value)
    parts.append(f'<line class="band" x1="{x(ends[0])}" y1="{MIDDLE}" x2="{x(ends[1])}" y2="{MIDDLE}"/>')
    parts.append(f'<path class="own" d="M{at} {MIDDLE - 8} l7 8 l-7 8 l-7 -8 z"/>')
    parts.append(f'<text x="{SIDE}" y="{base}" text-anchor="middle">{_short(low)}</text>')
    if high > low:
        parts.append(f'<text x="{WIDTH - SIDE}" y="{base}" text-anchor="middle">{_short(high)}</text>')
    return (f'<svg viewBox="0 0 {WIDTH} {base + 4}" role="img" aria-label="{escape(title)}: this SAE and the others">'
            f"{''.join(parts)}</svg>")  # fmt: skip


def _lanes(marks: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str, int]]:
    """Each mark in the first lane in which it covers no other."""
    last: list[float] = []
    placed = []
    for place, letter, name in sorted(marks):
        lane = next((i for i, end in enumerate(last) if place - end > 2 * RADIUS), len(last))
        last[lane : lane + 1] = [place]
        placed.append((place, letter, name, lane))
    return placed


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
