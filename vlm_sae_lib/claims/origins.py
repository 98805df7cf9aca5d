"""What the origins experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, clearly_below, said
from vlm_sae_lib.records.results import Results

QUESTIONS = {
    "SAE on an untrained tower": "It takes a trained tower: an autoencoder of the same tower, untrained, does worse.",
    "untrained SAE": "It takes a trained autoencoder: one of random weights and the same L0 does worse.",
    "rectified raw neurons": "It takes more than sparsity: raw neurons, rectified and cut to the same L0, do worse.",
    "PCA": "Principal components, rectified and cut to the same L0, do worse.",
    "PCA, unit variance": "So do principal components of unit variance.",
    "ICA": "Independent components, rectified and cut to the same L0, do worse.",
    "k-means": "Directions to the centres of k-means, cut to the same L0, do worse.",
    "random directions": "Random directions, cut to the same L0, do worse.",
}


def conclude(found: Results) -> list[Conclusion]:
    """For each rival: is the SAE better by MS under every encoder, and by the truth?"""
    encoders = [name.split("/")[1] for name in found.results if name.startswith("MS/") and name.endswith("/SAE")]
    return [_worse(found, rival, claim, encoders) for rival, claim in QUESTIONS.items()]


def _worse(found: Results, rival: str, claim: str, encoders: list[str]) -> Conclusion:
    ms = [f"MS/{encoder}/SAE minus {rival}" for encoder in encoders]
    often = [name.replace("MS/", "MS of at least 10 pictures/", 1) for name in ms]
    everything = (*ms, *often, f"F1/all factors/SAE minus {rival}")
    lost = sum(clearly_below(found, name) for name in everything)
    said_ms = " and ".join(f"{said(found, name, 3)} ({name.split('/')[1]})" for name in often)
    return Conclusion(
        claim,
        Verdict.of(*(clearly_above(found, name) for name in everything)),
        f"The autoencoder's advantage is {said_ms} in the mean MS of latents that lie above their minimum on at least "
        f"ten pictures, and {said(found, everything[-1], 3)} in mean F1 over all factors. With the means over all "
        f"defined latents, {len(everything)} comparisons: in {lost} it is clearly behind.",
        everything,
    )
