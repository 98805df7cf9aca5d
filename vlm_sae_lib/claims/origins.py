"""What the origins experiment says beside what the plan judges."""

from vlm_sae_lib.claims.verdict import Observation, apart, counted, said
from vlm_sae_lib.experiments.origins import BINS, ONE_CUT, RATES
from vlm_sae_lib.experiments.rivals import AT_ONE_CUT, FROZEN, K_MEANS, RANDOM, SAE
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results

TRUTH, READOUT = "F1/all factors", "R² of a linear decoder"


def observe(found: Results) -> list[Observation]:
    """The other way to be as sparse, k-means, what rarity is worth, frozen autoencoders, the truth."""
    encoders = [name.split("/")[1] for name in found.results if name.startswith("MS/") and name.endswith(f"/{SAE}")]
    return [
        _at_one_cut(found, encoders),
        _k_means(found, encoders),
        _rectified(found),
        _rarity(found, encoders),
        _frozen(found, encoders),
        _truth(found),
    ]


def _at_one_cut(found: Results, encoders: list[str]) -> Observation:
    every, often = (
        tuple(f"{ONE_CUT}{population}/{encoder}/{SAE} minus {rival}" for rival in AT_ONE_CUT for encoder in encoders)
        for population in ("", ENOUGH)
    )
    return Observation(
        "Whom does the autoencoder surpass where all have one cut and the same L0, as BatchTopK has?",
        f"Of the differences in mean MS to {len(AT_ONE_CUT)} rivals under {len(encoders)} encoders, over all defined "
        f"latents {counted(found, every)}; over those of at least ten pictures {counted(found, often)}.",
        (*every, *often),
    )


def _k_means(found: Results, encoders: list[str]) -> Observation:
    names = {how: [f"{how}/{encoder}/{SAE} minus {K_MEANS}" for encoder in encoders] for how in (ONE_CUT, RATES)}
    return Observation(
        "Does the autoencoder surpass the centres of k-means?",
        f"SAE minus k-means in mean MS is {_by_encoder(found, names[ONE_CUT])} at the same L0, and "
        f"{_by_encoder(found, names[RATES])} at the same firing rates. In mean F1 over all factors it is "
        f"{said(found, f'{TRUTH}/{SAE} minus {K_MEANS}', 3)}.",
        (*names[ONE_CUT], *names[RATES], f"{TRUTH}/{SAE} minus {K_MEANS}"),
    )


def _rectified(found: Results) -> Observation:
    names = [f"effect/gain over rectified raw neurons{population}" for population in ("", ENOUGH)]
    return Observation(
        "And raw neurons, rectified, each made to fire as rarely as a latent?",
        f"At the same firing rates the latents' mean MS, over both encoders, lies {apart(found, names[0])} theirs; "
        f"over neurons{ENOUGH} {apart(found, names[1])}.",
        tuple(names),
    )


def _rarity(found: Results, encoders: list[str]) -> Observation:
    rarest, *_, busiest = BINS
    names = [
        f"MS by firing/{encoder}/{RANDOM}/{what}"
        for encoder in encoders
        for what in (rarest, busiest, f"{rarest} minus {busiest}")
    ]
    parts = [
        f"{' and '.join(said(found, name, 3) for name in names[3 * i : 3 * i + 2])}, a difference of "
        f"{said(found, names[3 * i + 2], 3)} ({encoder})"
        for i, encoder in enumerate(encoders)
    ]
    return Observation(
        "What is rarity alone worth?",
        f"The mean MS of random directions that fire on {rarest} pictures, and on {busiest}, is {'; '.join(parts)}.",
        tuple(names),
    )


def _frozen(found: Results, encoders: list[str]) -> Observation:
    gains = [f"{RATES}/{encoder}/{SAE} minus {who}" for who in FROZEN for encoder in encoders]
    truth = [f"{TRUTH}/{SAE} minus {who}" for who in FROZEN]
    width = len(encoders)
    parts = [
        f"{who}: MS {_by_encoder(found, gains[width * i : width * (i + 1)])}, F1 {said(found, truth[i], 3)}"
        for i, who in enumerate(FROZEN)
    ]
    return Observation(
        "How much does an autoencoder lose of which a part never learned?",
        f"The whole autoencoder minus one with {'; with '.join(parts)}.",
        (*gains, *truth),
    )


def _truth(found: Results) -> Observation:
    names = tuple(f"{TRUTH}/{SAE} minus {rival}" for rival in AT_ONE_CUT)
    parts = [f"{name.rsplit(' minus ', 1)[1]} {said(found, name, 3)}" for name in names]
    return Observation(
        "Does the autoencoder detect the true factors better?",
        f"Differences in the mean F1 of the best latent for each value: {counted(found, names)}. SAE minus "
        f"{', '.join(parts)}.",
        names,
    )


def _by_encoder(found: Results, names: list[str]) -> str:
    return " and ".join(f"{said(found, name, 3)} ({name.split('/')[1]})" for name in names)
