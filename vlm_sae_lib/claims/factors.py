"""What the factors experiment shows; no claim of the paper rests on it."""

from vlm_sae_lib.claims.verdict import Observation, counted, said
from vlm_sae_lib.records.results import Results

KINDS = ("matryoshka_batch_top_k ×4", "batch_top_k ×4")
WHOLE, SPARSE = ("raw", "rectified", "PCA"), "rectified, cut"
"""Neurons and directions as they are, and neurons as sparse as the latents."""
BOUND = "best linear direction, told the truth"
WORDS = {"f1": "F1", "auroc": "AUROC"}
GROUPS = ("coarse ranks", "fine ranks", "colour, pattern, habitat")


def observe(found: Results) -> list[Observation]:
    """The best latent beside the best neuron and beside an upper bound; how values are split and absorbed."""
    kinds = [kind.removesuffix(" ×4") for kind in KINDS]
    grown = [f"own latents/{group}/{kind} ×8 minus ×1" for kind in kinds for group in GROUPS[:2]]
    by_luck = [f"own latents/{group}/random directions ×8 minus ×1" for group in GROUPS[:2]]
    excess = [f"absorption ×4/{kind}/excess" for kind in kinds]
    fewer = "absorption ×4/Matryoshka minus BatchTopK/absorbed"
    absorbed = [f"absorption ×4/{kind}/absorbed" for kind in kinds]
    return [
        *(_beside(found, metric, group) for group in GROUPS for metric in WORDS),
        _sparse(found),
        *(_bound(found, metric) for metric in WORDS),
        Observation(
            "Do features split: has a wider dictionary more latents for the same value?",
            "From ×1 to ×8 the latents of their own per value grow, Matryoshka first, coarse then fine ranks, by "
            + ", ".join(said(found, name, 1) for name in grown)
            + " (three trainings). Random directions as sparse: "
            + ", ".join(said(found, name, 1) for name in by_luck) + ".",
            (*grown, *by_luck),
        ),
        Observation(
            "Absorption: does the latent of a coarse value miss just where a finer value has a latent of its own?",
            "Beyond own latents dealt to other children, the share of misses that falls on such children is "
            f"{said(found, excess[0])} (Matryoshka) and {said(found, excess[1])} (BatchTopK).",
            tuple(excess),
        ),
        Observation(
            "Which of the two absorbs more?",
            "On this share of a value's pictures the coarse latent is silent while the finer one fires: "
            f"{said(found, absorbed[0])} (Matryoshka), {said(found, absorbed[1])} (BatchTopK). The first minus the "
            f"second, seed by seed: {said(found, fewer)}.",
            (fewer, *absorbed),
        ),
    ]  # fmt: skip


def _beside(found: Results, metric: str, group: str) -> Observation:
    names = [f"{metric}/{group}/{kind} minus {rival}" for rival in WHOLE for kind in KINDS]
    by_rival = "; ".join(f"{rival} {said(found, f'{metric}/{group}/{KINDS[0]} minus {rival}')}" for rival in WHOLE)
    return Observation(
        f"For {group}, how much better than the best neuron or direction is the best latent, by {WORDS[metric]}?",
        f"Matryoshka ×4 minus {by_rival}. With BatchTopK ×4 as well, {counted(found, names)} "
        f"(n = {found.results[names[0]]['n']} values).",
        tuple(names),
    )


def _sparse(found: Results) -> Observation:
    names = [f"{metric}/{group}/{kind} minus {SPARSE}" for metric in WORDS for group in GROUPS for kind in KINDS]
    everything = [f"{metric}/all factors/{KINDS[0]} minus {SPARSE}" for metric in WORDS]
    return Observation(
        "And better than the best of rectified neurons that are cut to be as sparse as the latents?",
        f"Matryoshka ×4, over all factors: by {said(found, everything[0])} in F1 and {said(found, everything[1])} in "
        f"AUROC. Of both kinds in each group of factors, {counted(found, names)}.",
        (*everything, *names),
    )


def _bound(found: Results, metric: str) -> Observation:
    ours, bound = f"{metric}/all factors/{KINDS[0]}", f"{metric}/all factors/{BOUND}"
    gaps = [f"{metric}/{group}/{KINDS[0]} minus {BOUND}" for group in GROUPS]
    return Observation(
        f"How near does the best latent come to what a linear direction can do at best, by {WORDS[metric]}?",
        f"A direction that is fitted to the truth reaches {said(found, bound, 3)} over all factors, the best latent "
        f"(Matryoshka ×4) {said(found, ours, 3)}. The latent minus the direction: "
        + "; ".join(f"{group} {said(found, name)}" for group, name in zip(GROUPS, gaps, strict=True))
        + ". The direction was told the truth, so that it is an upper bound and no rival.",
        (ours, bound, *gaps),
    )
