"""A reader for the authors' published user study, ``metric_benchmark.tar.gz`` or the folder that it unpacks to.

It holds ``pairs.csv`` (``k_x, k_y, R_user, MS_x_dino, MS_y_dino, MS_x_clip, MS_y_clip``: two neurons, which of them the
majority preferred, and their scores), ``top16_images.csv`` (``k, x_1 … x_16``: the pictures that people saw) and
``activations.csv`` (``k, a_1 … a_n``: each neuron on the n validation pictures of ImageNet). Nothing is unpacked: the
three tables are read where they lie, whatever else an archive may hold.
"""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from vlm_sae_lib.archives import Bounded, check_size
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.alignment import bin_of, by_bin, prefers_first
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score

PAIRS, TOP, ACTIVATIONS = "pairs.csv", "top16_images.csv", "activations.csv"
ENCODERS = ("dino", "clip")
NEURONS_AT_ONCE = 64
LARGEST = 256 * 2**20
"""Bytes of a table that is read whole."""
BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, ArithmeticError, LookupError)
"""Among them what the standard library's reader of archives and pandas make of damaged ones."""


class HumanBenchmark:
    """The published pairs of neurons with people's preferences.

    Args:
        path: the archive (``.tar.gz``, ``.tgz``, ``.tar``) or a folder that holds the three tables.
        first: what ``R_user`` holds where people preferred the first neuron. Where it holds the neuron's own number,
            or x and y, or 1 and 2, that is clear and need not be said; where it holds anything else, it must be.

    Attributes:
        pairs: ``pairs.csv``.
        user_first: (n_pairs,) whether people preferred the first neuron.

    Raises:
        UserError: no such path, a damaged archive, a missing table or column, a preference that cannot be read.
    """

    def __init__(self, path: str | Path, *, first: Any = None) -> None:
        self.path = Path(path).expanduser()
        if not self.path.exists():
            raise UserError(f"There is no {self.path}; give the metric_benchmark archive, or the folder it unpacks to.")
        scores = [f"MS_{side}_{encoder}" for encoder in ENCODERS for side in "xy"]
        self.pairs = self._table(PAIRS, ["k_x", "k_y", "R_user", *scores])
        for column in scores:
            self.pairs[column] = self._numbers(self.pairs[column], PAIRS, column)
        self.user_first = self._preferences(first)

    def alignment(self, scores: pd.DataFrame | None = None) -> pd.DataFrame:
        """The paper's Table A1: how often the larger MS is what people preferred, by bins of the difference.

        Args:
            scores: ``pairs`` with other scores in its columns ``MS_…``, as of `rescored`; by default the published.

        Returns:
            ``binned_by, encoder, bin_low, bin_high, pairs, aligned, alignment, low, high``, Wilson's 95 % intervals.
            A tie goes to the second neuron, as in the paper.
        """
        pairs = self.pairs if scores is None else scores
        parts = []
        for binned_by in ENCODERS:
            bins = bin_of(pairs[f"MS_x_{binned_by}"], pairs[f"MS_y_{binned_by}"])
            for encoder in ENCODERS:
                x, y = (pairs[f"MS_{side}_{encoder}"].to_numpy() for side in "xy")
                known = ~np.isnan(x) & ~np.isnan(y)
                table = by_bin((prefers_first(x, y) == self.user_first)[known], bins[known])
                table.insert(0, "binned_by", binned_by)
                table.insert(1, "encoder", encoder)
                parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def ties(self) -> dict[str, int]:
        """How many pairs have the same MS on both sides, per encoder."""
        return {name: int((self.pairs[f"MS_x_{name}"] == self.pairs[f"MS_y_{name}"]).sum()) for name in ENCODERS}

    def top_images(self) -> pd.DataFrame:
        """``top16_images.csv``, one row per neuron, indexed by ``k``: names or numbers of ImageNet's training pictures.

        Raises:
            UserError: the table or one of its columns is missing.
        """
        columns = [f"x_{i}" for i in range(1, 17)]
        return self._table(TOP, ["k", *columns]).set_index("k")[columns]

    def scores(self, embeddings: Float[np.ndarray, "n dim"]) -> pd.Series:
        """MS of every neuron of ``activations.csv``, recomputed (paper v3 Eq. 5-9); read a few neurons at a time.

        Args:
            embeddings: of the pictures a_1 … a_n in this order (ImageNet's validation pictures by file name).

        Raises:
            UserError: as many embeddings as there are activations are needed.
        """
        found: dict[str, float] = {}
        with self._open(ACTIVATIONS) as file, self._sentence(ACTIVATIONS):
            for part in pd.read_csv(file, dtype={"k": str}, chunksize=NEURONS_AT_ONCE):
                columns = [f"a_{i}" for i in range(1, part.shape[1])]
                self._check_columns(part, ["k", *columns], ACTIVATIONS)
                if len(columns) != len(embeddings):
                    raise UserError(f"{ACTIVATIONS} has {len(columns)} pictures, but there are {len(embeddings)} "
                                    "embeddings; give one for each, in the same order.")  # fmt: skip
                values = np.stack([self._numbers(part[column], ACTIVATIONS, column) for column in columns])
                found.update(zip(part["k"], monosemanticity_score(values, embeddings), strict=True))
        return pd.Series(found, dtype=np.float64)

    def rescored(self, embeddings: dict[str, Float[np.ndarray, "n dim"]]) -> pd.DataFrame:
        """``pairs`` with MS recomputed from the activations and the embeddings of one or both encoders.

        Args:
            embeddings: by encoder, ``dino`` or ``clip``; as in `scores`.

        Raises:
            UserError: a neuron of a pair has no activations.
        """
        pairs = self.pairs.copy()
        for encoder, vectors in embeddings.items():
            scores = self.scores(vectors)
            for side in "xy":
                if missing := sorted(set(pairs[f"k_{side}"]) - set(scores.index)):
                    raise UserError(f"Neuron {missing[0]} of {PAIRS} has no row in {ACTIVATIONS}.")
                pairs[f"MS_{side}_{encoder}"] = scores.loc[pairs[f"k_{side}"]].to_numpy()
        return pairs

    def _preferences(self, first: Any) -> Bool[np.ndarray, " n_pairs"]:
        said, pairs = self.pairs["R_user"].str.strip(), self.pairs
        if first is not None:
            return (said == str(first)).to_numpy()
        if ((said == pairs["k_x"]) | (said == pairs["k_y"])).all():
            return (said == pairs["k_x"]).to_numpy()
        words = set(said.str.lower())
        for one, other in (("x", "y"), ("1", "2")):
            if words <= {one, other}:
                return (said.str.lower() == one).to_numpy()
        raise UserError(
            f"R_user holds {', '.join(sorted(words)[:4])}; say which of them means the first neuron: first=…"
        )

    def _table(self, name: str, columns: list[str]) -> pd.DataFrame:
        with self._open(name) as file, self._sentence(name):
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        self._check_columns(table, columns, name)
        return table

    def _check_columns(self, table: pd.DataFrame, columns: list[str], name: str) -> None:
        if missing := [column for column in columns if column not in table]:
            raise UserError(f"{name} in {self.path.name} has no column {missing[0]}.")

    def _numbers(self, column: pd.Series, table: str, name: str) -> Float[np.ndarray, " n"]:
        try:
            return pd.to_numeric(column.replace("", np.nan)).to_numpy(dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"Column {name} of {table} in {self.path.name} holds something that is no number."
            ) from error

    @contextmanager
    def _open(self, name: str) -> Iterator[IO]:
        """One of the tables, from the folder or from within the archive; nothing is written to disk."""
        if self.path.is_dir():
            found = sorted(path for path in self.path.rglob(name) if path.is_file())
            if not found:
                raise UserError(f"{self.path.name} holds no {name}.")
            with found[0].open("rb") as file:
                yield file
            return
        with self._sentence(name), tarfile.open(self.path, tarinfo=Bounded) as archive:
            member = next((entry for entry in archive if entry.isreg() and Path(entry.name).name == name), None)
            packed = archive.extractfile(member) if member else None
            if member is None or packed is None:
                raise UserError(f"{self.path.name} holds no {name}.")
            if name != ACTIVATIONS:
                check_size(member, LARGEST)
            yield packed

    @contextmanager
    def _sentence(self, name: str) -> Iterator[None]:
        """Whatever breaks while a table is read becomes one sentence."""
        try:
            yield
        except UserError:
            raise
        except BROKEN as error:
            raise UserError(
                f"{name} in {self.path.name} cannot be read: damaged, cut short, or no such table."
            ) from error
