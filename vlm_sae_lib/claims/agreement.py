"""What the experiment on agreement with the truth answers beside the plan."""

from vlm_sae_lib.claims.verdict import Observation, counted, said
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH

OBSERVERS = ("all factors", "one factor", "surprise")
ACTIVE = "neurons of at least 10 pictures, "
RANDOM = "MS of random directions"
CONTROLS = {
    "shuffled MS": "scores dealt to the neurons at random",
    "shuffled MS within pools": "scores dealt at random within each pool",
    "lower firing rate": "the rule that the rarer neuron is the better",
    "larger maximum": "the rule that the stronger neuron is the better",
}


def observe(found: Findings) -> list[Observation]:
    """Directions nobody learned; each control; latents alone; how agreement grows; what people said in the paper."""
    encoders = list(dict.fromkeys(found.frame("bins")["binned_by"]))  # the one that balanced the pairs comes first
    cases = [f"{encoder}/{observer}" for encoder in encoders for observer in OBSERVERS]
    return [
        _random(found, cases),
        *(_beyond(found, cases, control) for control in CONTROLS),
        _latents(found, cases),
        _grows(found, encoders[0]),
        _people(found, encoders[0]),
    ]


def _random(found: Findings, cases: list[str]) -> Observation:
    """An encoder that learned this very world may agree with its truth on any neurons (issue 14, fault 9)."""
    ours, chance, gaps, lines = list[str](), list[str](), list[str](), []
    for ending, whom in (("", "all pairs"), (ENOUGH, f"pairs of neurons{ENOUGH}")):
        of_pairs = [[f"{case}/{who}{ending}" for case in cases] for who in ("MS", RANDOM, f"MS minus {RANDOM}")]
        lines.append(
            f"Over {whom} MS agrees with the truth in {_first(found, of_pairs[0])} of them with latents and in "
            f"{said(found, of_pairs[1][0])} with random directions in their place, a difference of "
            f"{said(found, of_pairs[2][0])}. Of such differences in {len(cases)} cases of encoder and observer "
            f"{counted(found, of_pairs[2])}."
        )
        for names, more in zip((ours, chance, gaps), of_pairs, strict=True):
            names += more
    return Observation(
        "Does MS agree with the truth for directions nobody learned?",
        f"{' '.join(lines)} What agreement random directions have is no merit of learned latents: the encoder itself "
        "learned this very world, and can judge any set of its pictures.",
        (*ours, *chance, *gaps),
    )


def _first(found: Findings, names: list[str]) -> str:
    """The main encoder's and first observer's."""
    return f"{said(found, names[0])} ({_words(names[0])})"


def _beyond(found: Findings, cases: list[str], control: str) -> Observation:
    names = [f"{case}/MS minus {control}{ending}" for ending in ("", ENOUGH) for case in cases]
    every, enough = names[: len(cases)], names[len(cases) :]
    return Observation(
        f"Does MS agree with the truth more than {CONTROLS[control]}?",
        f"The difference in the share of pairs: {counted(found, every)}, {_between(found, every)}; among pairs of "
        f"neurons{ENOUGH} {counted(found, enough)}, {_between(found, enough)}.",
        tuple(names),
    )


def _latents(found: Findings, cases: list[str]) -> Observation:
    names, rules = [f"{case}/latents alone" for case in cases], ("lower firing rate", "larger maximum")
    beside = [f"{case}/{rule}, latents alone" for rule in rules for case in cases]
    told = " and ".join(
        f"{_between(found, [name for name in beside if f'/{rule},' in name])} for {CONTROLS[rule]}" for rule in rules
    )
    return Observation(
        "Does it tell SAE latents apart, and not only latents from raw neurons?",
        f"In pairs of two latents MS prefers the observer's {_between(found, names)} of the time; {told}.",
        (*names, *beside),
    )


def _grows(found: Findings, encoder: str) -> Observation:
    """By each training's slope over its bins; no bin's interval is laid beside another's (issue 14, fault 6)."""
    subsets = [f"{encoder}/{observer}/{subset}" for subset in ("", ACTIVE) for observer in OBSERVERS]
    names = [f"{subset}slope over the difference" for subset in subsets]
    every, enough = names[: len(OBSERVERS)], names[len(OBSERVERS) :]
    return Observation(
        "Is the agreement surer where the difference in MS is larger?",
        f"For each tenth of MS it changes by {_listed(found, every)} of the pairs; among pairs of neurons{ENOUGH} by "
        f"{_listed(found, enough)}.",
        tuple(names),
    )


def _people(found: Findings, encoder: str) -> Observation:
    """Side by side, as nobody was asked here and the paper gives its number no interval."""
    names = [f"{encoder}/{observer}/MS" for observer in OBSERVERS]
    return Observation(
        "What did people say in the paper?",
        f"They preferred the neuron of the larger MS in {found.results[names[0]]['paper_value']:.3f} of the pairs, "
        f"over bins of equal weight; here the observers who know the truth prefer it in {_listed(found, names)}. Other "
        "neurons, other pictures and other eyes: neither number tests the other.",
        tuple(names),
    )


def _listed(found: Findings, names: list[str]) -> str:
    return ", ".join(f"{said(found, name)} ({name.split('/')[1]})" for name in names)


def _between(found: Findings, names: list[str]) -> str:
    """The smallest and the largest, each with its case."""
    defined = [name for name in names if found.value(name) is not None]
    if not defined:
        return "undefined, for want of pairs"
    low, high = min(defined, key=found.value), max(defined, key=found.value)
    return f"from {said(found, low)} ({_words(low)}) to {said(found, high)} ({_words(high)})"


def _words(name: str) -> str:
    """``self-supervised, all factors``."""
    return ", ".join(name.split("/")[:2])
