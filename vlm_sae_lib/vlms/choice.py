"""Which vision-language model a machine has memory for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.precision import free_gpu_gib
from vlm_sae_lib.profiles.settings import Profile


@dataclass(frozen=True)
class Candidate:
    """A VLM that may be chosen."""

    spec: str
    """As ``load_vlm`` spells it."""
    bits: int | None
    """As ``load_vlm`` takes them; None where nothing is quantised."""
    gpu_gib: float
    """Free GPU memory that it needs, in GiB (2^30 bytes); 0 where it runs without a GPU, too."""
    why: str
    """What speaks for it, as words that end a sentence: "the model of the paper"."""

    @property
    def title(self) -> str:
        """Its name, and the bits where it is quantised."""
        name = self.spec.rstrip("/").rpartition("/")[2].removeprefix("hf:").partition("@")[0]
        return f"{name} in {self.bits} bits" if self.bits else name


def chosen_vlm(profile: Profile) -> tuple[Candidate, str]:
    """A profile's VLM, or its smaller one where the GPU's memory is short, and one sentence that says which and why.

    Raises: UserError where neither fits.
    """
    first = Candidate(profile.vlm, profile.vlm_bits, profile.vlm_gpu_gib, "it is the profile's first choice")
    if not profile.smaller_vlm:
        return _chosen((first,))[0], f"The model is `{first.spec}`."
    return _chosen((first, Candidate(profile.smaller_vlm, None, 0.0, f"the first choice, {first.title}, needs more")))


@lru_cache(maxsize=8)
def _chosen(candidates: tuple[Candidate, ...]) -> tuple[Candidate, str]:
    return choose(candidates)  # once: a model that was loaded leaves less free memory than it was chosen by


def choose(candidates: Sequence[Candidate], *, gpu_gib: float | None = None) -> tuple[Candidate, str]:
    """The first candidate that fits the GPU's free memory, and one sentence that says which and why.

    candidates: at least one, in the order of preference.
    gpu_gib: free GPU memory in GiB, 0 without a GPU; measured where it is None.

    Raises: UserError where none fits.
    """
    free = (free_gpu_gib() or 0.0) if gpu_gib is None else gpu_gib
    for candidate in candidates:
        if candidate.gpu_gib <= free or not candidate.gpu_gib:
            return candidate, f"{_machine(free)}: {candidate.title}, {_need(candidate)}; {candidate.why}."
    smallest = min(candidates, key=lambda candidate: candidate.gpu_gib)
    raise UserError(
        f"{_machine(free)}, and no vision-language model fits: the smallest is {smallest.title}, {_need(smallest)}, so "
        "free memory of the GPU, use another machine, or name a smaller model"
    )


def _machine(free: float) -> str:
    return f"This machine has a GPU with {int(free)} GiB free" if free > 0 else "No GPU"


def _need(candidate: Candidate) -> str:
    return f"which needs about {candidate.gpu_gib:g} GiB" if candidate.gpu_gib else "which runs on any machine"
