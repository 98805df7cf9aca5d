"""Numbers that steps leave on a device, to be read together: each look waits for all that was begun there."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Unread:
    def __init__(self) -> None:
        self._steps: list[int] = []
        self._numbers: list[Tensor] = []

    def add(self, step: int, *numbers: Float[Tensor, ""] | Bool[Tensor, ""]) -> None:
        self._steps.append(step)
        self._numbers.append(torch.stack([number.float() for number in numbers]))

    def read(self) -> list[tuple[int, list[float]]]:
        """Each step with its numbers, in order; afterwards there is nothing to be read."""
        numbers = torch.stack(self._numbers).tolist() if self._numbers else []
        found = list(zip(self._steps, numbers, strict=True))
        self._steps, self._numbers = [], []
        return found
