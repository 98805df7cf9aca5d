"""What the uniqueness experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, said
from vlm_sae_lib.records.results import Results

ANY, HALF, SHARED, TWIN = (
    "share of pairs above 0", "share of pairs above 0.5", "shared pictures per pair", "neurons with a twin"
)  # fmt: skip


def conclude(found: Results) -> list[Conclusion]:
    """The paper's claim of unique concepts; then whether fewer overlaps, and of what kind, than chance would give."""
    return [
        Conclusion(
            "Fewer than one pair of neurons in a thousand shares most of its top pictures.",
            Verdict.of(found.results[HALF]["ci_high"] < 0.001),
            f"{said(found, HALF, 5)} of the pairs have a Jaccard similarity above one half. Yet {said(found, TWIN, 2)} "
            "of the neurons have at least one such partner: few pairs can be many neurons.",
            (HALF, TWIN),
        ),
        *(_against(found, ANY, chance, words, digits=4) for chance, words in (
            ("blind sets", "sets dealt blindly"), ("equally popular pictures", "sets with equally popular pictures"),
            ("random directions", "random directions that fire as often"),
        )),
        _against(found, SHARED, "blind sets", "sets dealt blindly", digits=4),
        _against(found, TWIN, "random directions", "random directions that fire as often", digits=3),
    ]  # fmt: skip


WORDS = {ANY: "The share of pairs with a common picture", SHARED: "The number of pictures that two neurons share",
         TWIN: "The share of neurons with a twin"}  # fmt: skip


def _against(found: Results, name: str, chance: str, words: str, digits: int) -> Conclusion:
    control = f"{name}/{chance}"
    ours, theirs = found.results[name], found.results[control]
    return Conclusion(
        f"{WORDS[name]} is smaller than for {words}.",
        Verdict.of(ours["ci_high"] < theirs["ci_low"]),
        f"{said(found, name, digits)} against {said(found, control, digits)}.",
        (name, control),
    )
