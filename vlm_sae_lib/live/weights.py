"""A checkpoint's tensors by name, as they are stored."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class Weights:
    """Tensors whose names begin with a prefix, by the rest of their names."""

    def __init__(self, tensors: dict[str, np.ndarray], prefix: str = ""):
        self._tensors, self._prefix = tensors, prefix

    @classmethod
    def read(cls, path: Path) -> "Weights":
        return cls(load_file(path))

    def under(self, part: str) -> "Weights":
        return Weights(self._tensors, f"{self._prefix}{part}.")

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._prefix + name]
