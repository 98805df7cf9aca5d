"""What the sparsity experiment answers beside the plan."""

from vlm_sae_lib.claims.verdict import Observation, counted, said
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.records.effects import ENOUGH

MAIN = "Matryoshka"
CONTROLS = {"random directions": "random directions that fire as often",
            "rectified, cut": "raw neurons, rectified and cut to the same L0",
            "a frozen decoder": "those of an SAE of the same K whose decoder never learns"}  # fmt: skip
BOTH = {"all neurons with a score": "", "those of at least ten pictures": ENOUGH}


def observe(found: Findings) -> list[Observation]:
    """The paper's trade of MS against R², what is left of it beside the controls, and the kinds at equal R²."""
    encoder = found.frame("spread")["encoder"].iloc[0]
    return [
        *(_means(found, encoder, words) for words in BOTH),
        *(_gain(found, encoder, control) for control in CONTROLS),
        _rebuilds(found),
        _equal_r2(found, encoder),
    ]


def _ks(found: Findings) -> list[int]:
    return sorted(int(name.rpartition(" ")[2]) for name in found.results if name.startswith("R²/K = "))


def _means(found: Findings, encoder: str, words: str) -> Observation:
    ks, chance = _ks(found), "random directions"
    ours, theirs = ([f"{encoder}/{kind}/K = {k}/mean{BOTH[words]}" for k in ks] for kind in (MAIN, chance))
    values = "; ".join(
        f"K = {k}: {said(found, name)} ({said(found, other)})" for k, name, other in zip(ks, ours, theirs, strict=True)
    )
    return Observation(
        f"How does the mean MS of {words} move with K?",
        f"In brackets, random directions cut to the same firing rates. {values}.",
        (*ours, *theirs),
    )


def _gain(found: Findings, encoder: str, control: str) -> Observation:
    names = {words: [f"{encoder}/K = {k}/{MAIN} minus {control}{suffix}" for k in _ks(found)]
             for words, suffix in BOTH.items()}  # fmt: skip
    told = (
        f"Over {words}: {counted(found, part)} ("
        + "; ".join(f"{name.split('/')[1]}: {said(found, name)}" for name in part) + ")."
        for words, part in names.items()
    )  # fmt: skip
    return Observation(
        f"At which K do the SAE's latents score above {CONTROLS[control]}?",
        " ".join(told),
        tuple(name for part in names.values() for name in part),
    )


def _rebuilds(found: Findings) -> Observation:
    names = [f"R²/K = {k}" for k in _ks(found)]
    return Observation(
        "How much is rebuilt at each K?",
        "R²: " + "; ".join(f"{name.partition('/')[2]}: {said(found, name)}" for name in names) + ".",
        tuple(names),
    )


def _equal_r2(found: Findings, encoder: str) -> Observation:
    names, told = [], []
    for words, suffix in BOTH.items():
        start = f"{encoder}/at equal R²{suffix}/{MAIN} ×1 minus BatchTopK, K = "
        part = sorted((name for name in found.results if name.startswith(start)), key=lambda n: int(n[len(start) :]))
        values = "; ".join(f"K = {name[len(start) :]}: {said(found, name)}" for name in part)
        told.append(f"Over {words}: {counted(found, part)} ({values})." if part else
                    f"Over {words}, no BatchTopK SAE's R² lies between those of two Matryoshka SAEs in every seed."
                    )  # fmt: skip
        names += part
    return Observation(
        "Do Matryoshka SAEs score above BatchTopK SAEs where both rebuild as much?",
        " ".join(told),
        tuple(names),
    )
