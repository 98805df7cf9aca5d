"""Where an SAE reads, and all that a scorecard is measured on there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Bool, Float

from vlm_sae_lib.controls.directions import as_rows
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.factors import FACTORS, Splits
from vlm_sae_lib.experiments.recovery_kinds import known_values
from vlm_sae_lib.profiles import Profile
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.scores.absorption import value_names
from vlm_sae_lib.workbench import Workbench

FINAL = "pocket:4000:770077"
"""The pictures that a scorecard is measured on. Their seed is that of no training, no choice and no test of the book;
tests/scorecard holds this."""
SPLITS = ("train", "choosing", "test")


@dataclass(frozen=True)
class Place:
    """A hook point of the pocket tower, and which of its tokens are read (as ``towers/tokens.py`` spells it)."""

    hook_point: str
    tokens: str = "cls"

    def __str__(self) -> str:
        return self.hook_point if self.tokens == "cls" else f"{self.hook_point}, tokens {self.tokens}"


@dataclass(frozen=True, eq=False)
class Material:
    """What a dictionary is measured on.

    Attributes:
        splits: activations, ``per_picture`` rows for each picture, and the truth of each picture; ``test`` are the
            final pictures.
        per_picture: 1, or the number of tokens that are read.
        embeddings: of the final pictures, by scoring encoder.
    """

    place: Place
    splits: Splits
    per_picture: int
    embeddings: dict[str, Float[np.ndarray, "n dim"]]

    @property
    def n(self) -> int:
        """How many final pictures there are."""
        return len(self.splits.test_factors)

    @cached_property
    def names(self) -> pd.DataFrame:
        """Every value of every factor: ``factor, value``."""
        return value_names(self.splits.train_factors, FACTORS)

    @cached_property
    def known(self) -> dict[str, Bool[np.ndarray, "n values"]]:
        """By split, which picture shows which value; of several that are true of the same pictures the first."""
        return dict(known_values(self.splits).truth)

    def code(self, coder: Any) -> Callable[[Float[np.ndarray, "rows d"]], sp.csr_matrix]:
        """From activations to one row of latents for each picture: the mean over its tokens, taken after encoding."""

        def of_pictures(rows: np.ndarray) -> sp.csr_matrix:
            latents = sp.csr_matrix(coder.encode_sparse(rows.astype(np.float32)))
            if self.per_picture == 1:
                return latents
            pictures = sp.identity(latents.shape[0] // self.per_picture, format="csr")
            mean = np.full((1, self.per_picture), 1 / self.per_picture)
            return (sp.kron(pictures, mean, format="csr") @ latents).tocsr()

        return of_pictures


def final_bench(profile: Profile, hook_point: str, final: str = FINAL) -> Workbench:
    """The workbench whose test pictures are the final ones; what it makes lies beside all else of the profile."""
    return Workbench(replace(profile, test_pictures=final, main_hook_point=hook_point))


def place_of(
    sae: SparseAutoencoder, profile: Profile, hook_point: str | None = None, tokens: str | None = None
) -> Place:
    """Where an SAE reads: as told, else as its metadata says, else at the profile's main hook point the CLS token.

    Raises:
        UserError: a hook point that the tower lacks, activations of another width, the SAE of another tower, or every
            token of a block.
    """
    tower = Workbench(profile).tower()
    known = sae.metadata.get("provenance") or {}
    if known.get("weights_hash", tower.weights_hash) != tower.weights_hash:
        theirs = known.get("tower")
        raise UserError(f"This SAE was trained on the tower {theirs}, and scorecards are of SAEs of {tower.name}.")
    told = hook_point or known.get("hook_point") or profile.main_hook_point
    if told not in tower.hook_points:
        raise UserError(f"The tower {tower.name} has no hook point {told!r}; it has {', '.join(tower.hook_points)}.")
    if tower.dim(told) != sae.dim:
        widths = _widths([(tower.dim(point), point) for point in tower.hook_points])
        raise UserError(
            f"This SAE reads activations of width {sae.dim}, and {told} of the tower {tower.name} has {tower.dim(told)}"
            f" ({widths}): name the hook point that it was trained at with --hook-point."
        )
    if tokens is None:
        tokens = known.get("tokens", "cls") if known.get("hook_point") == told else "cls"
    rule = tower.check(told, tokens)
    if rule == "all" and tower.tokens(told) > 1:
        raise UserError(f"All {tower.tokens(told)} tokens of {told} are more than a card can read in minutes: give "
                        "--tokens random:8, which draws eight of each picture.")  # fmt: skip
    return Place(told, rule)


def material(bench: Workbench, place: Place) -> Material:
    """Activations of the three splits at a place, their truth, and the final pictures' embeddings; kept in runs/.

    Raises:
        UserError: pictures whose truth nobody knows.
    """
    if not bench.drawn:
        raise UserError("A scorecard needs pictures whose factors are known; make it with the profile pocket.")
    stores = {split: bench.activations(split, place.hook_point, place.tokens) for split in SPLITS}
    factors, rows = {}, {}
    for split, store in stores.items():
        ids = np.asarray(store.image_ids)
        order = np.argsort(ids, kind="stable")  # a picture's tokens stand together
        pictures = np.unique(ids)
        rows[split] = as_rows(store)[order]
        factors[f"{split}_factors"] = bench.pictures(split).factors.loc[pictures].reset_index(drop=True)
    return Material(
        place,
        Splits(**rows, **factors),
        len(rows["test"]) // len(factors["test_factors"]),
        {name: as_rows(bench.embeddings("test", name)) for name in bench.scoring_names},
    )


def _widths(found: Sequence[tuple[int, str]]) -> str:
    """``128: block_0, block_1; 64: projection``."""
    by_width: dict[int, list[str]] = {}
    for width, point in found:
        by_width.setdefault(width, []).append(point)
    return "; ".join(f"{width}: {', '.join(points)}" for width, points in by_width.items())
