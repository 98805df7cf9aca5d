"""The table: one number or word per latent in each column, a file for each, so that a page loads those it shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vlm_sae_lib.atlas.measuring import Measured
from vlm_sae_lib.atlas.pictures import Numbered
from vlm_sae_lib.atlas.steering import DOSES

Kind = Literal["word", "number", "rate", "count", "picture"]


@dataclass(frozen=True)
class Column:
    """A column and how to read it.

    Attributes:
        name, title, meaning: of its file, for the table's head, and for the reader.
        kind: ``word``; ``number``; ``rate``, a number of pictures that is shown as a share of them; ``count``;
            ``picture``, the number of a picture in the sheets.
        digits: behind the point, of a number.
        shown: whether the table begins with it.
    """

    name: str
    title: str
    meaning: str
    kind: Kind
    digits: int = 3
    shown: bool = False


@dataclass(frozen=True)
class Filled:
    """A column with its values: numbers, None where there is none; of words their numbers in ``words``, -1 for none."""

    column: Column
    values: Sequence[float | int | None]
    words: Sequence[str] = ()
    about: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        content: dict[str, Any] = {"schema": 1, "values": list(self.values)}
        return content | ({"words": list(self.words), "about": list(self.about)} if self.column.kind == "word" else {})


def columns(measured: Measured, pictures: Numbered) -> list[Filled]:
    """Every column that there is something to put into."""
    return [column for column in _all(measured, pictures) if any(_there(column))]


def _all(measured: Measured, pictures: Numbered) -> Iterator[Filled]:
    statistics, sae = measured.statistics, measured.sae
    top = statistics.top_images()
    covers = [pictures.number(int(i)) if i >= 0 else -1 for i in top[:, 0]]
    yield Filled(Column("cover", "picture", "the picture on which it is most active", "picture", shown=True), covers)
    if measured.names is not None:
        yield from _names(measured)
    for place, (encoder, ms) in enumerate(measured.ms.items()):
        meaning = (
            f"monosemanticity score: how alike its pictures are to the {encoder} encoder, each pair weighted by how "
            "active the latent is on both; 1 where all are the same"
        )
        name, shown = f"ms_{place + 1}", place == 0
        yield Filled(Column(name, f"MS, {encoder}" if place else "MS", meaning, "number", shown=shown), _numbers(ms, 3))
    yield Filled(
        Column("fires", "fires", "the share of the pictures on which it is active", "rate", shown=True),
        statistics.firing_count().tolist(),
    )
    if len(sae.group_sizes) > 1:
        level = np.repeat(np.arange(len(sae.group_sizes)), sae.group_sizes)
        meaning = "its Matryoshka level, 0 the outermost: the part of the dictionary that rebuilds alone up to there"
        yield Filled(Column("level", "level", meaning, "count", shown=True), level.tolist())
    yield from _detects(measured)
    yield Filled(
        Column("depth", "depth", "how deep in the tree two of its top pictures part, a mean over all pairs: 0 to 7",
               "number", 2), _numbers(measured.depth, 2))  # fmt: skip
    if measured.steered is not None:
        yield from _steered(measured)
    yield Filled(Column("maximum", "largest activation", "its activation on that picture", "number", 2),
                 _numbers(statistics.maximum, 4))  # fmt: skip
    near = np.where(measured.by_decoder.latents[:, 0] >= 0, measured.by_decoder.likeness[:, 0], np.nan)
    yield Filled(Column("nearest", "nearest", "the cosine of its decoder direction with the most similar other one",
                        "number", 2), _numbers(near, 2))  # fmt: skip


def _names(measured: Measured) -> Iterator[Filled]:
    names = measured.names
    assert names is not None
    used, numbers = _in_use(names.word)
    yield Filled(
        Column("name", "name", f"the word that CLIP finds nearest to its strongest pictures of {names.source}", "word",
               shown=True),
        numbers, [names.words[i][1] for i in used], [names.words[i][0] for i in used],
    )  # fmt: skip
    yield Filled(
        Column("confidence", "confidence", "how sure CLIP is of that word among all words; not how often it is right",
               "number", 2, shown=True),
        _numbers(names.confidence, 2),
    )  # fmt: skip
    right = right_names(measured)
    meaning = "the share of its top pictures here, others than it was named by, of which the name is true"
    yield Filled(Column("right", "name is true", meaning, "number", 2), _numbers(right, 2))


def right_names(measured: Measured) -> np.ndarray:
    """Of each latent the share of its top pictures of which its name is true; NaN where that is not known."""
    names, known = measured.names, measured.known
    found = np.full(measured.sae.n_latents, np.nan)
    if names is None:
        return found
    rows = np.searchsorted(known.image_ids, np.maximum(measured.statistics.top_images(), 0))
    there = measured.statistics.top_images() >= 0
    for latent in np.flatnonzero((names.word >= 0) & there.any(axis=1)):
        about, word = names.words[names.word[latent]]
        factor = known.factor(about)
        if factor is not None:
            value = factor.values.index(word) if word in factor.values else -2
            found[latent] = (factor.codes[rows[latent, there[latent]]] == value).mean()
    return found


def _detects(measured: Measured) -> Iterator[Filled]:
    factors, best, n = measured.known.factors, measured.detects, measured.sae.n_latents
    first = best.first(n)
    pairs = [(int(best.factor[i]), int(best.value[i])) if i >= 0 else None for i in first]
    used = sorted({pair for pair in pairs if pair})
    number = {pair: i for i, pair in enumerate(used)}
    yield Filled(
        Column("detects", "detects", "what it detects best of all that is known of the pictures, by how far its F1 "
               "exceeds that of always saying yes", "word", shown=True),
        [number[pair] if pair else -1 for pair in pairs],
        [factors[f].values[v] for f, v in used], [factors[f].name for f, _ in used],
    )  # fmt: skip
    for name, meaning in {
        "precision": "of the pictures where it exceeds its best threshold, the share that show what it detects",
        "recall": "of the pictures that show what it detects, the share where it exceeds that threshold",
        "f1": "the harmonic mean of the two",
    }.items():
        title = "F1" if name == "f1" else name
        yield Filled(Column(name, title, meaning, "number", 2, shown=name != "f1"), _picked(getattr(best, name), first))


def _steered(measured: Measured) -> Iterator[Filled]:
    steered = measured.steered
    assert steered is not None
    for name, title, meaning, table in (
        ("says", "says it", "of pictures without what it detects, the share on which the model, with the latent turned "
         f"up to {DOSES[-1]:g} times its largest value, answers just that", steered.said),
        ("keeps", "keeps the rest", "the share of the answers to other questions that then stay as they were",
         steered.kept),
    ):  # fmt: skip
        values = np.full(measured.sae.n_latents, np.nan)
        values[steered.latents] = table[:, -1] if len(table) else []
        yield Filled(Column(name, title, meaning, "number", 2), _numbers(values, 2))


def _in_use(codes: np.ndarray) -> tuple[list[int], list[int]]:
    """The codes that occur, ascending, and each code's place among them; -1 stays."""
    used = sorted({int(code) for code in codes if code >= 0})
    place = {code: i for i, code in enumerate(used)}
    return used, [place.get(int(code), -1) for code in codes]


def _picked(values: np.ndarray, places: np.ndarray) -> list[float | None]:
    return _numbers(np.where(places >= 0, np.append(values, np.nan)[places], np.nan), 2)


def _numbers(values: np.ndarray, digits: int) -> list[float | None]:
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]


def _there(column: Filled) -> Iterator[bool]:
    empty = -1 if column.column.kind in ("word", "picture") else None
    return (value != empty for value in column.values)
