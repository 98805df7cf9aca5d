"""What the uniqueness experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, said
from vlm_sae_lib.results import Results


def conclude(found: Results) -> list[Conclusion]:
    """The paper's claim that learned concepts are unique, and whether the overlap is what chance would give."""
    half, any_, chance = "share of pairs above 0.5", "share of pairs above 0", "seed 0/random sets above 0"
    rare = found.results[half]["ci_high"] < 0.01
    beyond = found.results[any_]["ci_low"] > found.results[chance]["ci_high"]
    return [
        Conclusion(
            "Fewer than one pair of neurons in a hundred shares most of its top pictures.",
            Verdict.of(rare),
            f"{said(found, half, 4)} of the pairs have a Jaccard similarity above one half.",
            (half,),
        ),
        Conclusion(
            "Neurons share top pictures more often than random sets do.",
            Verdict.of(beyond),
            f"{said(found, any_, 3)} of the pairs share a picture; of random sets {said(found, chance, 3)}.",
            (any_, chance),
        ),
    ]
