"""What the factors experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, clearly_below, said
from vlm_sae_lib.records.results import Results

KINDS = ("matryoshka_batch_top_k ×4", "batch_top_k ×4")
WHOLE, SPARSE = ("raw", "rectified", "PCA"), "rectified, cut"
"""Whom a latent must surpass: neurons and directions as they are, and neurons as sparse as the latents."""
WORDS = {"f1": "F1", "auroc": "AUROC"}
GROUPS = ("coarse ranks", "fine ranks", "colour, pattern, habitat")


def conclude(found: Results) -> list[Conclusion]:
    """Where the best latent beats the best neuron, and whether values are split and absorbed."""
    lines = [_beats(found, metric, group) for group in GROUPS for metric in WORDS]
    sparse = [f"{metric}/{group}/{kind} minus {SPARSE}" for metric in WORDS for group in GROUPS for kind in KINDS]
    kinds = [kind.removesuffix(" ×4") for kind in KINDS]
    grown = [f"own latents/{group}/{kind} ×8 minus ×1" for kind in kinds for group in ("coarse ranks", "fine ranks")]
    excess = [f"absorption ×4/{kind}/excess" for kind in kinds]
    fewer = "absorption ×4/Matryoshka minus BatchTopK/absorbed"
    return [
        *lines,
        Conclusion(
            "The best latent beats the best of rectified neurons that are cut to be as sparse as the latents.",
            Verdict.of(*(clearly_above(found, name) for name in sparse)),
            _counted(found, sparse),
            tuple(sparse),
        ),
        Conclusion(
            "Features split: a wider dictionary has more latents for the same value.",
            Verdict.of(*(clearly_above(found, name) for name in grown)),
            "From ×1 to ×8 the latents of their own per value grow, Matryoshka first, coarse then fine ranks, by "
            + ", ".join(said(found, name, 1) for name in grown)
            + ".",
            tuple(grown),
        ),
        Conclusion(
            "Absorption: the latent of a coarse value misses just where a finer value has a latent of its own.",
            Verdict.of(*(clearly_above(found, name) for name in excess)),
            "Beyond own latents dealt to other children, the share of misses that falls on such children is "
            f"{said(found, excess[0])} (Matryoshka) and {said(found, excess[1])} (BatchTopK).",
            tuple(excess),
        ),
        Conclusion(
            "Matryoshka training absorbs less than BatchTopK.",
            Verdict.of(clearly_below(found, fewer)),
            "Pictures on which the coarse latent is silent while the finer one fires: "
            f"{said(found, f'absorption ×4/{kinds[0]}/absorbed')} against "
            f"{said(found, f'absorption ×4/{kinds[1]}/absorbed')}, a difference of {said(found, fewer)}.",
            (fewer, *(f"absorption ×4/{kind}/absorbed" for kind in kinds)),
        ),
    ]


def _beats(found: Results, metric: str, group: str) -> Conclusion:
    names = [f"{metric}/{group}/{kind} minus {rival}" for rival in WHOLE for kind in KINDS]
    by_rival = "; ".join(f"{rival} {said(found, f'{metric}/{group}/{KINDS[0]} minus {rival}')}" for rival in WHOLE)
    return Conclusion(
        f"For {group}, the best latent detects a value better than the best neuron or direction, by {WORDS[metric]}.",
        Verdict.of(*(clearly_above(found, name) for name in names)),
        f"{_counted(found, names)} Matryoshka ×4 minus {by_rival}.",
        tuple(names),
    )


def _counted(found: Results, names: list[str]) -> str:
    above, below = (sum(side(found, name) for name in names) for side in (clearly_above, clearly_below))
    return f"Of {len(names)} differences of the two kinds of autoencoder {above} are clearly above zero, {below} below."
