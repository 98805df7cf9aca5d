"""What the experiment on agreement with the truth says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.experiments.findings import Findings

OBSERVERS = ("all factors", "one factor", "surprise")
ACTIVE, ENOUGH_PAIRS = "neurons of at least 10 pictures, ", 10
CONTROLS = {
    "shuffled MS": "scores dealt to the neurons at random",
    "shuffled MS within pools": "scores dealt at random within each pool",
    "lower firing rate": "the rule that the rarer neuron is the better",
    "larger maximum": "the rule that the stronger neuron is the better",
}


def conclude(found: Findings) -> list[Conclusion]:
    """Whether MS agrees with the truth, for every observer and encoder; beyond each control; as much as with people."""
    encoders = list(dict.fromkeys(found.frame("bins")["binned_by"]))  # the one that balanced the pairs comes first
    cases = [f"{encoder}/{observer}" for encoder in encoders for observer in OBSERVERS]
    return [
        _all(found, cases, "MS", 0.5, "Of two neurons the one with the larger MS has more in common, by the truth."),
        _grows(found, encoders[0], "", "The larger the difference in MS, the surer the agreement."),
        _grows(found, encoders[0], ACTIVE, "So it is among neurons that are active on at least ten test pictures."),
        *(
            _all(found, cases, f"MS minus {control}", 0.0, f"MS agrees with the truth more than {words}.")
            for control, words in CONTROLS.items()
        ),
        _all(found, cases, "latents alone", 0.5, "It tells SAE latents apart, not only latents from raw neurons."),
        _people(found, encoders[0]),
    ]


def _all(found: Findings, cases: list[str], what: str, bar: float, claim: str) -> Conclusion:
    names = [f"{case}/{what}" for case in cases if found.value(f"{case}/{what}") is not None]
    if not names:
        return Conclusion(claim, Verdict.UNTESTED, "too few pairs.", tuple(f"{case}/{what}" for case in cases))
    above = [clearly_above(found, name, bar) for name in names]
    low, high = min(names, key=found.value), max(names, key=found.value)
    return Conclusion(
        claim,
        Verdict.of(*above),
        f"clearly so in {sum(above)} of {len(above)} cases of encoder and observer, from {said(found, low)} "
        f"({_words(low)}) to {said(found, high)} ({_words(high)}).",
        tuple(names),
    )


def _grows(found: Findings, encoder: str, subset: str, claim: str) -> Conclusion:
    """From each bin of enough pairs to the next; the last may be the undoing of all."""
    start = f"{encoder}/{OBSERVERS[0]}/{subset}difference "
    bins = sorted(name for name in found.results if name.startswith(start))
    bins = [name for name in bins if found.results[name]["n"] >= ENOUGH_PAIRS]
    if len(bins) < 2:
        return Conclusion(claim, Verdict.UNTESTED, "too few pairs.", tuple(bins))
    first, last, best = bins[0], bins[-1], max(bins, key=found.value)
    ends = [found.results[name]["ci_low"] > found.results[first]["ci_high"] for name in (best, last)]
    return Conclusion(
        claim,
        Verdict.of(*ends),
        f"{said(found, first)} for the smallest differences, {said(found, best)} at its best ({_bin(best)}), "
        f"{said(found, last)} for the largest ({_bin(last)}).",
        tuple(bins),
    )


def _bin(name: str) -> str:
    return name.rpartition("difference ")[2]


def _people(found: Findings, encoder: str) -> Conclusion:
    names = [f"{encoder}/{observer}/MS" for observer in OBSERVERS]
    paper = found.results[names[0]]["paper_value"]
    reached = [found.results[name]["ci_high"] >= paper for name in names]
    return Conclusion(
        "MS agrees with the truth here as much as with people in the paper.",
        Verdict.of(*reached),
        f"over evenly weighted bins {'; '.join(f'{said(found, name)} ({_words(name)})' for name in names)}; "
        f"people {paper}.",
        tuple(names),
    )


def _words(name: str) -> str:
    encoder, observer, _ = name.split("/")
    return f"{encoder}, {observer}"
