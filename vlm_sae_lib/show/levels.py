"""Tables of a Matryoshka autoencoder's levels, and where on the tree its latents sit."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vlm_sae_lib.records.results import published
from vlm_sae_lib.show.scores import stated
from vlm_sae_lib.statistics.intervals import Estimate
from vlm_sae_lib.taxonomy import RANKS, TaxonPath, rank_names


def level_sizes(paths: Sequence[TaxonPath], sizes: Sequence[int]) -> pd.DataFrame:
    """For each rank its names in a tree, the level cut to it, and how many latents that has, here and in the paper."""
    beyond = ["–"] * (len(RANKS) - len(sizes))
    theirs = [f"{published('hierarchy', level=i, statistic='group_size'):.0f}" for i in range(len(sizes))]
    return pd.DataFrame(
        {
            "names in the tree": [len({path[: i + 1] for path in paths}) for i in range(len(RANKS))],
            "level": [*map(str, range(len(sizes))), *beyond],
            "latents": [*map(str, sizes), *beyond],
            "latents in the paper": [*theirs, *beyond],
        },
        index=pd.Index(RANKS, name="rank"),
    )


def kept_by_level(level: np.ndarray, rates: np.ndarray, full: np.ndarray) -> pd.DataFrame:
    """How many latents of each level have sixteen pictures, and how often these fire.

    Args:
        level: of each latent.
        rates: share of the pictures on which each fires.
        full: whether each has sixteen pictures.
    """
    ours = pd.DataFrame({"level": level, "silent": rates == 0, "full": full, "rate": rates})
    kept = ours.groupby("level").agg(latents=("full", "size"), kept=("full", "sum"), never_fired=("silent", "sum"))
    kept["fewer than 16 pictures"] = kept["latents"] - kept["kept"]
    middle = ours[ours["full"]].groupby("level")["rate"].median()
    kept["median share of pictures it fires on"] = middle.map("{:.1%}".format)
    return kept.rename(columns={"never_fired": "never fired"})


def partner_table(level: np.ndarray, partner: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> pd.DataFrame:
    """Per level: latents that found a partner, different partners, and how often both fire.

    Args:
        partner: of each latent, -1 where it has none.
        ours, theirs: firing rates of our latents, and of those that partners are taken from.
    """
    columns = {
        "latents": ("partner", "size"), "partners": ("partner", "nunique"), "ours": ("ours", "median"),
        "theirs": ("theirs", "median"),
    }  # fmt: skip
    pairs = pd.DataFrame({"level": level, "partner": partner, "ours": ours, "theirs": theirs[partner]})
    found = pairs[partner >= 0].groupby("level").agg(**columns)
    found[["ours", "theirs"]] = found[["ours", "theirs"]].map("{:.1%}".format)
    return found.rename(
        columns={"partners": "different partners", "ours": "median firing rate", "theirs": "of the partners"}
    )


def ms_table(means: Sequence[Estimate], ms: np.ndarray, level: np.ndarray) -> pd.DataFrame:
    """Mean, best and worst MS of each level, beside the paper's mean under DINOv2."""
    columns: dict[str, list[str]] = {"mean MS": [stated(mean) for mean in means]}
    for name, pick in (("best", np.nanmax), ("worst", np.nanmin)):
        columns[name] = [f"{pick(ms[level == i]):.2f}" for i in range(len(means))]
    columns["paper's mean"] = [
        f"{published('hierarchy', level=i, statistic='mean', scoring_encoder='DINOv2 ViT-B'):.2f}"
        for i in range(len(means))
    ]
    return pd.DataFrame(columns).rename_axis("level")


def marks_on_nodes(best: pd.DataFrame, paths: Sequence[TaxonPath], level: np.ndarray) -> dict[TaxonPath, list[int]]:
    """The levels of the latents at each node of the tree, by its path from the root.

    Args:
        best: rows of neuron, factor (a rank) and value (a name).
        paths: of the species; a name that several nodes bear, as where a branch does not fork, is the first one's.
    """
    node_of: dict[tuple[str, str], TaxonPath] = {}
    for path in paths:
        names = rank_names(path)
        for i, rank in enumerate(RANKS):
            node_of |= {(rank, path[i].lower()): path[: i + 1], (rank, names[rank]): path[: i + 1]}
    marks: dict[TaxonPath, list[int]] = {}
    for neuron, factor, value in best[["neuron", "factor", "value"]].itertuples(index=False):
        marks.setdefault(node_of[factor, value], []).append(int(level[neuron]))
    return marks


def marks_table(marks: Mapping[TaxonPath, Sequence[int]]) -> pd.DataFrame:
    """A row per node that has latents: its rank, its name, and how many."""
    rows = [(RANKS[len(node) - 1], node[-1], len(found)) for node, found in marks.items()]
    return pd.DataFrame(rows, columns=["series", "x", "y"])


def rises(slope: Estimate) -> str:
    """Whether a slope's whole interval lies above zero, in words."""
    return "rises" if slope.interval.low > 0 else "does not clearly rise"


def side_of_zero(found: Estimate) -> str:
    """On which side of zero an interval lies, in words."""
    low, high = found.interval
    return "above" if low > 0 else "below" if high < 0 else "not clearly on one side of"
