"""What the n of each result counts, in words for a reader: the results files hold the number alone.

The words stand beside the pattern of the results' names; the number, and of how many trainings, comes from the result.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from vlm_sae_lib.claims.left_out import of_how_many
from vlm_sae_lib.claims.verdict import number
from vlm_sae_lib.records.results import Results

NEURONS, LATENTS = "neurons of all trainings", "latents of all trainings"
PAIRS, VALUES = "pairs of neurons of all trainings", "factor values"
PICTURES = "test pictures"
ALL_TRAININGS = " of all trainings"
"""Ends what was added up over the trainings, instead of being the same in each."""

COUNTED: Mapping[str, Sequence[tuple[str, str]]] = {
    "layers": (("*/L0/*", PICTURES), ("*/R²*", PICTURES), ("*", NEURONS)),
    "towers": (("*", NEURONS),),
    "sparsity": (
        ("L0/*", PICTURES), ("R²*", PICTURES), ("never fired/*", PICTURES), ("*/raw", "neurons"), ("*", NEURONS),
    ),
    "uniqueness": (
        ("neurons", "trainings"), ("neurons left out*", LATENTS), ("share of neurons compared*", LATENTS), ("*", PAIRS),
    ),
    "agreement": (
        ("ties/*", "pairs of neurons of one training"), ("*", PAIRS),
    ),
    "hierarchy": (
        ("depth of random pairs", "pictures"), ("level ?/latents", "latents"), ("shipped/*", "latents of one training"),
        ("*", LATENTS),
    ),
    "similarity": (
        ("reference/*", PICTURES), ("*/sd/*", "pairs of latent and picture"), ("*", "latents"),
    ),
    "diff_mean": (
        ("SAE", "latents"), ("effect/*", "test pictures of all concepts"),
        ("*/DiffMean of few pictures", "samples of pictures"), ("*", "concepts"),
    ),
    "keeping_the_rest": (
        ("SAE", "latents"), ("effect/*", "test pictures of all concepts"),
        ("share that steers/live latents", "latents"), ("share that steers/random directions as long", "directions"),
        ("*", "concepts"),
    ),
    "captioning": (
        ("SAE", "latents"), ("*/gain where chosen, *", "choosing pictures"), ("*/optimism, *", "choosing pictures"),
        ("*", PICTURES),
    ),
    "monoloss": (
        ("*/coefficient", "values of λ tried"), ("cost/*", "repeats"), ("effect/R² kept", PICTURES),
        ("on choosing/*", "trainings"), ("optimism/*", "trainings"), ("shipped/*", "latents of one training"),
        ("*/R²/*", "trainings"), ("*/L0/*", "trainings"), ("*/dead latents/*", "trainings"),
        ("*/firing rate/*", "trainings"), ("*/own inputs with zeros/*", "latents of all trainings, dead ones too"),
        ("*", LATENTS),
    ),
    "origins": (
        ("F1/*", VALUES), ("L0/*", "directions"), ("R² of *", "directions"), ("neurons/*", "directions"),
        ("MS by firing/*/2 to 9 minus 300 and more", "trainings"), ("MS*/SAE minus rectified raw neurons", "neurons"),
        ("MS*/SAE minus principal components*", "neurons"), ("*", NEURONS),
    ),
    "factors": (
        ("absorption */coarse values with a main latent", "coarse factor values of all trainings"),
        ("absorption */Matryoshka minus BatchTopK/*", "coarse factor values of both kinds and all trainings"),
        ("absorption *", "coarse factor values of all trainings"), ("neurons/*", "neurons"), ("*", VALUES),
    ),
    "naming": (("*", LATENTS),),
    "probing": (
        ("MS by tower*", LATENTS), ("accuracy *", PICTURES), ("answered rightly before any edit/*", PICTURES),
        ("length of the edit*", "trainings"), ("habitat latents/*", "trainings"), ("*", VALUES),
    ),
    "recovery": (
        ("pictures, by firing/*", VALUES), ("synthetic, by */*", "known features"),
        ("pictures/*", PICTURES), ("synthetic/*", "synthetic activations"), ("ranks/*", "kinds of autoencoder"),
        ("*", LATENTS),
    ),
    "01_activation_collection": (("mean cosine, *", PICTURES), ("directions, *", PICTURES), ("*", "pictures")),
    "02_sae_training": (
        ("never fired, *", "latents"), ("share of latents that fire, *", "latents"), ("*, over seeds", "trainings"),
        ("R² on the training pictures, *", "training pictures"), ("top-16 precision, *", "of its top pictures"),
        ("*push*", PICTURES), ("share of all pictures *", PICTURES), ("R²*", PICTURES), ("L0, *", PICTURES),
    ),
    "03_monosemanticity_score": (
        ("ms_*", "neurons"), ("uniqueness/*", "pairs of latents"), ("mean_cosine/*", PICTURES),
    ),
    "04_taxonomy_alignment": (("depth_of_random_pairs", "training pictures"), ("depth_*", "latents")),
    "05_llava_steering": (
        ("insertion*", "concepts"), ("suppression*", "concepts"), ("similarity *", "concepts"),
    ),
}  # fmt: skip
"""By experiment or notebook: a pattern for the names of results, and what their n counts; the first that fits."""


def what_n_counts(experiment: str, name: str, seeds: Any = None) -> str:
    """What the n of a result counts: ``neurons of 10 trainings``.

    Args:
        seeds: those of the result; without them nothing is said of trainings.

    Raises:
        KeyError: no pattern of the experiment fits.
    """
    for pattern, words in COUNTED[experiment]:
        if fnmatchcase(name, pattern):
            many = len(seeds) if isinstance(seeds, list) else 1
            return words.replace(ALL_TRAININGS, f" of {many} trainings" if many > 1 else "")
    raise KeyError(f"{experiment}: nothing says what the n of {name!r} counts")


def n_and_what(found: Results, experiment: str, name: str) -> tuple[str, str]:
    """The n of a result, with of how many where some were left out; and what it counts.

    ``("1,581 of 2,861", "neurons of 10 trainings")``; two empty strings where the result has no n.
    """
    row = found.results[name]
    if row["n"] is None:
        return "", ""
    every = of_how_many(found, experiment, name)
    more = f" of {number(every, 0)}" if every else ""
    return f"{number(row['n'], 0)}{more}", what_n_counts(experiment, name, row["seeds"])


def behind(found: Results, experiment: str, names: Iterable[str]) -> str:
    """What stands behind several results: ``143 to 512 latents; 24 concepts``; empty where none has an n."""
    counts: dict[str, list[int]] = {}
    for row, name in ((found.results[name], name) for name in names):
        if row["n"] is not None:
            counts.setdefault(what_n_counts(experiment, name, row["seeds"]), []).append(row["n"])
    spans = ((what, min(several), max(several)) for what, several in counts.items())
    return "; ".join(
        f"{number(least, 0)}{'' if least == most else f' to {number(most, 0)}'} {what}" for what, least, most in spans
    )
