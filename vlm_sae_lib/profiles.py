"""Every number of a run in one frozen dataclass; nothing else knows a profile's name.

``pocket`` runs on two cores in minutes, on models of our own that travel with the repository. ``light``, ``colab`` and
``paper`` run the same code on public models: CLIP, DINOv2 and a LLaVA of a size that their machines can hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class SteeringSize:
    """How much of the steering study is run: a single answer costs what the language model costs."""

    concepts: int = 4
    """Concepts to insert, per kind."""
    candidates: int = 3
    """Latents tried for a concept."""
    multiples: tuple[float, ...] = (1, 2, 4)
    """Strengths tried, in multiples of a latent's maximum."""
    choosing: int = 5
    """Pictures on which a setting is chosen."""
    test: int = 16
    """Pictures on which it is scored."""
    repetitions: int = 7
    """New draws of each random control."""
    trial: int = 6
    """Pictures on which the latents of the first look are tried."""
    doses: tuple[float, ...] = (0.25, 0.5, 1, 2, 4, 8)
    dose_test: int = 12
    dose_repetitions: int = 3
    suppressed: int = 3
    """Concepts to suppress, per kind."""
    suppress_choosing: int = 3
    suppress_test: int = 6
    shown: int = 8
    """Neurons that the page lets the reader steer."""
    shown_pictures: int = 4
    """Pictures, beside a blank page, on which it does."""
    shown_multiples: tuple[float, ...] = (-2, -1, 0, 0.5, 1, 2, 4, 8)


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
    """What the SAEs learn from (paper: ImageNet train), as ``load_pictures`` spells it; of ImageNet and iNaturalist a
    path that is not absolute begins at ``paths.datasets()``."""
    choosing_pictures: str
    """Where latents, strengths and thresholds are chosen; never scored on."""
    test_pictures: str
    """What every score is reported on (paper: ImageNet validation)."""
    hook_points: tuple[str, ...]
    """The layers that the book compares (paper: blocks 11, 17, 22, 23 and the projection, "last")."""
    main_hook_point: str
    """The layer whose neurons the book looks at one by one."""
    steering_hook_point: str | None
    """The block of ``tower`` that the VLM's projector reads; None where the VLM brings a tower of its own."""
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
    taxonomy_train: str | None = None
    """What the autoencoders of notebook 4 learn from (paper: iNaturalist 2021); None: ``train_pictures``."""
    taxonomy_test: str | None = None
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
    steering: SteeringSize = SteeringSize()
    vlm_bits: int | None = None
    """Bits per weight that the VLM is loaded in, on a GPU; None: as its checkpoint is."""
    vlm_gpu_gib: float = 0.0
    """GPU memory that it needs; with less, ``smaller_vlm`` is taken."""
    smaller_vlm: str | None = None
    released_saes: str | None = None
    """A release on the hub: if it holds an SAE for the very block that the VLM's projector reads, that one is taken."""
    half_on_gpu: bool = False
    """Whether towers compute in half precision where there is a GPU; activations are kept in full."""
    seed: int = 0
    collect_batch: int = 64
    shipped: bool = False
    """Whether the SAEs whose single latents the book shows travel with the repository (``data/pocket/sae``)."""


