"""What the experiment on insertion and suppression says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.records.results import Results

DONE = {"insertion": "inserts", "suppression": "suppresses"}


def conclude(found: Results) -> list[Conclusion]:
    """For each task: does it work, does it beat the difference of means, and over all strengths."""
    return [line for task in DONE for line in _of_task(found, task)]


def _of_task(found: Results, task: str) -> list[Conclusion]:
    works = f"{task}/both/SAE minus random direction"
    sae, other = f"{task}/both/SAE", f"{task}/both/DiffMean"
    ahead, kept_ahead = f"{task}/both/SAE minus DiffMean", f"{task}/both/SAE, error kept minus DiffMean"
    areas = [f"{task}/area/{method} minus DiffMean" for method in ("SAE", "SAE, error kept")]
    text, texts = f"{task}/texts both/SAE", f"{task}/texts both/SAE minus DiffMean"
    other_text = f"{task}/texts both/DiffMean"
    return [
        Conclusion(
            f"An SAE latent {DONE[task]} concepts and leaves the rest right, more often than a random direction.",
            Verdict.of(clearly_above(found, works)),
            f"Both at once on {said(found, sae)} of the pictures; {said(found, works)} more than a random direction "
            "with as many tries.",
            (sae, works),
        ),
        Conclusion(
            f"An SAE latent {DONE[task]} better than the difference of means, the rest taken into account.",
            Verdict.of(*(clearly_above(found, name) for name in (ahead, kept_ahead))),
            f"Both at once: {said(found, sae)} with a latent, {said(found, other)} with the difference of means at "
            f"its best strength. The difference is {said(found, ahead)}; "
            f"with the SAE's error kept {said(found, kept_ahead)}.",
            (sae, other, ahead, kept_ahead),
        ),
        Conclusion(
            f"Over all strengths, too, a latent's trade-off lies above that of the difference of means ({task}).",
            Verdict.of(*(clearly_above(found, name) for name in areas)),
            f"The areas differ by {said(found, areas[0])}; with the SAE's error kept by {said(found, areas[1])}.",
            tuple(areas),
        ),
        Conclusion(
            f"In whole texts, judged as in the paper's Table 2, a latent is ahead as well ({task}).",
            Verdict.of(clearly_above(found, texts)),
            f"Both criteria hold in {said(found, text)} of the texts, with the difference of means "
            f"in {said(found, other_text)}: a difference of {said(found, texts)}.",
            (text, other_text, texts),
        ),
    ]
