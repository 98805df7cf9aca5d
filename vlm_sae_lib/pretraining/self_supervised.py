"""The scoring encoder: SimCLR on pictures alone. It never sees a caption or a label.

Its projection output is the embedding: it is well spread (random pairs have cosine near 0), as the paper's DINOv2 is;
the backbone's pooled features are not.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import ResNetConfig, ResNetModel

from vlm_sae_lib.files import whole_folder, write_json
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.pretraining import fit
from vlm_sae_lib.pretraining.pictures import TrainingPictures, to_tensor
from vlm_sae_lib.towers.pocket_models import MEAN, STD, ScoringEncoder

BATCH, TEMPERATURE = 256, 0.15




def build() -> ScoringEncoder:
    config = ResNetConfig(
        embedding_size=32, hidden_sizes=[48, 96, 192], depths=[1, 1, 1], layer_type="basic",
        downsample_in_first_stage=True,
    )  # fmt: skip
    return ScoringEncoder(ResNetModel(config))


def augment(pixels: Tensor) -> Tensor:
    """A random crop, flip, light, warmth and grain. Hue is left alone: colour tells species apart here."""
    n, device = len(pixels), pixels.device
    uniform = lambda low, high, *shape: torch.empty(n, *shape, device=device).uniform_(low, high)  # noqa: E731
    scale = uniform(0.55, 1.0)
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0] = scale * (torch.randint(0, 2, (n,), device=device) * 2 - 1)
    theta[:, 1, 1] = scale
    theta[:, 0, 2] = uniform(-0.8, 0.8) * (1 - scale)
    theta[:, 1, 2] = uniform(-0.8, 0.8) * (1 - scale)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    crops = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    gain = uniform(0.85, 1.15, 3, 1, 1) * uniform(0.7, 1.3, 1, 1, 1)
    return crops * gain + uniform(-0.3, 0.3, 1, 1, 1) + 0.05 * torch.randn_like(crops)


def train(
    pictures: TrainingPictures, *, seed: int, steps: int, workspace: Path, island: Island = HOME, device="cpu"
) -> ScoringEncoder:
    """SimCLR (Chen et al. 2020): two views of a picture are told from the views of the others in the batch."""
    lr = 2e-3
    torch.manual_seed(seed)
    # torch's types know a memory format beside a device for tensors only
    model = build().to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def loss_at(step: int) -> Tensor:
        rows = np.random.default_rng([seed, step]).choice(len(pictures), BATCH, replace=False)
        pixels = to_tensor(pictures.pixels[rows], device)
        views = torch.cat([augment(pixels), augment(pixels)]).contiguous(memory_format=torch.channels_last)
        with fit.mixed_precision(device):
            embeddings = model(views)
        unit = functional.normalize(embeddings.float(), dim=1)
        similarity = (unit @ unit.T / TEMPERATURE).fill_diagonal_(-1e4)
        other_view = torch.arange(2 * BATCH, device=device).roll(BATCH)
        return functional.cross_entropy(similarity, other_view)

    optimisers = fit.make_optimisers(model, lr, 1e-4, lambda name: False)
    elsewhere = [island.name] if island.name else []
    tag = fit.settings_tag("self_supervised", seed, steps, lr, BATCH, TEMPERATURE, len(pictures), *elsewhere)
    fit.fit(f"self_supervised_{tag}", model, optimisers, loss_at, steps=steps, lr=lr, seed=seed, workspace=workspace)
    return model.eval()


def save(model: ScoringEncoder, folder: Path) -> None:
    """A transformers ``ResNetModel`` folder, with the head in ``projection.safetensors``. Weights in fp16."""
    model = model.float().cpu()
    with whole_folder(folder) as temporary:
        model.resnet.save_pretrained(temporary)
        for name, source in (("model", load_file(temporary / "model.safetensors")), ("projection", None)):
            weights = source or {key: tensor.detach() for key, tensor in model.projection.state_dict().items()}
            halves = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in weights.items()}
            save_file(halves, temporary / f"{name}.safetensors", metadata={"format": "pt"})
        preprocessing = {
            "image_processor_type": "ConvNextImageProcessor", "do_resize": True, "size": {"shortest_edge": 64},
            "crop_pct": 1.0, "do_normalize": True, "image_mean": [MEAN] * 3, "image_std": [STD] * 3,
            "do_rescale": True, "resample": 3,
        }  # fmt: skip
        write_json(temporary / "preprocessor_config.json", preprocessing)
