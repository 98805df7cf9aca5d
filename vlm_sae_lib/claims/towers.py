"""What the experiment on other towers and encoders says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.records.results import Results

MAIN, RANDOM = "Matryoshka ×4", "random for Matryoshka ×4"
CONTROLS = {"raw": "raw neurons", "rectified, cut": "rectified neurons as sparse", RANDOM: "random directions"}


def conclude(found: Results) -> list[Conclusion]:
    """The gain over each control in every tower and under every encoder; what the encoders agree on."""
    wheres = [name.removesuffix(f"/{MAIN} minus raw") for name in found.results if name.endswith(f"/{MAIN} minus raw")]
    return [
        *(_gain(found, wheres, control) for control in CONTROLS),
        _same_verdict(found, wheres),
        _ranks(found),
        _beyond_random(found),
        _truth(found),
    ]


def _gain(found: Results, wheres: list[str], control: str) -> Conclusion:
    names = [f"{where}/{MAIN} minus {control}" for where in wheres]
    above = [clearly_above(found, name) for name in names]
    least = min(names, key=found.value)
    return Conclusion(
        f"In every tower, and under both encoders, SAE latents score above {CONTROLS[control]}.",
        Verdict.of(*above),
        f"clearly so in {sum(above)} of {len(above)} cases; the smallest gain is {said(found, least)} "
        f"({_words(least.rpartition('/')[0])}).",
        tuple(names),
    )


def _same_verdict(found: Results, wheres: list[str]) -> Conclusion:
    """Whether both encoders of a tower and hook point say the same of each control."""
    places = list(dict.fromkeys(where.rpartition("/")[0] for where in wheres))
    same, names = [], []
    for place in places:
        for control in CONTROLS:
            both = [f"{where}/{MAIN} minus {control}" for where in wheres if where.rpartition("/")[0] == place]
            same.append(len({clearly_above(found, name) for name in both}) == 1)
            names += both
    return Conclusion(
        "The choice of the scoring encoder does not change what is found.",
        Verdict.of(*same),
        f"both encoders give the same answer in {sum(same)} of {len(same)} comparisons with a control.",
        tuple(names),
    )


def _agreements(found: Results, what: str, truth: bool) -> list[str]:
    names = [name for name in found.results if "/rank agreement of " in name and name.endswith(f"/{what}")]
    return [name for name in names if ("the truth" in name) == truth]


def _ranks(found: Results) -> Conclusion:
    names = _agreements(found, MAIN, truth=False)
    above = [clearly_above(found, name) for name in names]
    low, high = min(names, key=found.value), max(names, key=found.value)
    return Conclusion(
        "Two encoders rank an SAE's latents alike.",
        Verdict.of(*above),
        f"Spearman's ρ lies between {said(found, low)} ({_words(low.split('/rank')[0])}) and {said(found, high)} "
        f"({_words(high.split('/rank')[0])}).",
        tuple(names),
    )


def _beyond_random(found: Results) -> Conclusion:
    pairs = [(name, name.removesuffix(MAIN) + RANDOM) for name in _agreements(found, MAIN, truth=False)]
    beyond = [found.results[ours]["ci_low"] > found.results[chance]["ci_high"] for ours, chance in pairs]
    return Conclusion(
        "They agree on learned latents more than on random directions.",
        Verdict.of(*beyond),
        f"clearly so in {sum(beyond)} of {len(beyond)} towers and layers; "
        + "; ".join(f"{said(found, a)} against {said(found, b)} ({_words(a.split('/rank')[0])})" for a, b in pairs)
        + ".",
        tuple(name for pair in pairs for name in pair),
    )


def _truth(found: Results) -> Conclusion:
    names = _agreements(found, MAIN, truth=True)
    above = [clearly_above(found, name) for name in names]
    low, high = min(names, key=found.value), max(names, key=found.value)
    return Conclusion(
        "Each encoder ranks the latents as the truth does.",
        Verdict.of(*above),
        f"clearly above zero in {sum(above)} of {len(above)} cases, from ρ = {said(found, low)} to "
        f"{said(found, high)}.",
        tuple(names),
    )


def _words(where: str) -> str:
    return where.replace("/", ", ")
