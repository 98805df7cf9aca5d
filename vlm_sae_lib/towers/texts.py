"""The text half of a CLIP, whose vision half is a tower: words in, embeddings beside those of pictures out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.loading import loading, model_config, split_revision
from vlm_sae_lib.pocket import language, tree
from vlm_sae_lib.pocket.islands import of_kind
from vlm_sae_lib.towers.tower import Tower

TextPart = Callable[[Sequence[str]], Float[Tensor, "n d"]]


def text_part(tower: Tower) -> TextPart | None:
    """What embeds texts where the tower's ``projection`` embeds pictures, not normalised, on the CPU.

    Of towers of open_clip (the pocket CLIPs are such) and of a CLIP of transformers. None where the tower has none.

    Raises:
        UserError: it has one that cannot be loaded.
    """
    if hasattr(tower.model, "encode_text"):
        return _of_open_clip(tower)
    return _of_transformers(tower) if tower.spec.startswith("hf:") else None


def _of_open_clip(tower: Tower) -> TextPart:
    import open_clip

    kind, _, rest = tower.spec.partition(":")
    island = of_kind(kind)
    name = f"local-dir:{island.folder(rest or 'clip')}" if island else rest
    with loading(tower.spec, "open_clip"):
        tokenizer = open_clip.get_tokenizer(name if ":" in name else name.partition("/")[0])
    model: Any = tower.model
    return lambda texts: model.encode_text(tokenizer(list(texts)).to(tower.device)).float().cpu()


def _of_transformers(tower: Tower) -> TextPart | None:
    import transformers

    where, revision = split_revision(tower.spec.removeprefix("hf:"))
    where = str(Path(where).expanduser()) if Path(where).expanduser().is_dir() else where
    with loading(tower.spec, "transformers"):
        config = model_config(where, revision)
        if config.model_type != "clip":
            return None
        config.text_config.projection_dim = config.projection_dim
        model = transformers.CLIPTextModelWithProjection.from_pretrained(
            where, config=config.text_config, revision=revision
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # made of nothing, without a word of complaint
        raise UserError(f"{tower.spec} has no vocabulary for its text part: add its tokenizer.json, or its vocab.json.")
    model = model.float().eval().to(tower.device)

    def embed(texts: Sequence[str]) -> Float[Tensor, "n d"]:
        tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(tower.device)
        return model(**tokens).text_embeds.float().cpu()

    return torch.no_grad()(embed)


@torch.no_grad()
def zero_shot_classifier(model: Any, tokenizer, names: list[str], templates=None) -> Tensor:
    """Text embeddings (names, d) averaged over prompt templates, as CLIP's ensemble."""
    templates = templates or ("a photo of a {}", "a {}", "a photo of a {} in the {}")
    device = next(model.parameters()).device
    vectors = []
    for template in templates:
        for place in tree.HABITATS if template.count("{}") == 2 else ("",):
            tokens = tokenizer([language.article(template.format(name, place)) for name in names]).to(device)
            vectors.append(model.encode_text(tokens, normalize=True))
    return functional.normalize(torch.stack(vectors).mean(0), dim=1)
