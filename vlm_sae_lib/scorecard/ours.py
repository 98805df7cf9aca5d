"""The leaderboard's entries of our own kinds, made by ``make leaderboard``: SAEs of every kind, and what is none."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from vlm_sae_lib.experiments.recovery_kinds import KINDS, RELU, cut
from vlm_sae_lib.experiments.rivals import EXPANSION, FROZEN, K_MEANS, RANDOM, RAW
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.scorecard import board
from vlm_sae_lib.scorecard.card import Scores
from vlm_sae_lib.scorecard.making import Tell, active, described, entry_of, facts_of, facts_of_directions
from vlm_sae_lib.scorecard.measuring import Measuring
from vlm_sae_lib.scorecard.place import Material, Place, final_bench, material
from vlm_sae_lib.scorecard.rivals import WHAT, drawn
from vlm_sae_lib.workbench import Workbench

SEEDS = (0, 1)
"""The entry, and the second training that its stability is measured against."""
ENTRIES = {
    "matryoshka": "Matryoshka", "batch_top_k": "BatchTopK", "top_k": "TopK", "jump_relu": "JumpReLU", "relu_cut": RELU,
    **{who.removeprefix("a ").replace(" ", "_").replace("-", "_"): who for who in FROZEN},
    "random_directions": RANDOM, "raw_neurons": RAW, "k_means": K_MEANS,
}  # fmt: skip


class Ours(NamedTuple):
    """A dictionary, its second training or draw (None where there is no chance in it), and what is known of it."""

    name: str
    coder: Any
    second: Any
    what: str
    facts: dict[str, Any]


def main() -> None:
    """Make all entries anew."""
    profile = load_profile("pocket")
    place = Place(profile.main_hook_point)
    bench = final_bench(profile, place.hook_point)
    make(bench, material(bench, place), print)


def make(bench: Workbench, on: Material, tell: Tell) -> None:
    """Measure each of our kinds and keep it as an entry."""
    measuring = Measuring.start(on)
    for one in ours(bench, on):
        scores = Scores(one.name, one.what, one.coder.n_latents, {})
        tell(f"{board.enter(one.name, entry_of(bench, measuring, one.coder, scores, one.facts, one.second))}")


def ours(bench: Workbench, on: Material) -> Iterator[Ours]:
    """Every kind at one place, as wide as the book's main SAEs and as sparse."""
    profile, train = bench.profile, on.splits.train
    trained_with = f"vlm_sae_lib, {profile.steps} steps of {profile.batch_size:,}, seed {SEEDS[0]}"
    names = {who: name for name, who in ENTRIES.items()}
    wanted = [(settings, seed) for settings in KINDS.values() for seed in SEEDS]
    configs = [bench.config(**settings, expansion=EXPANSION, seed=seed) for settings, seed in wanted]
    saes = iter(bench.saes(configs, on.place.hook_point, on.place.tokens))
    l0, n_latents = 0.0, 0
    for kind in KINDS:
        sae, second = next(saes), next(saes)
        if kind == RELU:  # an L1 penalty alone leaves ten times as many active
            sae, second = (cut(one, train, profile.k) for one in (sae, second))
        l0, n_latents = l0 or active(sae, on), sae.n_latents
        what = f"{kind}, {described(sae)}" if kind in (*FROZEN, RELU) else described(sae)
        yield Ours(names[kind], sae, second, what, facts_of(sae, trained_with))
    first, again = (drawn(train, n_latents, l0, seed) for seed in SEEDS)
    for who, make_it in first.items():
        coder = make_it()
        yield Ours(names[who], coder, again[who](), WHAT[who], facts_of_directions(coder, who))


if __name__ == "__main__":
    main()
