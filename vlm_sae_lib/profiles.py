"""Every number of a run in one frozen dataclass; nothing else knows a profile's name.

``pocket`` runs on two cores in minutes, on models of our own that travel with the repository. ``colab`` and ``paper``
run the same code on CLIP, DINOv2 and LLaVA-1.5.
"""

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Profile:
    """The settings of a run."""

    name: str
    """What ``runs/<name>`` is called."""
    tower: str
    """The explained vision tower, as ``load_tower`` spells it."""
    scoring_towers: tuple[tuple[str, str], ...]
    """(name, spec) of the encoders that score monosemanticity; the first is the main one (paper §4.1: DINOv2)."""
    vlm: str
    """The vision-language model to steer, as ``load_vlm`` spells it."""
    train_pictures: str
    """What the SAEs learn from (paper: ImageNet train)."""
    choosing_pictures: str
    """Where latents, strengths and thresholds are chosen; never scored on."""
    test_pictures: str
    """What every score is reported on (paper: ImageNet validation)."""
    hook_points: tuple[str, ...]
    """The layers that the book compares (paper: blocks 11, 17, 22, 23 and the projection, "last")."""
    main_hook_point: str
    """The layer whose neurons the book looks at one by one."""
    steering_hook_point: str
    """The block that the VLM's projector reads."""
    kinds: tuple[str, ...] = ("batch_top_k", "matryoshka_batch_top_k")
    """The SAEs that the paper compares (§4.1)."""
    expansions: tuple[float, ...] = (1, 4, 8)
    """Expansion factors ε at the main hook point (paper: 1, 2, 4, 8, 16, 64)."""
    k: int = 20
    """Active latents per picture."""
    steps: int = 100_000
    batch_size: int = 4096
    lr: float | None = None
    """``None`` is the rate of the authors' code, 2e-4 / sqrt(F / 2^14)."""
    lr_decay: float = 0.0
    group_fractions: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5625)
    """Matryoshka groups (paper §4.1)."""
    taxonomy_expansion: float = 2
    taxonomy_k: int = 20
    steering_tokens: str = "random:2"
    """Tokens per training picture for the steering SAE (paper: two random ones)."""
    steering_expansion: float = 64
    steering_k: int = 20
    steering_kind: str = "matryoshka_batch_top_k"
    steering_choosing: int = 1000
    """Pictures on which latents are matched with concepts and strengths chosen."""
    steering_scored: int = 1000
    """Other pictures on which steering is scored."""
    seed: int = 0
    collect_batch: int = 64
    shipped: bool = False
    """Whether the SAEs whose single latents the book shows travel with the repository (``data/pocket/sae``)."""


PROFILES = {
    "pocket": Profile(
        name="pocket",
        tower="pocket",
        scoring_towers=(("self-supervised", "pocket:self_supervised"), ("second CLIP", "pocket:second_clip")),
        vlm="pocket",
        train_pictures="pocket:12000:11",
        choosing_pictures="pocket:3000:12",
        test_pictures="pocket:4000:13",
        hook_points=("block_2", "block_4", "block_5", "projection"),
        main_hook_point="block_5",
        steering_hook_point="block_4",
        k=10,
        steps=600,
        batch_size=1024,
        lr=2e-3,
        lr_decay=0.3,
        taxonomy_k=10,
        steering_tokens="random:8",
        steering_expansion=4,
        steering_k=8,
        steering_choosing=400,
        steering_scored=400,
        shipped=True,
    ),
    "colab": Profile(
        name="colab",
        tower="hf:openai/clip-vit-large-patch14-336",
        scoring_towers=(("DINOv2", "hf:facebook/dinov2-base"), ("CLIP-B/32", "hf:openai/clip-vit-base-patch32")),
        vlm="hf:llava-hf/llava-1.5-7b-hf",
        train_pictures="data/colab/train",
        choosing_pictures="data/colab/choose",
        test_pictures="data/colab/test",
        hook_points=("block_22", "block_23", "projection"),
        main_hook_point="block_23",
        steering_hook_point="block_22",
        steps=5000,
        batch_size=2048,
        steering_expansion=4,
    ),
    "paper": Profile(
        name="paper",
        tower="hf:openai/clip-vit-large-patch14-336",
        scoring_towers=(("DINOv2", "hf:facebook/dinov2-base"), ("CLIP-B/32", "hf:openai/clip-vit-base-patch32")),
        vlm="hf:llava-hf/llava-1.5-7b-hf",
        train_pictures="imagenet:data/imagenet/train",
        choosing_pictures="imagenet:data/imagenet/train",
        test_pictures="imagenet:data/imagenet/val",
        hook_points=("block_11", "block_17", "block_22", "block_23", "projection"),
        main_hook_point="projection",
        steering_hook_point="block_22",
        expansions=(1, 2, 4, 8, 16, 64),
    ),
}


def load_profile(name: str, **overrides: Any) -> Profile:
    """The profile of that name, with single settings replaced.

    Raises:
        ValueError: the name or a setting is unknown; the message lists the known ones.
    """
    if name not in PROFILES:
        raise ValueError(f"There is no profile {name!r}; the profiles are {', '.join(PROFILES)}.")
    known = [field.name for field in fields(Profile)]
    unknown = [key for key in overrides if key not in known]
    if unknown:
        raise ValueError(f"A profile has no setting {unknown[0]!r}; the settings are {', '.join(known)}.")
    return replace(PROFILES[name], **overrides)
