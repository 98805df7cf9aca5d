"""What a figure shows as a table, read off its lines, bars, dots and bands: no figure can tell another story."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryLocator
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

COLUMNS = ("panel", "series", "x", "y", "low", "high")


def plotted(figure: Figure) -> pd.DataFrame:
    """A row per point: its panel, its series, x and y, and the ends of its interval, drawn as a bar or as a band.

    Axes whose ticks have names give the name. Columns that stay empty are left out; no row where nothing has a name.
    """
    rows = [row for axis in figure.axes for row in _rows(axis)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    # two panels of one figure share names where one legend serves both
    return table.dropna(axis=1, how="all").drop_duplicates(ignore_index=True)


def digest(table: pd.DataFrame) -> str:
    """How many, least, middle and greatest value of each series, in three digits: what tests of notebooks compare."""
    if table.shape[1] and "y" not in table:  # not plotted, but listed: how often each first word stands there
        return "\n".join(f"{name}: n = {count}" for name, count in table.iloc[:, 0].value_counts(sort=False).items())
    if table.empty:
        return ""
    keys = [column for column in ("panel", "series") if column in table]
    groups = table.groupby(keys, sort=False, dropna=False) if keys else [((), table)]
    return "\n".join(_line(names, part["y"]) for names, part in groups)


def _line(names: Any, values: pd.Series) -> str:
    finite = pd.to_numeric(values, errors="coerce").to_numpy(float)
    finite = finite[np.isfinite(finite)]
    name = ", ".join(
        str(part) for part in np.atleast_1d(np.array(names, dtype=object)) if isinstance(part, str) and part
    )
    if not len(finite):
        return f"{name or 'values'}: n = 0"
    low, middle, high = (f"{value:.3g}" for value in (finite.min(), np.median(finite), finite.max()))
    return f"{name or 'values'}: n = {len(finite)}, min {low}, median {middle}, max {high}"


def _rows(axis: Axes) -> Iterator[tuple]:
    panel = _title(axis)
    used: set[Any] = set()
    for container in axis.containers:
        if isinstance(container, ErrorbarContainer):
            used.update(container.lines[1])
            if container.lines[0] is not None:
                used.add(container.lines[0])
                yield from _with_intervals(axis, panel, container)
        elif isinstance(container, BarContainer):
            yield from _bars(axis, panel, container)
    bands = [band for band in axis.collections if isinstance(band, PolyCollection)]
    for line in axis.lines:
        if line not in used and not _nameless(line.get_label()):
            ends, places = _band(line, bands), np.asarray(line.get_xdata(orig=False))
            for x, y, at in zip(*(np.asarray(part, dtype=object) for part in line.get_data()), places, strict=True):
                own = ends.get(float(at), (None, None))
                yield panel, line.get_label(), _named(axis.xaxis, x), _named(axis.yaxis, y), *own
    for dots in axis.collections:
        if isinstance(dots, PathCollection) and not _nameless(dots.get_label()):
            for x, y in np.ma.filled(dots.get_offsets(), np.nan):
                yield panel, dots.get_label(), _named(axis.xaxis, x), _named(axis.yaxis, y), None, None
        elif isinstance(dots, QuadMesh):
            for (row, column), value in np.ndenumerate(np.atleast_2d(np.asarray(dots.get_array()))):
                yield panel, _named(axis.yaxis, row + 0.5), _named(axis.xaxis, column + 0.5), float(value), None, None


def _with_intervals(axis: Axes, panel: str | None, container: ErrorbarContainer) -> Iterator[tuple]:
    line, _, bars = container.lines
    ends = [segment for collection in bars for segment in collection.get_segments()]
    along_x = bool(container.has_xerr)
    for place, (x, y) in enumerate(np.column_stack(line.get_data())):
        low, high = (
            sorted(ends[place][:, 0 if along_x else 1]) if place < len(ends) and len(ends[place]) else (None, None)
        )
        where, value = (_named(axis.yaxis, y), x) if along_x else (_named(axis.xaxis, x), y)
        yield panel, _name(container), where, value, low, high


def _bars(axis: Axes, panel: str | None, container: BarContainer) -> Iterator[tuple]:
    lying = container.orientation == "horizontal"
    ends: list[Any] = []
    if container.errorbar is not None:
        ends = [segment for collection in container.errorbar.lines[2] for segment in collection.get_segments()]
    for place, bar in enumerate(container.patches):
        middle = bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2
        value = bar.get_width() if lying else bar.get_height()
        low, high = (
            sorted(ends[place][:, 0 if lying else 1]) if place < len(ends) and len(ends[place]) else (None, None)
        )
        yield panel, _name(container), _named(axis.yaxis if lying else axis.xaxis, middle), value, low, high


def _band(line: Line2D, bands: Sequence[PolyCollection]) -> dict[float, tuple[float, float]]:
    """By x: the ends of the band of a line, which has its colour and runs along it; nothing where it has none."""
    data = np.column_stack([np.asarray(part, dtype=float) for part in line.get_data(orig=False)])
    points = data[np.isfinite(data).all(axis=1)].tolist()
    for band in bands:
        colours = np.asarray(band.get_facecolor())
        if len(colours) != 1 or to_rgb(tuple(colours[0])) != to_rgb(line.get_color()):
            continue
        edge: dict[float, list[float]] = {}
        for x, y in np.concatenate([path.vertices for path in band.get_paths()] or [np.empty((0, 2))]):
            edge.setdefault(float(x), []).append(float(y))
        ends = {x: (min(heights), max(heights)) for x, heights in edge.items()}
        along = [ends[x][0] <= y <= ends[x][1] for x, y in points if x in ends]
        if along and all(along):
            return ends
    return {}


def _title(axis: Axes) -> str | None:
    return axis.get_title() or axis.get_title(loc="left") or (axis.get_ylabel() if len(axis.figure.axes) > 1 else None)


def _name(container: Any) -> str | None:
    return None if _nameless(container.get_label()) else container.get_label()


def _nameless(label: Any) -> bool:
    return not isinstance(label, str) or not label or label.startswith("_")


def _named(axis: Any, at: Any) -> Any:
    """The name of the tick at a place, where the ticks have names and not just their own numbers."""
    if not isinstance(at, int | float | np.number):
        return at
    if isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator):
        names = [label.get_text().replace("\n", " ") for label in axis.get_ticklabels()]
        places = np.asarray(axis.get_majorticklocs(), dtype=float)
        if len(places) == len(names) and any(_is_name(name, place) for name, place in zip(names, places, strict=True)):
            nearest = int(np.argmin(np.abs(places - float(at))))
            gap = np.diff(np.sort(places)).min() / 2 if len(places) > 1 else 0.5
            if abs(places[nearest] - float(at)) <= gap and names[nearest]:
                return names[nearest]
    return float(at)


def _is_name(name: str, place: float) -> bool:
    try:
        return float(name) != place
    except ValueError:
        return bool(name)
