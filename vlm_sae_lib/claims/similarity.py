"""What the similarity experiment says."""

from vlm_sae_lib.claims.verdict import Conclusion, Verdict, clearly_above, clearly_below, said
from vlm_sae_lib.records.results import Results

WHERE = {"white": "on a white page", "pictures": "on ordinary pictures"}


def conclude(found: Results) -> list[Conclusion]:
    """Whether the word moves to the latent's pictures, whether the latent is what moves it, and what else moves."""
    bare = [f"{setup}/gain/steered over bare model" for setup in WHERE]
    own = [
        f"{setup}/gain/steered over {control}"
        for setup in WHERE
        for control in ("another latent's pictures", "random direction")
    ]
    shares = {
        setup: (f"{setup}/share of range/steered over bare model",
                f"{setup}/share of range/steered over another latent's pictures")
        for setup in WHERE
    }  # fmt: skip
    rest = "pictures/other answers right/steered"
    unsteered = "pictures/other answers right/bare model"
    in_place = "pictures/gain/steered over SAE in place, unsteered"
    return [
        Conclusion(
            "Steering a latent brings the answer's word closer to the pictures that the latent likes best.",
            Verdict.of(*(clearly_above(found, name) for name in bare)),
            "Against the bare model the cosine changes by "
            + " and ".join(f"{said(found, name)} {WHERE[name.split('/')[0]]}" for name in bare) + ".",
            tuple(bare),
        ),
        Conclusion(
            "It is the latent that does it: more than another latent's word, and more than a push of the same force.",
            Verdict.of(*(clearly_above(found, name) for name in own)),
            "Over another latent's pictures, then over a random direction: "
            + "; ".join(
                f"{said(found, f'{setup}/gain/steered over another latent' + chr(39) + 's pictures')} and "
                f"{said(found, f'{setup}/gain/steered over random direction')} {where}"
                for setup, where in WHERE.items()
            ) + ".",
            tuple(own),
        ),
        Conclusion(
            "The gain that the paper's comparison shows is the latent's own.",
            Verdict.of(*(_most(found, *pair) for pair in shares.values())),
            "Of the way from shuffled to correct pairs the steered word gains "
            + "; ".join(
                f"{said(found, gross)} {WHERE[setup]}, of which {said(found, net)} is beyond what another latent's "
                "pictures gain from the same word"
                for setup, (gross, net) in shares.items()
            ) + ".",
            tuple(name for pair in shares.values() for name in pair),
        ),
        Conclusion(
            "The gain is not the damage done by the SAE's reconstruction.",
            Verdict.of(clearly_above(found, in_place)),
            f"With the SAE in place and nothing steered as the comparison, it is {said(found, in_place)} on pictures.",
            (in_place,),
        ),
        Conclusion(
            "The other answers about the picture stay right.",
            Verdict.of(not clearly_below(found, rest, found.results[unsteered]["value"] - 0.1)),
            f"Of four other answers {said(found, rest)} are right under steering, {said(found, unsteered)} without.",
            (rest, unsteered),
        ),
    ]  # fmt: skip


def _most(found: Results, gross: str, net: str) -> bool:
    """At least half of the gain over the bare model remains, the whole interval of what remains above 0."""
    return clearly_above(found, net) and found.results[net]["value"] >= found.results[gross]["value"] / 2
