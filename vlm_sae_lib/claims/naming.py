"""What the naming experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.experiments.findings import Findings

CONTROLS = ("named blindly", "shuffled names", "names of equal firing rate")
MOST, BEST = "most top pictures have it", "no value is detected better"


def conclude(found: Findings) -> list[Conclusion]:
    """Whether names are true of the latents, beyond controls; which method is best; what the confidence is worth."""
    cases = [name.removesuffix(f"/{MOST}") for name in found.results if name.endswith(f"/{MOST}")]
    return [_true(found, cases), _beyond(found, cases), _best(found, cases), *_confidence(found)]


def _true(found: Findings, cases: list[str]) -> Conclusion:
    names = [f"{case}/{MOST}" for case in cases]
    above = [clearly_above(found, name, 0.5) for name in names]
    low, high = min(names, key=found.value), max(names, key=found.value)
    return Conclusion(
        "Most latents get a name that is true of most of their held-out top pictures.",
        Verdict.of(*above),
        f"clearly so in {sum(above)} of {len(above)} cases of SAE and method, from {said(found, low)} "
        f"({_words(low)}) to {said(found, high)} ({_words(high)}).",
        tuple(names),
    )


def _beyond(found: Findings, cases: list[str]) -> Conclusion:
    beyond, names = [], []
    for case in cases:
        for control in CONTROLS:
            ours, chance = f"{case}/{MOST}", f"{case}/{MOST}/{control}"
            beyond.append(found.results[ours]["ci_low"] > found.results[chance]["ci_high"])
            names += [ours, chance]
    worst = max((name for name in names if name.count("/") > 2), key=found.value)
    return Conclusion(
        "The names are true more often than names that know nothing of the latent.",
        Verdict.of(*beyond),
        f"clearly so in {sum(beyond)} of {len(beyond)} comparisons; the luckiest control has {said(found, worst)}.",
        tuple(dict.fromkeys(names)),
    )


def _best(found: Findings, cases: list[str]) -> Conclusion:
    names = [f"{case}/{BEST}" for case in cases]
    above = [clearly_above(found, name, 0.5) for name in names]
    low, high = min(names, key=found.value), max(names, key=found.value)
    return Conclusion(
        "The name is what the latent detects best.",
        Verdict.of(*above),
        f"for {said(found, low)} ({_words(low)}) to {said(found, high)} ({_words(high)}) of the latents.",
        tuple(names),
    )


def _confidence(found: Findings) -> list[Conclusion]:
    table = found.frame("calibration")
    rising, inside, said_of = [], [], []
    for method, part in table.groupby("method", sort=False):
        low, high = part.iloc[0], part.iloc[-1]
        rising.append(bool(len(part) > 1 and high["low"] > low["high"]))
        inside += ((part["confidence"] >= part["low"]) & (part["confidence"] <= part["high"])).tolist()
        said_of.append(f"{low['right']:.2f} to {high['right']:.2f} ({method})")
    gaps = tuple(name for name in found.results if name.endswith("/gap between confidence and truth"))
    return [
        Conclusion(
            "A name given with more confidence is more often true.",
            Verdict.of(*rising),
            f"from the least to the most confident names, true are {'; '.join(said_of)}.",
            gaps,
        ),
        Conclusion(
            "The confidence can be read as a probability.",
            Verdict.of(*inside),
            f"in {sum(inside)} of {len(inside)} bins the stated confidence lies in the interval of what is true.",
            gaps,
        ),
    ]


def _words(name: str) -> str:
    subject, method, _ = name.split("/")
    return f"{subject}, {method}"
