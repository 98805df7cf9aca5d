"""Where the pocket models lie and how they are opened: each through its own library's loader."""

from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket import clip, llava, self_supervised

MODELS = ("clip", "second_clip", "self_supervised", "llava")


def folder(name: str) -> Path:
    """The folder of a pocket model.

    Raises:
        UserError: there is no such model, or its weights are missing.
    """
    if name not in MODELS:
        raise UserError(f"There is no pocket model {name!r}; the pocket models are {', '.join(MODELS)}.")
    path = paths.pocket() / name
    if not path.is_dir():
        raise UserError(f"The pocket model {name!r} is not in {path}; check it out again, or run `make pocket`.")
    return path


def load_clip(name: str = "clip", device="cpu"):
    """(model, preprocessing, tokenizer) of "clip" or "second_clip"."""
    return clip.load(folder(name), device)


def load_self_supervised(device="cpu") -> self_supervised.ScoringEncoder:
    return self_supervised.load(folder("self_supervised"), device)


def load_llava(device="cpu"):
    """(model, processor) of the pocket LLaVA."""
    return llava.load(folder("llava"), device)
