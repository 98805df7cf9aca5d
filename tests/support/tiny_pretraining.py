"""The pocket models' training in miniature: the same code, on a few pictures and for a few steps."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.pretraining import clip, fit, llava, pictures, self_supervised, train

STEPS, PICTURES, BATCH = 3, 40, 8
MODELS = ("clip", "llava", "self_supervised", "second_clip")


class OneThread(ThreadPoolExecutor):
    """Paints without processes of its own, each of which would take seconds to begin."""

    def __init__(self, **_):
        super().__init__(1)


def train_there(folder: Path, models=MODELS) -> int:
    """Train these models below a folder; the settings are of this process alone, so call it in a fork."""
    train.PICTURES, pictures.CHUNK, pictures.ProcessPoolExecutor = PICTURES, 20, OneThread
    fit.CHECKPOINT_SECONDS = -1  # after every step
    for module in (clip, llava, self_supervised):
        module.BATCH = BATCH
    for settings in (train.CLIP, train.SECOND_CLIP, train.LLAVA, train.SELF_SUPERVISED):
        settings["steps"] = STEPS
    paths.pocket = lambda: folder / "pocket"
    train.workspace = lambda: folder / "training"
    return train.main([f"--only={model}" for model in models])
