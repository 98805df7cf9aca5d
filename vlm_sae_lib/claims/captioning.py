"""What the captioning experiment says; no version of the paper claims anything about captions."""

from vlm_sae_lib.claims.verdict import Observation, counted, said
from vlm_sae_lib.records.results import Results

CONDITIONS = ("clean", "noise", "dark", "occluded")
RIGHT, BEST, RANDOM, RECONSTRUCTION = "all slots right", "best edit", "random latents", "reconstruction"


def observe(found: Results) -> list[Observation]:
    """What there is to gain, what edits gain and beyond which control, what denoising does, and what luck did."""
    bare, best, random, denoised, beyond, luck, relative, net = (
        [f"{condition}/{what}" for condition in CONDITIONS]
        for what in (
            f"{RIGHT}/bare model", f"gain, {RIGHT}/{BEST}", f"gain, {RIGHT}/{RANDOM}",
            f"gain, {RIGHT}/{RECONSTRUCTION}",
            f"beyond random latents, {RIGHT}/{BEST}", f"optimism, {RIGHT}/{BEST}", f"relative change, {RIGHT}/{BEST}",
            f"relative change, {RIGHT}/best edit beyond random latents",
        )
    )  # fmt: skip
    n, told = found.results[bare[0]]["n"], found.results[relative[0]]["paper_value"]
    return [
        Observation(
            "How many captions are right without any intervention?",
            f"Of {n} each, with every slot right: {_listed(found, bare)}.",
            tuple(bare),
        ),
        Observation(
            "What does the best edit of latents, chosen on other pictures, change?",
            f"The share of captions with every slot right changes by {_listed(found, best)}. The best of as many edits "
            f"of random latents, pushed as far and chosen in the same way, changes it by {_listed(found, random)}.",
            (*best, *random),
        ),
        Observation(
            "Is that the work of these latents?",
            f"The best edit less the best random one: {_listed(found, beyond)}; {counted(found, beyond)}.",
            tuple(beyond),
        ),
        Observation(
            "What does the reconstruction do, with no latent touched?",
            f"It changes the share by {_listed(found, denoised)}. That is denoising, and counts for no edit.",
            tuple(denoised),
        ),
        Observation(
            "How much was the luck of choosing?",
            f"The best edit's gain where it was chosen less that on test pictures: {_listed(found, luck)}.",
            tuple(luck),
        ),
        Observation(
            f"And the {100 * told:g} % of the summaries?",
            "No version of the paper has such an experiment. Here the relative change under the best edit is "
            f"{_listed(found, relative)}; beyond the best random one, {_listed(found, net)}.",
            (*relative, *net),
        ),
    ]


def _listed(found: Results, names: list[str]) -> str:
    return ", ".join(f"{said(found, name, 3)} ({name.split('/')[0]})" for name in names)
