"""What a profile is: every number of a run in one frozen dataclass."""

from dataclasses import dataclass
from typing import Literal

from vlm_sae_lib.overrides import AtLeastZero, Count, Index, Kind, Positive, Seed, Share, Shares, hold


@dataclass(frozen=True)
class SteeringSize:
    """How much of the steering study is run: a single answer costs what the language model costs.

    Raises ``UserError`` for a number that is not what its annotation says.
    """

    concepts: Count = 4
    """Concepts to insert, per kind."""
    min_pictures: Count = 6
    """Choosing pictures that must show a concept."""
    candidates: Count = 3
    """Latents tried for a concept."""
    multiples: tuple[Positive, ...] = (1, 2, 4)
    """Strengths tried, in multiples of a latent's maximum."""
    choosing: Count = 5
    """Pictures on which a setting is chosen."""
    test: Count = 16
    """Pictures on which it is scored."""
    repetitions: Count = 7
    """New draws of each random control."""
    trial: Count = 6
    """Pictures on which the latents of the first look are tried."""
    doses: tuple[Positive, ...] = (0.25, 0.5, 1, 2, 4, 8)
    dose_test: Count = 12
    dose_repetitions: Count = 3
    suppressed: Count = 3
    """Concepts to suppress, per kind."""
    suppress_choosing: Count = 3
    suppress_test: Count = 6
    shown: Count = 8
    """Neurons that the page lets the reader steer."""
    shown_pictures: Index = 4
    """Pictures, beside a blank page, on which it does."""
    shown_multiples: tuple[float, ...] = (-2, -1, 0, 0.5, 1, 2, 4, 8)

    def __post_init__(self) -> None:
        hold(self, "The steering study's")


@dataclass(frozen=True)
class Profile:
    """The settings of a run. Raises ``UserError`` for one that is not what its annotation says."""

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
    kinds: tuple[Kind, ...] = ("batch_top_k", "matryoshka_batch_top_k")
    """The SAEs that the paper compares (§4.1)."""
    expansions: tuple[Positive, ...] = (1, 4, 8)
    """Expansion factors ε at the main hook point (paper: 1, 2, 4, 8, 16, 64)."""
    main_expansion: Positive = 4
    """ε of the SAEs whose single latents the book shows, and of those that compare layers (paper: 4)."""
    k: Count = 20
    """Active latents per picture."""
    steps: Count = 100_000
    batch_size: Count = 4096
    lr: Positive | Literal["text"] | None = None
    """``None`` is the rate of the authors' code, 2e-4 / sqrt(F / 2^14); ``"text"`` is the paper's, five times that."""
    lr_decay: Share = 0.0
    group_fractions: Shares = (0.0625, 0.125, 0.25, 0.5625)
    """Matryoshka groups (paper §4.1)."""
    taxonomy_train: str | None = None
    """What the autoencoders of notebook 4 learn from (paper: iNaturalist 2021); None: ``train_pictures``."""
    taxonomy_test: str | None = None
    taxonomy_expansion: Positive = 2
    taxonomy_k: Count = 20
    steering_tokens: str = "random:2"
    """Tokens per training picture for the steering SAE (paper: two random ones)."""
    steering_pictures: Count | None = None
    """So many training pictures, drawn by the seed, for an SAE of the VLM's own tower; None: all of them."""
    steering_expansion: Positive = 64
    steering_k: Count = 20
    steering_kind: Kind = "matryoshka_batch_top_k"
    steering_choosing: Count = 1000
    """Pictures on which latents are matched with concepts and strengths chosen."""
    steering_scored: Count = 1000
    """Other pictures on which steering is scored."""
    gallery_classes: Count = 20
    """Classes that both hold, where pictures have one of hundreds: so many that each has enough pictures."""
    steering: SteeringSize = SteeringSize()
    vlm_bits: Literal[4, 8] | None = None
    """Bits per weight that the VLM is loaded in, on a GPU; None: as its checkpoint is."""
    vlm_gpu_gib: AtLeastZero = 0.0
    """GPU memory that it needs; with less, ``smaller_vlm`` is taken."""
    smaller_vlm: str | None = None
    released_saes: str | None = None
    """A release on the hub: if it holds an SAE of the very block that the VLM's projector reads, and of such
    tokens, that one is taken."""
    half_on_gpu: bool = False
    """Whether towers compute in half precision where there is a GPU; activations are kept in full. What that loses is
    stated in ``activations/rounding.py`` and tested."""
    seed: Seed = 0
    collect_batch: Count = 64
    shipped: bool = False
    """Whether the SAEs whose single latents the book shows travel with the repository (``data/pocket/sae``)."""

    def __post_init__(self) -> None:
        hold(self, f"The profile {self.name}'s")

    @property
    def island(self) -> str | None:
        """How the island that the tower looks at is spelled: ``pocket``, ``pocket@<name>``; None for other towers."""
        kind = self.tower.partition(":")[0]
        return kind if kind.partition("@")[0] == "pocket" else None

    @property
    def sentence(self) -> str:
        """What a run of it is made of, for a reader."""
        encoders = " and ".join(f"`{spec}`" for _, spec in self.scoring_towers)
        return (
            f"Profile *{self.name}*: `{self.train_pictures}` to train on, `{self.test_pictures}` to score on; "
            f"the explained tower is `{self.tower}`, the scoring encoders are {encoders}."
        )
