"""What the sparsity experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, clearly_below, said
from vlm_sae_lib.records.results import Results

ENOUGH = " of at least 10 pictures"
CONTROLS = {"random directions": "random directions that fire as often",
            "rectified, cut": "raw neurons, rectified and cut to the same L0"}  # fmt: skip


def conclude(found: Results) -> list[Conclusion]:
    """The paper's trade of MS against R², what is left of it beside the controls, and the kinds at equal R²."""
    encoder = next(name.partition("/")[0] for name in found.results if "/at equal R²/" in name)
    means, enough = ([f"{encoder}/Matryoshka/K = {k}/mean{suffix}" for k in _ks(found)] for suffix in ("", ENOUGH))
    r2 = [f"R²/K = {k}" for k in _ks(found)]
    return [
        _ladder(found, "The smaller K, the more monosemantic the neurons.", means[::-1], "from the largest K"),
        _ladder(found, "So it is for neurons active on at least ten pictures.", enough[::-1], "from the largest K"),
        _ladder(found, "The larger K, the more is rebuilt.", r2, "from the smallest K"),
        *(_gain(found, encoder, control) for control in CONTROLS),
        _equal_r2(found),
    ]


def _ks(found: Results) -> list[int]:
    return sorted(int(name.rpartition(" ")[2]) for name in found.results if name.startswith("R²/K = "))


def _ladder(found: Results, claim: str, names: list[str], start: str) -> Conclusion:
    steps = [found.value(b) > found.value(a) for a, b in zip(names, names[1:], strict=False)]
    return Conclusion(
        claim,
        Verdict.of(*steps),
        f"so in {sum(steps)} of {len(steps)} steps {start}: " + ", ".join(said(found, name) for name in names) + ".",
        tuple(names),
    )


def _gain(found: Results, encoder: str, control: str) -> Conclusion:
    names = [f"{encoder}/K = {k}/Matryoshka minus {control}" for k in _ks(found)]
    above, below = ([test(found, name) for name in names] for test in (clearly_above, clearly_below))
    values = "; ".join(f"{name.split('/')[1]}: {said(found, name)}" for name in names)
    return Conclusion(
        f"At every K the SAE's latents score above {CONTROLS[control]}.",
        Verdict.of(*above),
        f"clearly above for {sum(above)} of {len(names)} values of K, clearly below for {sum(below)} (neurons of at "
        f"least ten pictures; {values}).",
        tuple(names),
    )


def _equal_r2(found: Results) -> Conclusion:
    names = [name for name in found.results if "/at equal R²/" in name and "BatchTopK" in name]
    names.sort(key=lambda name: int(name.rpartition(" ")[2]))
    above = [clearly_above(found, name) for name in names]
    values = "; ".join(f"{name.rpartition(', ')[2]}: {said(found, name)}" for name in names)
    return Conclusion(
        "Matryoshka SAEs score above BatchTopK SAEs also where both rebuild as much.",
        Verdict.of(*above),
        f"clearly so in {sum(above)} of {len(names)} cases, clearly not in "
        f"{sum(clearly_below(found, name) for name in names)}{f' ({values})' if names else ''}.",
        tuple(names),
    )
