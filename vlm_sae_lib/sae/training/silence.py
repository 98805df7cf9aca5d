"""For how many samples each latent has been silent, and which ones count as dead by that."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Silence:
    """Counts on from zero, on the device of the weights.

    Attributes:
        samples: for how many each latent has not fired, int64 (latents,).
    """

    def __init__(self, latents: int, window: int, device: torch.device) -> None:
        self.samples: Int[Tensor, " latents"] = torch.zeros(latents, dtype=torch.int64, device=device)
        self.window = window
        self._at_most = 0

    def add(self, fired: Bool[Tensor, " latents"], samples: int) -> Bool[Tensor, " latents"]:
        """So many samples more, in which some latents fired; the mask of dead ones."""
        self.samples += samples
        self.samples.masked_fill_(fired, 0)
        return self.samples >= self.window

    def add_unseen(self, fired: Bool[Tensor, " latents"], samples: int) -> Bool[Tensor, " latents"] | None:
        """The same without a look at the device, and None, while by the last look none can be silent for so long."""
        dead = self.add(fired, samples)
        self._at_most += samples
        if self._at_most < self.window:
            return None
        self._at_most = int(self.samples.max())
        return dead if self._at_most >= self.window else None

    def restore(self, samples: Int[Tensor, " latents"]) -> None:
        self.samples.copy_(samples)
        self._at_most = int(self.samples.max())