# Public weights, each pinned to a commit: what a run read stays what it was.
CLIP_L = "hf:openai/clip-vit-large-patch14-336@ce19dc912ca5cd21c8a653c79e251e808ccabcd1"
CLIP_B32 = "hf:openai/clip-vit-base-patch32@3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
CLIP_B16 = "hf:openai/clip-vit-base-patch16@57c216476eefef5ab752ec549e440a49ae4ae5f3"
DINO_B = "hf:facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415"
DINO_S = "hf:facebook/dinov2-small@ed25f3a31f01632728cabb09d1542f84ab7b0056"
LLAVA = "hf:llava-hf/llava-1.5-7b-hf@b234b804b114d9e37bb655e11cbbb5f5e971b7a9"
SMALL_LLAVA = "hf:llava-hf/llava-onevision-qwen2-0.5b-ov-hf@74dd0bf867a4cda7950c17663794267c60cf4b40"
AUTHORS = "mateuszpach/sae-for-vlm"

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
    "light": Profile(
        name="light",
        tower=CLIP_B32,
        scoring_towers=(("DINOv2", DINO_S), ("CLIP-B/16", CLIP_B16)),
        vlm=SMALL_LLAVA,
        train_pictures="inat2021-sample:1000:train",
        choosing_pictures="inat2021-sample:1000:choosing",
        test_pictures="inat2021-sample:1000:test",
        hook_points=("block_5", "block_9", "block_11", "projection"),
        main_hook_point="block_11",
        steering_hook_point=None,
        k=16,
        steps=1500,
        batch_size=1024,
        lr=1e-3,
        lr_decay=0.3,
        taxonomy_k=16,
        steering_expansion=4,
        steering_choosing=120,
        steering_scored=120,
        steering=SteeringSize(
            concepts=2, candidates=2, multiples=(1, 3), choosing=3, test=6, repetitions=2, trial=3, doses=(0.5, 1, 3),
            dose_test=4, dose_repetitions=1, suppressed=2, suppress_choosing=2, suppress_test=4, shown=3,
            shown_pictures=2, shown_multiples=(-1, 0, 1, 2, 4),
        ),
    ),
    "colab": Profile(
        name="colab",
        tower=CLIP_L,
        scoring_towers=(("DINOv2", DINO_B), ("CLIP-B/32", CLIP_B32)),
        vlm=LLAVA,
        train_pictures="inat2021-sample:1000:train",
        choosing_pictures="inat2021-sample:1000:choosing",
        test_pictures="inat2021-sample:1000:test",
        hook_points=("block_11", "block_22", "block_23", "projection"),
        main_hook_point="block_23",
        steering_hook_point=None,
        steps=2000,
        batch_size=1024,
        lr=1e-3,
        lr_decay=0.3,
        steering_expansion=4,
        steering_choosing=200,
        steering_scored=200,
        steering=SteeringSize(
            concepts=3, candidates=2, multiples=(1, 3), choosing=3, test=8, repetitions=2, trial=3, doses=(0.5, 1, 3),
            dose_test=6, dose_repetitions=1, suppressed=2, suppress_choosing=2, suppress_test=4, shown=4,
            shown_pictures=2, shown_multiples=(-1, 0, 1, 2, 4),
        ),
        vlm_bits=4,
        vlm_gpu_gib=8.0,
        smaller_vlm=SMALL_LLAVA,
        released_saes=AUTHORS,
        half_on_gpu=True,
    ),
    "paper": Profile(
        name="paper",
        tower=CLIP_L,
        scoring_towers=(("DINOv2", DINO_B), ("CLIP-B/32", CLIP_B32)),
        vlm=LLAVA,
        train_pictures="imagenet:imagenet/train",
        choosing_pictures="imagenet:imagenet/train",
        test_pictures="imagenet:imagenet/val",
        hook_points=("block_11", "block_17", "block_22", "block_23", "projection"),
        main_hook_point="projection",
        steering_hook_point="block_22",
        expansions=(1, 2, 4, 8, 16, 64),
        taxonomy_train="inat2021:inat2021/train",
        taxonomy_test="inat2021:inat2021/val",
        released_saes=AUTHORS,
    ),
}


def load_profile(name: str, **overrides: Any) -> Profile:
    """The profile of that name, with single settings replaced; of ``steering`` a mapping replaces some of its own.

    Raises:
        ValueError: the name or a setting is unknown; the message lists the known ones.
    """
    if name not in PROFILES:
        raise ValueError(f"There is no profile {name!r}; the profiles are {', '.join(PROFILES)}.")
    profile = PROFILES[name]
    if isinstance(part := overrides.get("steering"), Mapping):
        overrides["steering"] = _replaced(profile.steering, part, "The steering study")
    return _replaced(profile, overrides, "A profile")


def _replaced(settings: Any, changes: Mapping[str, Any], who: str) -> Any:
    known = [field.name for field in fields(settings)]
    unknown = [key for key in changes if key not in known]
    if unknown:
        raise ValueError(f"{who} has no setting {unknown[0]!r}; the settings are {', '.join(known)}.")
    return replace(settings, **changes)
