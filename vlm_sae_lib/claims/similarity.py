"""What the similarity experiment says beside the plan."""

from vlm_sae_lib.claims.verdict import Observation, said
from vlm_sae_lib.records.results import Results

WHERE = {"white": "on a white page", "pictures": "on ordinary pictures"}
BARE, OTHER, DIRECTION = "bare model", "another latent's pictures", "random direction"


def observe(found: Results) -> list[Observation]:
    """The paper's own comparison, whose gain that is, what the reconstruction does, and how much choosing flattered."""
    bare = {setup: f"{setup}/gain/steered over {BARE}" for setup in WHERE}
    gross, net = ({s: f"{s}/share of range/steered over {c}" for s in WHERE} for c in (BARE, OTHER))
    in_place = {setup: f"{setup}/gain/steered over SAE in place, unsteered" for setup in WHERE}
    kept = {setup: f"{setup}/gain/steered, error kept over {BARE}" for setup in WHERE}
    luck = [f"optimism/steered over {control}" for control in (DIRECTION, OTHER, BARE)]
    rest = [f"pictures/other answers right/{arm}" for arm in ("steered", DIRECTION, BARE)]
    n = found.results["white/similarity/steered"]["n"]
    return [
        Observation(
            "By the paper's own comparison, with the bare model: how much closer does the word come?",
            f"By {_each(found, bare)}, in the mean over {n} latents; in the paper by "
            + " and ".join(f"{_theirs(found, setup):.2f} {where}" for setup, where in WHERE.items()) + ".",
            tuple(bare.values()),
        ),
        Observation(
            "How much of that gain is the latent's own?",
            "Of the way from shuffled to correct pairs the word comes "
            + "; ".join(
                f"{said(found, gross[setup])} closer to its latent's pictures {where}, and {said(found, net[setup])} "
                "closer to them than to the pictures of all the other latents"
                for setup, where in WHERE.items()
            ) + ".",
            (*gross.values(), *net.values()),
        ),
        Observation(
            "Is it what the SAE fails to rebuild?",
            f"Against the SAE in place and nothing steered the gain is {_each(found, in_place)}. With the error added "
            f"back it is {_each(found, kept)} over the bare model.",
            (*in_place.values(), *kept.values()),
        ),
        Observation(
            "Did choosing the strength flatter it?",
            f"For the {found.results['alpha']['n']} latents by which α was chosen, the gain on choosing pictures less "
            f"that on test pictures is {said(found, luck[0], 3)} over a random direction, {said(found, luck[1], 3)} "
            f"over another latent's pictures and {said(found, luck[2], 3)} over the bare model.",
            tuple(luck),
        ),
        Observation(
            "Does a push in any direction cost as many of the other answers?",
            f"Of four other answers {said(found, rest[0])} are right under steering, {said(found, rest[1])} under a "
            f"random direction as far, {said(found, rest[2])} without either.",
            tuple(rest),
        ),
    ]  # fmt: skip


def _each(found: Results, names: dict[str, str]) -> str:
    return " and ".join(f"{said(found, name)} {WHERE[setup]}" for setup, name in names.items())


def _theirs(found: Results, setup: str) -> float:
    """The paper's gain over its bare model."""
    steered, bare = (found.results[f"{setup}/similarity/{arm}"]["paper_value"] for arm in ("steered", BARE))
    return steered - bare
