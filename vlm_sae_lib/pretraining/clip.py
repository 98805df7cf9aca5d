"""The pocket CLIP: an ``open_clip`` model of 1.7 million weights, trained on the world's pictures and captions."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from vlm_sae_lib.files import whole_folder, write_json
from vlm_sae_lib.pocket import language
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.pretraining import fit
from vlm_sae_lib.pretraining.pictures import TrainingPictures, to_tensor
from vlm_sae_lib.pretraining.tokenizers import clip_tokenizer, name_for_every_release
from vlm_sae_lib.towers.pocket_models import MEAN, STD

CONTEXT = 12
CAPTIONS_PER_PICTURE = 3
BATCH = 128


def model_config(width: int = 128, layers: int = 6, patch: int = 8, island: Island = HOME) -> dict:
    """The ``model_cfg`` of open_clip's configuration file; embeddings are as wide as the vision tower."""
    return {
        "embed_dim": width,
        "quick_gelu": True,
        "vision_cfg": {
            "layers": layers, "width": width, "head_width": 32, "patch_size": patch, "image_size": 64,
        },
        "text_cfg": {
            "context_length": CONTEXT, "vocab_size": len(clip_tokenizer(island)), "width": 128, "heads": 4, "layers": 2,
            "hf_tokenizer_name": "pocket",
        },
    }  # fmt: skip


def build(config: dict, patch_dropout: float = 0.0) -> Any:
    """An untrained model of that configuration."""
    vision = open_clip.CLIPVisionCfg(**config["vision_cfg"], patch_dropout=patch_dropout)
    text = open_clip.CLIPTextCfg(**config["text_cfg"])
    return open_clip.CLIP(config["embed_dim"], vision, text, quick_gelu=config["quick_gelu"])


class CaptionTokens:
    """Captions drawn and tokenized on the fly; a word's id is looked up once."""

    def __init__(self, pictures: TrainingPictures, island: Island = HOME):
        self.pictures = pictures
        tokenizer = clip_tokenizer(island)
        self.ids = tokenizer.get_vocab()
        self.start, self.end = tokenizer.bos_token_id, tokenizer.eos_token_id

    def caption(self, i: int, rng: np.random.Generator) -> str:
        facts = self.pictures.facts[i]
        if self.pictures.empty[i]:
            return language.EMPTY_CAPTIONS[int(rng.integers(len(language.EMPTY_CAPTIONS)))].format(**facts)
        return language.random_caption(facts, rng)

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Token ids (rows × captions, context) and matches (rows, rows × captions): which caption was said of whom."""
        texts = [[self.caption(int(i), rng) for _ in range(CAPTIONS_PER_PICTURE)] for i in rows]
        flat = [text for own in texts for text in own]
        tokens = np.zeros((len(flat), CONTEXT), dtype=np.int64)
        for row, text in zip(tokens, flat, strict=True):
            ids = [self.start, *(self.ids[word] for word in language.words(text)), self.end]
            row[: len(ids)] = ids
        number = {text: j for j, text in enumerate(dict.fromkeys(flat))}
        said = np.zeros((len(rows), len(number)), dtype=bool)
        for i, own in enumerate(texts):
            said[i, [number[text] for text in own]] = True
        return torch.from_numpy(tokens), torch.from_numpy(said[:, [number[text] for text in flat]])


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, match: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy; a caption said of several pictures is right for each of them.

    Short captions such as "a bird" recur in a batch, so the pairs that CLIP would call wrong must not count as wrong.
    """
    logits = scale * images @ texts.T
    target = match.float()
    forward = functional.cross_entropy(logits, target / target.sum(1, keepdim=True))
    backward = functional.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return (forward + backward) / 2


def train(
    pictures: TrainingPictures, *, seed: int, steps: int, workspace: Path, island: Island = HOME, device="cpu"
) -> nn.Module:
    """Train one CLIP; patches are dropped (half, then a quarter, then none) to see more pictures in the same time."""
    lr = 2e-3
    config = model_config(island.width, island=island)
    torch.manual_seed(seed)
    model = build(config, patch_dropout=0.5).to(device).train()
    captions = CaptionTokens(pictures, island)

    def loss_at(step: int) -> Tensor:
        share = step / steps
        model.visual.patch_dropout.prob = 0.5 if share < 0.7 else 0.25 if share < 0.85 else 0.0
        rng = np.random.default_rng([seed, step])
        rows = rng.choice(len(pictures), BATCH, replace=False)
        tokens, match = captions(rows, rng)
        with fit.mixed_precision(device):
            images, texts, scale = model(to_tensor(pictures.pixels[rows], device), tokens.to(device))
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6)
        return contrastive_loss(images.float(), texts.float(), scale.float(), match.to(device))

    optimisers = fit.make_optimisers(model, lr, 0.1, lambda name: "resblocks" in name)
    elsewhere = [island.name] if island.name else []
    tag = fit.settings_tag("clip", config, seed, steps, lr, BATCH, len(pictures), *elsewhere)
    fit.fit(f"clip_{tag}", model, optimisers, loss_at, steps=steps, lr=lr, seed=seed, workspace=workspace)
    model.visual.patch_dropout = nn.Identity()
    return model.eval()


def save(model: nn.Module, folder: Path, island: Island = HOME) -> None:
    """Write the folder that ``open_clip.create_model_and_transforms("local-dir:…")`` opens. Weights in fp16."""
    with whole_folder(folder) as temporary:
        config = {
            "model_cfg": model_config(island.width, island=island),
            "preprocess_cfg": {
                "size": 64, "mode": "RGB", "mean": [MEAN] * 3, "std": [STD] * 3,
                "interpolation": "bicubic", "resize_mode": "shortest",
            },
        }  # fmt: skip
        write_json(temporary / "open_clip_config.json", config)
        weights = {name: tensor.detach().half().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, temporary / "open_clip_model.safetensors")
        clip_tokenizer(island).save_pretrained(temporary)
        name_for_every_release(temporary)
