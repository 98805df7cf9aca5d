"""What the layers experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, clearly_below, number, said
from vlm_sae_lib.records.results import Results

MAIN, ENOUGH, NARROW = "Matryoshka ×4", " of at least 10 pictures", (1, 2, 4, 8)
RIVALS = {
    "raw": "raw neurons",
    "rectified, cut": "raw neurons, rectified and cut to the same L0",
    f"random for {MAIN}": "random directions that fire as often",
    f"shuffled {MAIN}": "their own activations dealt to other pictures",
}


def conclude(found: Results) -> list[Conclusion]:
    """The gain over each control, the paper's claims about width, kind and share, and the encoders' agreement."""
    wheres = _wheres(found)
    main = next(name for name in found.results if "/share above " in name).split("/")[1]
    last = f"projection/{main}"
    return [
        *(_gain(found, wheres, rival) for rival in RIVALS),
        _share(found, last),
        _best_grows(found, [where for where in wheres if where.endswith(f"/{main}")]),
        _mean_peaks(found, last),
        _kinds(found, wheres),
        _rarity(found),
        _rebuilds(found),
        _pays(found),
    ]


def _wheres(found: Results) -> list[str]:
    """Hook point and encoder of every comparison."""
    end = f"/{MAIN} minus raw{ENOUGH}"
    return sorted(name.removesuffix(end) for name in found.results if name.endswith(end))


def _gain(found: Results, wheres: list[str], rival: str) -> Conclusion:
    names = [f"{where}/{MAIN} minus {rival}{ENOUGH}" for where in wheres]
    above = [clearly_above(found, name) for name in names]
    below = sum(clearly_below(found, name) for name in names)
    least, most = min(names, key=found.value), max(names, key=found.value)
    worse = f", clearly below in {below}" if below else ""
    return Conclusion(
        f"At every layer, under both encoders, latents of the ×4 Matryoshka SAE score above {RIVALS[rival]}.",
        Verdict.of(*above),
        f"clearly so in {sum(above)} of {len(names)} cases{worse}; the difference lies between {said(found, least)} "
        f"and {said(found, most)} (neurons active on at least ten pictures).",
        tuple(names),
    )


def _share(found: Results, last: str) -> Conclusion:
    name, best = (f"{last}/share above {bar}/Matryoshka ×1" for bar in ("the raw mean", "the best raw neuron"))
    control = f"{last}/share above the raw mean/random for Matryoshka ×1"
    return Conclusion(
        "At ε = 1 about 90 % of the SAE's neurons are more monosemantic than the raw ones.",
        Verdict.of(found.results[name]["ci_high"] >= 0.85, found.results[best]["ci_high"] >= 0.85),
        f"{said(found, name)} of them lie above the raw mean, {said(found, best)} above the best raw neuron; of random "
        f"directions that fire as often {said(found, control)} lie above the raw mean.",
        (name, best, control),
    )


def _best_grows(found: Results, wheres: list[str]) -> Conclusion:
    """At every step of width, and every layer."""
    steps, names = [], []
    for where in wheres:
        ladder = _ladder(found, f"{where}/best")
        names += ladder
        steps += [found.value(b) >= found.value(a) for a, b in zip(ladder, ladder[1:], strict=False)]
    low, high = _ladder(found, f"{wheres[-1]}/best")[0], _ladder(found, f"{wheres[-1]}/best")[-1]
    return Conclusion(
        "The best neuron gets better as the SAE gets wider.",
        Verdict.of(*steps),
        f"so in {sum(steps)} of {len(steps)} steps from one width to the next; {wheres[-1].partition('/')[0]}: from "
        f"{number(found.value(low), 2)} to {number(found.value(high), 2)}. A neuron of two pictures may be the best, "
        "and wider SAEs have more of those.",
        tuple(names),
    )


def _mean_peaks(found: Results, last: str) -> Conclusion:
    ladder = _ladder(found, f"{last}/mean")
    peak, widest = max(ladder, key=found.value), ladder[-1]
    enough = max(_ladder(found, f"{last}/mean{ENOUGH}"), key=found.value)
    return Conclusion(
        "At the last layer the mean is highest at ε of 4 to 8, and falls for very wide SAEs.",
        Verdict.of(peak.rpartition("×")[2] in ("4", "8"), found.results[widest]["value"] < found.value(peak)),
        f"it is highest at ε = {peak.rpartition('×')[2]} ({said(found, peak)}), at ε = {widest.rpartition('×')[2]} "
        f"it is {said(found, widest)}; over neurons of at least ten pictures it is highest at "
        f"ε = {enough.rpartition('×')[2]} ({said(found, enough)}).",
        (*ladder, enough),
    )


def _kinds(found: Results, wheres: list[str]) -> Conclusion:
    names = [f"{where}/Matryoshka ×{width} minus BatchTopK ×{width}{ENOUGH}" for where in wheres for width in NARROW]
    above = [clearly_above(found, name) for name in names]
    below = sum(clearly_below(found, name) for name in names)
    least, most = min(names, key=found.value), max(names, key=found.value)
    return Conclusion(
        "Matryoshka SAEs score above BatchTopK SAEs of the same width.",
        Verdict.of(*above),
        f"clearly above in {sum(above)} of {len(names)} cases, clearly below in {below}; the difference lies between "
        f"{said(found, least)} and {said(found, most)}.",
        tuple(names),
    )


def _rarity(found: Results) -> Conclusion:
    """With growing minimum activity both change; only the difference at equal activity is learning."""
    names = [name for name in found.results if f"/{MAIN} minus random for {MAIN}, active on " in name]
    names.sort(key=lambda name: int(name.rpartition(" ")[2]))
    above = [clearly_above(found, name) for name in names]
    return Conclusion(
        "The gain over random directions is there, on however many pictures a neuron must be active to count.",
        Verdict.of(*above),
        f"clearly above zero for {sum(above)} of {len(names)} minima, {said(found, names[0])} with all that are "
        f"defined, {said(found, names[-1])} with at least {names[-1].rpartition(' ')[2]} pictures.",
        tuple(names),
    )


def _rebuilds(found: Results) -> Conclusion:
    ladder = _ladder(found, "projection/R²")
    steps = [found.value(b) > found.value(a) for a, b in zip(ladder, ladder[1:], strict=False)]
    return Conclusion(
        "Wider SAEs rebuild more at the same K.",
        Verdict.of(*steps),
        f"so in {sum(steps)} of {len(steps)} steps at the last layer, from {said(found, ladder[0])} at ε = 1 to "
        f"{said(found, ladder[-1])} at ε = {ladder[-1].rpartition('×')[2]}.",
        tuple(ladder),
    )


def _pays(found: Results) -> Conclusion:
    pairs = [
        (name, name.replace("Matryoshka", "BatchTopK")) for name in sorted(found.results) if "/R²/Matryoshka" in name
    ]
    pays = [found.results[plain]["ci_low"] > found.results[nested]["ci_high"] for nested, plain in pairs]
    gaps = {nested: found.value(plain) - found.value(nested) for nested, plain in pairs}
    least, most = min(gaps, key=gaps.__getitem__), max(gaps, key=gaps.__getitem__)
    return Conclusion(
        "Matryoshka SAEs rebuild less than BatchTopK SAEs of the same width.",
        Verdict.of(*pays),
        f"so, the intervals apart, in {sum(pays)} of {len(pairs)} cases of layer and width; by "
        f"{number(gaps[least], 3)} ({_where(least)}) to {number(gaps[most], 3)} ({_where(most)}) of R².",
        tuple(name for pair in pairs for name in pair),
    )


def _where(name: str) -> str:
    return name.replace("/R²/Matryoshka", "")


def _ladder(found: Results, where: str) -> list[str]:
    """A result of the Matryoshka SAEs of every width, the narrowest first."""
    start = f"{where}/Matryoshka ×"
    return sorted((name for name in found.results if name.startswith(start)), key=lambda n: float(n[len(start) :]))
