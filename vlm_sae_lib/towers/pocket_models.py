"""The pocket models: where they lie, and how each is opened through its own library's loader."""

from typing import Any

import open_clip
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import ResNetModel

from vlm_sae_lib.pocket.islands import HOME, Island

MEAN, STD = 0.5, 0.3
"""Of a pixel's value between 0 and 1, as all of them read it."""
EMBEDDING = 64


def load_clip(name: str = "clip", device="cpu", island: Island = HOME) -> tuple[Any, Any, Any]:
    """(model (fp32, eval), preprocessing, tokenizer) of "clip" or "second_clip".

    Raises:
        UserError: its weights are missing.
    """
    where = f"local-dir:{island.folder(name)}"
    model, _, preprocess = open_clip.create_model_and_transforms(where, device=device)
    return model.float().eval(), preprocess, open_clip.get_tokenizer(where)


class ScoringEncoder(nn.Module):
    """A small ResNet with SimCLR's projection head: (n, 3, 64, 64) pixels → (n, 64) embeddings, not normalised."""

    def __init__(self, resnet: ResNetModel):
        super().__init__()
        width = resnet.config.hidden_sizes[-1]
        self.resnet = resnet
        self.projection = nn.Sequential(
            nn.Linear(width, 256), nn.BatchNorm1d(256), nn.ReLU(inplace=True), nn.Linear(256, EMBEDDING)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.projection(self.resnet(pixels).pooler_output.flatten(1))


def load_self_supervised(device="cpu", island: Island = HOME) -> ScoringEncoder:
    """The scoring encoder (fp32, eval)."""
    where = island.folder("self_supervised")
    model = ScoringEncoder(ResNetModel.from_pretrained(where, dtype=torch.float32))
    head = load_file(where / "projection.safetensors")
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in head.items()}
    model.projection.load_state_dict(state)
    return model.to(device).eval()
