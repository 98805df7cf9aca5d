"""What training for the score says beside what the plan judges."""

from vlm_sae_lib.claims.verdict import Observation, apart, counted, said
from vlm_sae_lib.experiments.monoloss import GAIN, KEPT
from vlm_sae_lib.experiments.score_training import OWN, ZEROS
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results

NAMES = {"batch_top_k": "BatchTopK", "matryoshka_batch_top_k": "Matryoshka", "jump_relu": "JumpReLU"}
OPTIMISM = ("", ENOUGH)


def observe(found: Results) -> list[Observation]:
    """The score that is trained, case by case; zeros; purity; what choosing λ owes to its pictures; time."""
    saes = [name.removesuffix("/coefficient") for name in found.results if name.endswith("/coefficient")]
    saes.sort(reverse=True)  # the projection first, where MonoLoss stands
    skipped = (OWN, ZEROS)
    unseen = sorted({
        name.split("/")[2] for name in found.results
        if name.endswith("/gain at equal R²") and "purity" not in name and ENOUGH not in name
    } - set(skipped))  # fmt: skip
    return [
        _gains(found, saes, OWN, "gain at equal K", "How much does the trained score rise, at the same K?"),
        _gains(found, saes, OWN, "gain at equal R²", "And at the same R²?"),
        *(
            _gains(found, saes, encoder, "gain at equal R²",
                   f"How much is the gain for an encoder that the loss never saw ({encoder}), at the same R²?")
            for encoder in unseen
        ),
        _gains(found, saes, ZEROS, "gain at equal K",
               "And the trained score as MonoLoss averages it, unscored latents as zero, at the same K?"),
        _gains(found, saes, "species purity", "gain at equal R²",
               "Do latents become purer in species, at the same R²?"),
        _optimism(found),
        _time(found),
    ]  # fmt: skip


def _gains(found: Results, saes: list[str], measure: str, gain: str, question: str) -> Observation:
    names = tuple(f"{sae}/{measure}/{gain}" for sae in saes)
    defined = [len(found.results[name]["seeds"]) for name in names]
    trained = max(len(found.results[f"{sae}/R²/with"]["seeds"]) for sae in saes)
    lacking = sum(trained - number for number in defined)
    outside = f" {lacking} of {trained * len(saes)} have an R² outside that of the plain SAEs of their seed."
    parts = "; ".join(f"{said(found, name, 3)} ({_name(sae)})" for sae, name in zip(saes, names, strict=True))
    return Observation(question, f"{parts}: {counted(found, names)}.{outside if lacking else ''}", names)


def _optimism(found: Results) -> Observation:
    names = [f"optimism/{GAIN}{population}" for population in OPTIMISM] + [f"optimism/{KEPT}"]
    return Observation(
        "How much better does it look on the pictures by which λ was chosen?",
        f"There the gain in MS lies {apart(found, names[0], 3)} that on test pictures, over latents of at least ten "
        f"pictures {apart(found, names[1], 3)}, and the R² that is kept {apart(found, names[2], 4)}.",
        tuple(names),
    )


def _time(found: Results) -> Observation:
    costs = [name for name in found.results if name.startswith("cost/")]
    return Observation(
        "How much longer does a training step take?",
        "; ".join(f"{said(found, name)} times as long ({NAMES[name[5:]]})" for name in costs)
        + ". Ours is short without the loss, by sparse kernels on two cores; theirs was timed on an H100.",
        tuple(costs),
    )


def _name(sae: str) -> str:
    place, kind = sae.split("/")
    return f"{NAMES[kind]}, {place}"
