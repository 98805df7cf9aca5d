"""The pocket world's self-supervised encoder as a tower: a transformers ResNet under a projection of its own."""

from dataclasses import asdict

import torch

from vlm_sae_lib.hooks import find_blocks
from vlm_sae_lib.loading import quiet
from vlm_sae_lib.pocket.islands import Island
from vlm_sae_lib.towers.open_clip_towers import plain
from vlm_sae_lib.towers.tower import Tower
from vlm_sae_lib.towers.transformers_towers import block_count, essential, stage_widths


def load_self_supervised_tower(
    island: Island, *, spec: str, name: str, device: torch.device | None, dtype: torch.dtype
) -> Tower:
    """``block_i`` are the ResNet's stages, ``projection`` is the output of the contrastive head, (n, 64)."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from vlm_sae_lib.towers.pocket_models import MEAN, STD, load_self_supervised

    with quiet():
        module = load_self_supervised(island=island)
    config = module.resnet.config
    preprocessing = PreprocessCfg(size=64, mean=(MEAN,) * 3, std=(STD,) * 3)  # as the pocket CLIP
    return Tower(
        spec=spec,
        name=name,
        module=module,
        blocks=find_blocks(module.resnet, block_count(config), name),
        project=module,
        preprocess=image_transform_v2(preprocessing, is_train=False),
        preprocessing=plain(asdict(preprocessing)),
        config=essential(config),
        device=device,
        dtype=dtype,
        widths=stage_widths(config),
    )
