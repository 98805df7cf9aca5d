"""``make pocket``: train every pocket model and the shipped SAEs from their seeds; resumable, with progress.

Takes under an hour on two cores and minutes on a GPU. Half-trained models lie in ``runs/pocket-training`` and are
continued by the next call; finished ones are only written again.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.pocket import language, tree, world
from vlm_sae_lib.pretraining import cards, clip, exam, llava, self_supervised
from vlm_sae_lib.pretraining.pictures import paint_training_pictures
from vlm_sae_lib.reserving import reserved
from vlm_sae_lib.towers.pocket_models import load_clip

PICTURES, SEED = 40_000, 1001
SECOND_SEED = 1005
CLIP: dict[str, Any] = {"seed": 1, "steps": 2200}
SECOND_CLIP: dict[str, Any] = {"seed": 5, "steps": 1100}
LLAVA: dict[str, Any] = {"seed": 3, "steps": 900}
SELF_SUPERVISED: dict[str, Any] = {"seed": 4, "steps": 1100}
STAGES = ("clip", "llava", "self_supervised", "second_clip", "sae", "cards")


def workspace() -> Path:
    return paths.runs("pocket-training")


def train_clip() -> None:
    pictures = paint_training_pictures(PICTURES, SEED, workspace())
    clip.save(clip.train(pictures, **CLIP, workspace=workspace(), device=choose_device()), paths.pocket() / "clip")


def train_second_clip() -> None:
    pictures = paint_training_pictures(PICTURES, SECOND_SEED, workspace())
    model = clip.train(pictures, **SECOND_CLIP, workspace=workspace(), device=choose_device())
    clip.save(model, paths.pocket() / "second_clip")


def train_self_supervised() -> None:
    pictures = paint_training_pictures(PICTURES, SEED, workspace())
    model = self_supervised.train(pictures, **SELF_SUPERVISED, workspace=workspace(), device=choose_device())
    self_supervised.save(model, paths.pocket() / "self_supervised")


def train_llava() -> None:
    pictures = paint_training_pictures(PICTURES, SEED, workspace())
    tower, _, _ = load_clip("clip")
    model = llava.train(tower, pictures, **LLAVA, workspace=workspace(), device=choose_device())
    llava.save(model, paths.pocket() / "llava")


def train_sae() -> None:
    """The SAEs whose single latents the book shows."""
    from vlm_sae_lib.profiles import load_profile
    from vlm_sae_lib.profiles.shown import SHOWN
    from vlm_sae_lib.workbench import Workbench

    bench = Workbench(load_profile("pocket", shipped=False))
    for name in SHOWN:
        bench.shown(name).save(paths.pocket() / "sae" / name)


def write_cards() -> None:
    held_out = world.pocket_pictures(3000, exam.HELD_OUT_SEED)
    painted = f"{PICTURES:,} pictures of the world (seed {{seed}}), {{passes:,}} picture passes, seed {{own}}."
    for name, settings, seed in (("clip", CLIP, SEED), ("second_clip", SECOND_CLIP, SECOND_SEED)):
        made = painted.format(seed=seed, passes=settings["steps"] * clip.BATCH, own=settings["seed"])
        made += f" Each pass pairs a picture with {clip.CAPTIONS_PER_PICTURE} captions. Muon and AdamW, bf16 products."
        table = exam.examine_clip(name, held_out)
        cards.write_card(paths.pocket() / name, name, made, table, layers=clip.model_config()["vision_cfg"]["layers"])
    passes = SELF_SUPERVISED["steps"] * self_supervised.BATCH
    made = painted.format(seed=SEED, passes=passes, own=SELF_SUPERVISED["seed"])
    table = exam.examine_scoring_encoder(world.pocket_pictures(8000, SEED + 6), held_out)
    cards.write_card(paths.pocket() / "self_supervised", "self_supervised", made, table, truth_agreement())
    made = painted.format(seed=SEED, passes=LLAVA["steps"] * llava.BATCH, own=LLAVA["seed"])
    made += f" Each pass asks {llava.PROMPTS_PER_PICTURE} prompts."
    made += f" {llava.BLANKS} blank pages are added, and one picture in 33 is an empty scene."
    table = exam.examine_llava(held_out.subset(range(500)))
    prompts = len(language.QUESTIONS) + 1 + len(language.LONG_ANSWERS)
    cards.write_card(paths.pocket() / "llava", "llava", made, table, prompts=prompts)


def truth_agreement() -> str:
    """How far the encoders' MS of the shown SAE's latents ranks them as the MS of the true factors does."""
    from vlm_sae_lib.profiles import load_profile
    from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
    from vlm_sae_lib.scores.truth import factor_embeddings
    from vlm_sae_lib.statistics.intervals import spearman
    from vlm_sae_lib.workbench import Workbench

    bench = Workbench(load_profile("pocket"))
    latents = bench.shown("main_matryoshka").encode_sparse(bench.activations("test", "block_5").array())
    factors = bench.pictures("test").factors
    truth = monosemanticity_score(latents, factor_embeddings(factors, [*tree.RANKS, "colour", "pattern", "habitat"]))
    enough = np.asarray((latents > 0).sum(0)).ravel() >= 10
    rows = []
    for name in bench.scoring_names:
        score = monosemanticity_score(latents, bench.embeddings("test", name).array().numpy())
        kept = enough & np.isfinite(score) & np.isfinite(truth)
        found = spearman(score[kept], truth[kept])
        low, high = found.interval
        row = {"encoder": name, "spearman": found.value, "ci_low": low, "ci_high": high}
        rows.append(row | {"latents": int(kept.sum())})
    return (
        "Rank agreement of its MonoSemanticity scores with those of the true factors (one-hot, equal weights), over "
        "the latents of the shown Matryoshka SAE that fire on at least ten held-out pictures:\n\n"
        + cards.markdown_table(pd.DataFrame(rows)) + "\n"
    )


_TRAIN = {
    "clip": train_clip, "llava": train_llava, "self_supervised": train_self_supervised,
    "second_clip": train_second_clip, "sae": train_sae, "cards": write_cards,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vlm_sae_lib.pretraining.train", description=__doc__)
    parser.add_argument("--only", choices=STAGES, action="append", help="a stage; may be given several times")
    chosen = parser.parse_args(arguments).only or STAGES
    try:
        for stage in (stage for stage in STAGES if stage in chosen):
            with reserved(paths.pocket() / stage):
                start = time.monotonic()
                sys.stderr.write(f"{stage} …\n")
                _TRAIN[stage]()
                sys.stderr.write(f"{stage}: {time.monotonic() - start:.0f} s → {paths.pocket()}\n")
    except UserError as error:
        parser.exit(2, f"error: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
