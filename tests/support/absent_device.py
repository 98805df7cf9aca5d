"""A device that this machine has not."""

import torch

ABSENT = "cuda:99" if torch.cuda.is_available() else "cuda"
