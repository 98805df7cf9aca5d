"""What the experiment on insertion and suppression says beside the plan."""

from vlm_sae_lib.claims.verdict import Observation, apart, said
from vlm_sae_lib.records.results import Results

DOING = {"insertion": ("insert", "named"), "suppression": ("suppress", "gone")}


def observe(found: Results) -> list[Observation]:
    """For each task: force alone, the error kept, how much choosing flatters, all strengths, whole texts."""
    return [line for task in DOING for line in _of_task(found, task)]


def _of_task(found: Results, task: str) -> list[Observation]:
    verb, done = DOING[task]
    both = {m: f"{task}/both/{m}" for m in ("SAE", "DiffMean", "random directions", "SAE, error kept")}
    random = f"effect/{task}: latent minus random directions"
    success = f"{task}/success: latent minus random directions"
    mean = f"effect/{task}: difference of means minus random directions"
    kept = f"effect/{task}: latent, error kept, minus difference of means"
    kept_random = f"effect/{task}: latent, error kept, minus random directions"
    flattered = {m: f"{task}/optimism of both/{m}" for m in ("SAE", "DiffMean", "random directions")}
    alone = f"{task}/optimism of success/SAE"
    seen, gap = (f"{task}/{what}: latent minus difference of means" for what in ("on choosing pictures", "optimism"))
    areas = [f"{task}/area/{method} minus DiffMean" for method in ("SAE", "SAE, error kept")]
    text, other_text, texts = (f"{task}/texts both/{m}" for m in ("SAE", "DiffMean", "SAE minus DiffMean"))
    n = found.results[both["SAE"]]["n"]
    return [
        Observation(
            f"Does a latent {verb} more than a push as long along a random direction, with as many tries?",
            f"Over {n} concepts, {done} and the rest right: {said(found, both['SAE'])} with a latent, "
            f"{said(found, both['random directions'])} with random directions, a difference of {said(found, random)}; "
            f"in the concept alone of {said(found, success)}. The difference of means minus random directions, the "
            f"error kept: {said(found, mean)}.",
            (both["SAE"], both["random directions"], random, success, mean),
        ),
        Observation(
            f"What if the SAE's error is kept ({task})?",
            f"Both at once {said(found, both['SAE, error kept'])}. That is {apart(found, kept)} the difference of "
            f"means and {apart(found, kept_random)} random directions.",
            (both["SAE, error kept"], kept, kept_random),
        ),
        Observation(
            f"How much did choosing flatter ({task})?",
            f"Choosing minus test, both at once: latent {said(found, flattered['SAE'])}, difference of means "
            f"{said(found, flattered['DiffMean'])}, random directions {said(found, flattered['random directions'])}; "
            f"the concept alone, latent {said(found, alone)}. Latent minus difference of means was {said(found, seen)} "
            f"on the choosing pictures: {said(found, gap)} of it is optimism.",
            (*flattered.values(), alone, seen, gap),
        ),
        Observation(
            f"And over all strengths ({task})?",
            f"The area below a latent's trade-off minus that of the difference of means is {said(found, areas[0])}; "
            f"with the SAE's error kept {said(found, areas[1])}.",
            tuple(areas),
        ),
        Observation(
            f"And in whole texts, judged as in the paper's Table 2 ({task})?",
            f"Both criteria are met by {said(found, text)} of the texts with a latent, by {said(found, other_text)} "
            f"with the difference of means: a difference of {said(found, texts)}.",
            (text, other_text, texts),
        ),
    ]
