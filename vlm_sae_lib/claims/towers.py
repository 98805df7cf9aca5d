"""What the experiment on other towers and encoders answers beside the plan."""

from vlm_sae_lib.claims.verdict import Observation, counted, said
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results

MAIN, RANDOM, FROZEN = "Matryoshka ×4", "random for Matryoshka ×4", "a frozen decoder ×4"
RIVALS = {"rectified, cut": "rectified neurons as sparse", RANDOM: "random directions"}
"""The kinds of neurons that the plan's effects are held against; raw neurons as they are decide nothing."""


def observe(found: Results) -> list[Observation]:
    """Raw neurons; what the choice of the encoder changes; what the encoders agree on, beside random directions."""
    wheres = [name.removesuffix(f"/{MAIN} minus raw") for name in found.results if name.endswith(f"/{MAIN} minus raw")]
    parts = (_raw, _frozen, _encoders)
    return [*(part(found, wheres) for part in parts), _ranks(found), _beyond_random(found), _truth(found)]


def _raw(found: Results, wheres: list[str]) -> Observation:
    names = [f"{where}/{MAIN} minus raw" for where in wheres]
    return Observation(
        "How far above raw neurons, as they are, do an SAE's latents score?",
        f"In {len(names)} cases of tower, layer and encoder {counted(found, names)}; {_between(found, names)}. A raw "
        "neuron's score is about the mean cosine of all pictures, by construction.",
        tuple(names),
    )


def _frozen(found: Results, wheres: list[str]) -> Observation:
    names = {words: [f"{where}/{MAIN} minus {FROZEN}{ending}" for where in wheres]
             for words, ending in (("all neurons with a score", ""), (f"those{ENOUGH}", ENOUGH))}  # fmt: skip
    told = (f"over {words} {counted(found, part)}, {_between(found, part)}" for words, part in names.items())
    return Observation(
        "Do they score above those of an autoencoder whose decoder never learns?",
        f"The difference in {len(wheres)} cases: {'; '.join(told)}.",
        tuple(name for part in names.values() for name in part),
    )


def _encoders(found: Results, wheres: list[str]) -> Observation:
    """Of how many differences the two encoders of a place see the same sign."""
    places = list(dict.fromkeys(where.rpartition("/")[0] for where in wheres))
    names, lines = list[str](), []
    for ending, whom in (("", "all neurons with a score"), (ENOUGH, f"those{ENOUGH}")):
        of_population = [
            [f"{where}/{MAIN} minus {rival}{ending}" for where in wheres if where.rpartition("/")[0] == place]
            for place in places for rival in RIVALS
        ]  # fmt: skip
        same = sum(len({(found.value(name) or 0) > 0 for name in both}) == 1 for both in of_population)
        every = [name for both in of_population for name in both]
        lines.append(f"among {whom} in {same} of {len(of_population)} ({counted(found, every)})")
        names += every
    return Observation(
        "Do the two encoders of a tower see a gain over the same rivals?",
        f"The latents' difference from {' and from '.join(RIVALS.values())} has the same sign under both encoders: "
        f"{'; '.join(lines)}.",
        tuple(names),
    )


def _agreements(found: Results, what: str, truth: bool) -> list[str]:
    names = [name for name in found.results if "/rank agreement of " in name and name.endswith(f"/{what}")]
    return [name for name in names if ("the truth" in name) == truth]


def _ranks(found: Results) -> Observation:
    names = _agreements(found, MAIN, truth=False)
    return Observation(
        "Do two encoders rank an SAE's latents alike?",
        f"Spearman's ρ over latents{ENOUGH}: {counted(found, names)}; {_between(found, names)}.",
        tuple(names),
    )


def _beyond_random(found: Results) -> Observation:
    """The difference of each training from its random directions, not two intervals side by side."""
    names = _agreements(found, f"{MAIN} minus random directions", truth=False)
    chance = _agreements(found, RANDOM, truth=False)
    return Observation(
        "Do they agree on learned latents more than on random directions that fire as often?",
        f"The difference of ρ, training by training: {counted(found, names)}; {_between(found, names)}. On the random "
        f"directions alone {_between(found, chance)}.",
        (*names, *chance),
    )


def _truth(found: Results) -> Observation:
    names = _agreements(found, MAIN, truth=True)
    beyond = _agreements(found, f"{MAIN} minus random directions", truth=True)
    return Observation(
        "Does each encoder rank the latents as the truth does?",
        f"ρ with the score by the true factors: {counted(found, names)}; {_between(found, names)}. With that of random "
        f"directions that fire as often taken off: {counted(found, beyond)}; {_between(found, beyond)}.",
        (*names, *beyond),
    )


def _between(found: Results, names: list[str]) -> str:
    """The smallest and the largest, each with its place."""
    defined = [name for name in names if found.value(name) is not None]
    if not defined:
        return "none is defined"
    low, high = min(defined, key=found.value), max(defined, key=found.value)
    return f"from {said(found, low)} ({_words(low)}) to {said(found, high)} ({_words(high)})"


def _words(name: str) -> str:
    """``first CLIP, projection, rank agreement of a and b``, without the kinds that are compared."""
    return ", ".join(name.split("/")[:3])
