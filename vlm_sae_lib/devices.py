"""Where a model runs."""

import torch


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device named, or else the first GPU, or else the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
