"""What training for the score says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, said
from vlm_sae_lib.records.results import Results

NAMES = {"batch_top_k": "BatchTopK", "matryoshka_batch_top_k": "Matryoshka", "jump_relu": "JumpReLU"}
OWN, ZEROS = "own inputs", "own inputs with zeros"
A_POINT, A_FEW_PER_CENT = 0.01, 1.1
"""R² that counts as lost; and how much longer a step may take."""


def conclude(found: Results) -> list[Conclusion]:
    """Gains under the trained score and under others, at equal K and equal R²; purity; reconstruction; cost."""
    saes = [name.removesuffix("/coefficient") for name in found.results if name.endswith("/coefficient")]
    saes.sort(reverse=True)  # the projection first, where MonoLoss stands
    unseen = sorted({
        name.split("/")[2] for name in found.results
        if name.endswith("/gain at equal R²") and "inputs" not in name and "purity" not in name and "," not in name
    })  # fmt: skip
    zeros = [f"{sae}/{ZEROS}/gain at equal K" for sae in saes]
    bars = [found.value(f"{sae}/{OWN}/gain at equal K") for sae in saes]
    drops = [found.value(f"{sae}/R²/without") - found.value(f"{sae}/R²/with") for sae in saes]
    costs = [name for name in found.results if name.startswith("cost/")]
    return [
        _gains(found, saes, OWN, "gain at equal K", "The loss raises the score that it trains, at the same K."),
        _gains(found, saes, OWN, "gain at equal R²", "It raises that score at the same R² too."),
        *(
            _gains(found, saes, encoder, "gain at equal R²",
                   f"The gain is there for an encoder that the loss never saw ({encoder}), at the same R².")
            for encoder in unseen
        ),
        _gains(found, saes, "species purity", "gain at equal R²", "Latents become purer in species, at the same R²."),
        Conclusion(
            "A latent without a score, counted as zero, makes the gain look larger.",
            Verdict.of(*(clearly_above(found, name, bar) for name, bar in zip(zeros, bars, strict=True))),
            _list(found, saes, zeros) + " with zeros, against "
            + "; ".join(f"{bar:.3f}".replace("-", "−") for bar in bars) + " without them, in the same order.",
            tuple(zeros),
        ),
        Conclusion(
            "With λ chosen on other pictures, less than a hundredth of R² is lost.",
            Verdict.of(*(drop < A_POINT for drop in drops)),
            "R² falls by " + "; ".join(f"{drop:.4f} ({_name(sae)})".replace("-", "−")
                                       for sae, drop in zip(saes, drops, strict=True)) + ".",
            tuple(f"{sae}/R²/with" for sae in saes),
        ),
        Conclusion(
            "A training step takes only a few per cent longer.",
            Verdict.of(*(found.results[name]["ci_high"] < A_FEW_PER_CENT for name in costs)),
            "It takes " + "; ".join(f"{said(found, name)} times as long ({NAMES[name[5:]]})" for name in costs)
            + ". Ours is short without the loss, by sparse kernels on two cores; theirs was timed on an H100.",
            tuple(costs),
        ),
    ]  # fmt: skip


def _gains(found: Results, saes: list[str], measure: str, gain: str, claim: str) -> Conclusion:
    names = [f"{sae}/{measure}/{gain}" for sae in saes]
    measured = [name for name in names if found.results[name]["ci_low"] is not None]
    verdict = Verdict.of(*(clearly_above(found, name) for name in measured))
    where = "" if len(measured) == len(names) else " Without an interval, the R² is not one that the plain SAEs reach."
    return Conclusion(claim, verdict, f"The gain is {_list(found, saes, names)}.{where}", tuple(names))


def _list(found: Results, saes: list[str], names: list[str]) -> str:
    return "; ".join(f"{said(found, name, 3)} ({_name(sae)})" for sae, name in zip(saes, names, strict=True))


def _name(sae: str) -> str:
    place, kind = sae.split("/")
    return f"{NAMES[kind]}, {place}"
