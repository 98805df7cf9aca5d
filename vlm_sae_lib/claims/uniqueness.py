"""What the uniqueness experiment answers beside the plan."""

from vlm_sae_lib.claims.verdict import Observation, said
from vlm_sae_lib.records.results import Results

ANY, HALF, SHARED, TWIN = (
    "share of pairs above 0", "share of pairs above 0.5", "shared pictures per pair", "neurons with a twin"
)  # fmt: skip
RANDOM = "random directions"
LEFT_OUT, NEURONS = "neurons left out", "neurons"


def observe(found: Results) -> list[Observation]:
    """How many neurons could be compared; whether few pairs are few neurons; and less overlap than which chance."""
    return [
        _compared(found),
        Observation(
            "How many neurons have another one that is nearly the same?",
            f"{said(found, HALF, 5)} of the pairs share most of their pictures, and {said(found, TWIN, 3)} of the "
            "neurons compared are in such a pair: few pairs can be many neurons. Random directions that fire as often: "
            f"{said(found, f'{HALF}/{RANDOM}', 5)} of the pairs, {said(found, f'{TWIN}/{RANDOM}', 3)} of the neurons; "
            f"learned minus random, training by training, {said(found, f'{HALF} minus {RANDOM}', 5)} and "
            f"{said(found, f'{TWIN} minus {RANDOM}', 3)}.",
            (HALF, TWIN, f"{HALF}/{RANDOM}", f"{TWIN}/{RANDOM}", f"{HALF} minus {RANDOM}", f"{TWIN} minus {RANDOM}"),
        ),
        _against(found, ANY, "Do fewer pairs have a picture in common than chance would give?"),
        _against(found, SHARED, "Do two neurons share fewer pictures than chance would give?"),
    ]


def _compared(found: Results) -> Observation:
    """The claim is about every neuron, and its evidence about those of sixteen pictures."""
    row, random = found.results[LEFT_OUT], f"{LEFT_OUT}/{RANDOM}"
    return Observation(
        "How many of the neurons could be compared at all?",
        f"Only those that are active on sixteen training pictures: {said(found, LEFT_OUT, 0)} of "
        f"{said(found, NEURONS)} are left out, {said(found, random, 0)} of as many random directions that fire as "
        f"often. The paper leaves out {row['paper_value']:,.0f} of {found.results[NEURONS]['paper_value']:,.0f}. What "
        "is said of the pairs is said of the others alone.",
        (LEFT_OUT, NEURONS, random),
    )


CHANCES = {"blind sets": "sets dealt blindly", "equally popular pictures": "sets with equally popular pictures",
           RANDOM: "random directions that fire as often"}  # fmt: skip


def _against(found: Results, name: str, question: str) -> Observation:
    """Learned minus each chance that can differ; popularity keeps the number of shared pictures as it is."""
    chances = [chance for chance in CHANCES if (name, chance) != (SHARED, "equally popular pictures")]
    told = [f"{said(found, f'{name} minus {chance}', 4)} beside {CHANCES[chance]}" for chance in chances]
    return Observation(
        question,
        f"{said(found, name, 4)}; the difference is {', '.join(told)}.",
        (name, *(f"{name} minus {chance}" for chance in chances)),
    )
