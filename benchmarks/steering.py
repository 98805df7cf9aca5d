"""A steering sweep on the pocket LLaVA: against one forward of everything per neuron, strength and picture."""

from collections.abc import Callable, Iterator

from benchmarks import floors
from benchmarks.timing import Row, side_by_side
from vlm_sae_lib import SparseAutoencoder, load_vlm, paths, pocket_pictures
from vlm_sae_lib.pocket.language import QUESTIONS
from vlm_sae_lib.steering.intervention import steered
from vlm_sae_lib.steering.sweep import Intervention, SteeringBench

NEURONS, STRENGTHS, PICTURES, PART = 100, (0.5, 1.0, 2.0, 4.0, 8.0), 24, 40
WANTED = 12


def run() -> Iterator[Row]:
    sweep, loop, answers = ways()
    scale = answers / len(range(0, answers, answers // PART))
    times = side_by_side(sweep, loop, scale=scale)
    work = f"{NEURONS} neurons × {len(STRENGTHS)} strengths × {PICTURES} pictures"
    note = f"loop on {PART} of {answers:,} answers, scaled by {scale:.0f}"
    facts = floors.facts(floors.counted(sweep))
    yield Row("steering", work, times[0], "loop of the paper's code", times[1], WANTED, note, facts)


def ways() -> tuple[Callable[[], None], Callable[[], None], int]:
    """The sweep; the loop, on so many of its answers; and how many there are."""
    vlm, sae = load_vlm("pocket"), SparseAutoencoder.load(paths.pocket() / "sae" / "steering")
    images, prompt = pocket_pictures(PICTURES, 5).images, QUESTIONS["order"]
    wanted = [Intervention(latent, strength) for latent in range(NEURONS) for strength in STRENGTHS]
    everything = [(what, image) for what in wanted for image in images]

    def sweep() -> None:
        SteeringBench(vlm, sae, images).answers(wanted, [prompt])

    def loop() -> None:
        for what, image in everything[:: len(everything) // PART]:
            with steered(vlm, sae, {what.latent: what.strength}):
                vlm.answer(image, prompt, max_new_tokens=1)

    return sweep, loop, len(everything)
