"""What the experiment on steering that keeps the rest says, in numbers."""

from vlm_sae_lib.claims.verdict import Observation, said
from vlm_sae_lib.records.results import Results

PAPER, ACTS = "latent that detects, error dropped", "latent that acts"
SWAP, WHERE = "swap of latents", "swap of latents, where it lives"
MEAN, DEALT, ANEW = "DiffMean", "learned latents, vectors dealt anew", "picture painted anew"
CORRELATION = "rank correlation with how often the concept is named"


def observe(found: Results) -> list[Observation]:
    """The best edit against its rivals, what each step brought, what bounds it, and which latents act."""
    best, rival = str(found.results["best edit of latents"]["value"]), str(found.results["best rival"]["value"])
    both = {arm: f"both/{arm}" for arm in (best, rival, PAPER, ACTS, SWAP, WHERE, MEAN, DEALT, ANEW)}
    against = f"effect/best edit of latents minus {rival}"
    others = [f"effect/best edit of latents minus {arm}" for arm in (PAPER, MEAN) if arm != best]
    dealt = f"effect/best edit of latents minus {DEALT}"
    acts, where = (f"effect/{arm} minus {MEAN}" for arm in (ACTS, WHERE))
    optimism = [f"optimism/{arm}" for arm in (best, rival)]
    moved = [f"latents {how} by a learned change" for how in ("raised", "lowered")]
    share = [f"share that steers/{what}" for what in ("live latents", "random directions as long")]
    foretold = [f"{CORRELATION}/{what}" for what in ("attribution", "F1", "attribution minus F1")]
    n, tries = found.results[both[best]]["n"], found.results["tries"]["value"]
    return [
        Observation(
            "Which edit of latents was best where it was chosen, and does it beat the best rival elsewhere?",
            f"Chosen on other pictures, over {n} concepts and {tries} tries each: {best}, "
            f"{said(found, both[best])} on test. The best rival, {rival}: {said(found, both[rival])}; the difference "
            f"is {said(found, against)}.",
            (both[best], both[rival], against),
        ),
        Observation(
            "How far is it from the paper's way and from the difference of means?",
            f"{said(found, both[PAPER])} with one latent that detects the concept, "
            f"{said(found, both[MEAN])} with the difference of means; the best edit is above them by "
            f"{' and '.join(said(found, name) for name in others)}.",
            (both[PAPER], both[MEAN], *others),
        ),
        Observation(
            "What does it bring to choose one latent by its effect, or to swap several where they live?",
            f"One latent that acts {said(found, both[ACTS])}, minus the difference of means {said(found, acts)}; "
            f"a swap {said(found, both[SWAP])}, only where the replaced latents fire "
            f"{said(found, both[WHERE])}, minus the difference of means {said(found, where)}.",
            (both[ACTS], acts, both[SWAP], both[WHERE], where),
        ),
        Observation(
            "Does it matter which vector belongs to which latent?",
            f"Learned in the same way with the vectors dealt out to other latents: {said(found, both[DEALT])}; "
            f"the best edit minus that is {said(found, dealt)}. A learned change raises "
            f"{said(found, moved[0], 0)} latents and lowers {said(found, moved[1], 1)} by more than half.",
            (both[DEALT], dealt, *moved),
        ),
        Observation(
            "What does the model say of a picture that is painted anew with the concept in it?",
            f"Concept named {said(found, f'success/{ANEW}')}, the rest right {said(found, f'rest/{ANEW}')}, both "
            f"{said(found, both[ANEW])}, though nothing was edited.",
            (f"success/{ANEW}", f"rest/{ANEW}", both[ANEW]),
        ),
        Observation(
            "How much did choosing flatter?",
            f"Choosing minus test: {best} {said(found, optimism[0])}, {rival} {said(found, optimism[1])}.",
            tuple(optimism),
        ),
        Observation(
            "How many latents act at all, and what foretells which?",
            f"{said(found, share[0])} of the live latents put a new word into an answer on half of the pictures, "
            f"{said(found, share[1])} of the random directions as long. With how often a latent has the concept named "
            f"its attribution correlates by {said(found, foretold[0])}, its F1 by {said(found, foretold[1])}, a "
            f"difference of {said(found, foretold[2])}.",
            (*share, *foretold),
        ),
    ]
