"""What the notebooks stand on: pictures, activations and SAEs, made or loaded by the same call.

Everything made lies under ``runs/<profile>`` by content id, so each notebook runs alone, in any order: what an earlier
one has made is opened, what none has made is made.
"""

import shutil
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vlm_sae_lib import paths
from vlm_sae_lib.activations import ActivationStore, collect_activations, collect_together
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import alone, content_hash
from vlm_sae_lib.machine.devices import choose_device
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.profiles import Profile
from vlm_sae_lib.profiles.shown import SHOWN
from vlm_sae_lib.records.provenance import code_hash
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.files.released import ReleasedSae, released_or_trained
from vlm_sae_lib.sae.training import train_saes
from vlm_sae_lib.steering.asking import Asking, asking_of, in_words, own_answers
from vlm_sae_lib.steering.concepts import Gallery
from vlm_sae_lib.steering.draws import draw_photographs
from vlm_sae_lib.steering.word_similarity import WordAndPicture, judge_of
from vlm_sae_lib.taxonomy import taxonomy_fractions
from vlm_sae_lib.towers import Tower, load_tower, tower_of
from vlm_sae_lib.vlms import Vlm, load_vlm
from vlm_sae_lib.vlms.choice import chosen_vlm

SPLITS = ("train", "choosing", "test", "taxonomy_train", "taxonomy_test")


class Workbench:
    """The things of one profile's run, each made once.

    Args:
        profile: the settings; a copy with other settings makes other things beside these, never over them.
    """

    def __init__(self, profile: Profile):
        self.profile = profile
        self.folder = paths.runs(profile.name)

    def pictures(self, split: str):
        """The pictures of ``train``, ``choosing`` or ``test``, or those of notebook 4, ``taxonomy_train`` or ``_test``.

        Notebook 4 has its own only where the others have no tree.
        """
        if split not in SPLITS:
            raise ValueError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
        if split.startswith("taxonomy_"):
            own = getattr(self.profile, split)
            return _pictures(own) if own else self.pictures(split.removeprefix("taxonomy_"))
        return _pictures(getattr(self.profile, f"{split}_pictures"))

    def some(self, split: str, number: int):
        """So many pictures of a split: its first ones where they lie in no order, else drawn by the profile's seed."""
        source = self.pictures(split)
        if self.drawn:
            return source.subset(range(min(number, len(source))))
        drawn = np.random.default_rng(self.profile.seed).permutation(source.ids)[:number]
        return source.subset(drawn)

    def introduction(self) -> str:
        """What this run is made of, for a reader; and what of the text does not apply to it."""
        if self.drawn:
            return self.profile.sentence
        return (
            f"{self.profile.sentence} The text around the cells was written for the pocket world, whose pictures are "
            "drawn. Of these photographs only what their folders are called is known, and a cell that needs more says "
            "so or is empty."
        )

    @property
    def drawn(self) -> bool:
        """Whether the pictures are those of the pocket world, of which everything is known."""
        return hasattr(self.pictures("test"), "captions")

    def truth(self, split: str = "test") -> pd.DataFrame | None:
        """What is known of a split's pictures: a row each, by image id; None where nothing is."""
        factors = self.pictures(split).factors
        return None if factors is None else in_words(factors)

    def _known(self, split: str) -> pd.DataFrame:
        if (known := self.truth(split)) is None:
            raise UserError(f"Nothing is known of the {split} pictures: put them into one folder per class.")
        return known

    @property
    def asking(self) -> Asking:
        """What can be asked about the pictures; see ``steering.asking``."""
        return asking_of(self.truth("test"))

    def gallery(self, split: str, number: int) -> Gallery:
        """Some pictures of a split in memory, with what is known of each, for a VLM to look at.

        Photographs come in the order of a draw, so that the first few are not all of one branch of the tree.
        """
        if self.drawn:
            ids = self.some(split, number).ids.tolist()
        else:
            ids = draw_photographs(split, number, self._known, self.asking.drawn_by, self.profile)
        read = dict(self.pictures(split).subset(ids))
        held = {i: read[i] for i in ids if i in read}
        factors = self._known(split).loc[list(held)]
        if self.asking.own:
            factors = own_answers(self.vlm(), self.asking, list(held.values()), factors)
        return Gallery(list(held.values()), factors)

    def tower(self) -> Tower:
        """The explained vision tower."""
        return _tower(self.profile.tower, self.profile.half_on_gpu)

    def scoring_tower(self, name: str | None = None) -> Tower:
        """A scoring encoder by its name in the profile; the main one by default."""
        return _tower(dict(self.profile.scoring_towers)[name or self.scoring_names[0]], self.profile.half_on_gpu)

    def judge(self) -> WordAndPicture | None:
        """The first scoring encoder with a text part, as the judge of words beside pictures; None where none has."""
        judges = (judge_of(self.scoring_tower(name)) for name in self.scoring_names)
        return next((judge for judge in judges if judge is not None), None)

    @property
    def scoring_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.profile.scoring_towers)

    def vlm(self) -> Vlm:
        """The vision-language model to steer: the profile's, or its smaller one where the GPU's memory is short."""
        chosen, _ = chosen_vlm(self.profile)
        return _vlm(chosen.spec, chosen.bits)

    def vlm_sentence(self) -> str:
        """Which model was chosen, and why; where there was no choice, its name."""
        return chosen_vlm(self.profile)[1]

    @cached_property
    def steering_tower(self) -> tuple[Tower, str]:
        """The tower that the VLM looks through, and the block that its projector reads."""
        if self.profile.steering_hook_point is not None:
            return self.tower(), self.profile.steering_hook_point
        return tower_of(self.vlm()), self.vlm().hook_point

    def activations(
        self, split: str, hook_point: str, tokens: str = "cls", *, tower: Tower | None = None, number: int | None = None
    ) -> ActivationStore:
        """The explained tower's activations of a split (paper §3.1), or another tower's; of ``number`` pictures of it,
        as ``some`` draws them, or of all."""
        pictures = self.pictures(split) if number is None else self.some(split, number)
        return self._collect(tower or self.tower(), pictures, hook_point, tokens)

    def activations_at(self, split: str, points: Sequence[tuple[str, str]]) -> list[ActivationStore]:
        """``activations`` at several (hook point, token rule); each picture is painted and computed once for all."""
        tower, pictures = self.tower(), self.pictures(split)
        outs = {point: self._store_folder(tower, pictures, *point) for point in points}
        batch_size, seed = self.profile.collect_batch, self.profile.seed
        return list(collect_together(tower, pictures, outs, batch_size=batch_size, seed=seed).values())

    def embeddings(self, split: str = "test", name: str | None = None) -> ActivationStore:
        """A scoring encoder's embeddings of a split: E(x) of paper Eq. 5."""
        return self._collect(self.scoring_tower(name), self.pictures(split), "projection", "cls")

    def _collect(self, tower: Tower, pictures, hook_point: str, tokens: str) -> ActivationStore:
        out = self._store_folder(tower, pictures, hook_point, tokens)
        batch_size, seed = self.profile.collect_batch, self.profile.seed
        return collect_activations(tower, pictures, hook_point, out, tokens=tokens, batch_size=batch_size, seed=seed)

    def _store_folder(self, tower: Tower, pictures, hook_point: str, tokens: str) -> Path:
        request = [tower.name, tower.weights_hash, hook_point, tokens, pictures.fingerprint, self.profile.seed]
        return self.folder / "activations" / content_hash(request)[:16]

    def config(self, kind: str, expansion: float, **settings: Any) -> SaeConfig:
        """An SAE's settings: the profile's, with some replaced."""
        own = ("k", "steps", "batch_size", "lr", "lr_decay", "group_fractions", "seed")
        defaults: dict[str, Any] = {name: getattr(self.profile, name) for name in own}
        return SaeConfig(**(defaults | {"kind": kind, "expansion": expansion} | settings))

    def saes(
        self,
        configs: Sequence[SaeConfig],
        hook_point: str,
        tokens: str = "cls",
        *,
        split: str = "train",
        tower: Tower | None = None,
        number: int | None = None,
        device: torch.device | None = None,
    ) -> list[SparseAutoencoder]:
        """SAEs on the training split at a hook point; those not made yet are trained in one pass over the data.

        They come on the CPU, where the stores' activations are, unless a device is named.
        """
        store = self.activations(split, hook_point, tokens, tower=tower, number=number)
        folders = [self._sae_folder(store, config) for config in configs]
        if not all(folder.is_dir() for folder in folders):
            checkpoints = self.folder / "checkpoints" / content_hash([folder.name for folder in folders])[:16]
            with alone(checkpoints):  # two notebooks at once may want the same SAEs: one makes them
                self._train_missing(store, configs, folders, checkpoints)
        return [SparseAutoencoder.load(folder, device=device) for folder in folders]

    def _train_missing(
        self, store: ActivationStore, configs: Sequence[SaeConfig], folders: list[Path], checkpoints: Path
    ) -> None:
        missing = [i for i, folder in enumerate(folders) if not folder.is_dir()]
        if missing:
            of_these = checkpoints / content_hash([folders[i].name for i in missing])[:16]
            trained = train_saes(store, [configs[i] for i in missing], checkpoint_dir=of_these)
            for i, sae in zip(missing, trained, strict=True):
                if not folders[i].is_dir():  # who asked for other SAEs beside this one may have made it meanwhile
                    sae.save(folders[i])
        shutil.rmtree(checkpoints, ignore_errors=True)

    def sae(self, config: SaeConfig, hook_point: str, tokens: str = "cls", **options: Any) -> SparseAutoencoder:
        """One SAE; see ``saes``."""
        return self.saes([config], hook_point, tokens, **options)[0]

    def _sae_folder(self, store: ActivationStore, config: SaeConfig) -> Path:
        # which files an SAE can be read from changes nothing about the one that is trained
        code = code_hash("vlm_sae_lib.sae.training", without=("vlm_sae_lib.sae.files.formats",))
        request = [store.id, config.as_dict(), code]
        return self.folder / "saes" / content_hash(request)[:16]

    def shown(self, name: str) -> SparseAutoencoder:
        """An SAE whose single latents the book shows; ``name`` is in ``SHOWN``.

        Latents have no names of their own: another machine's training gives other numbers to them. So the pocket
        profile reads them from the repository, and the text stays true on any machine; other profiles train them, or
        (for steering) take one that was released. The one for steering is where the tower is that it looks into.
        """
        profile = self.profile
        kind, family = SHOWN[name]
        if profile.shipped:
            device = self.steering_tower[0].device if family == "steering" else None
            return SparseAutoencoder.load(paths.pocket() / "sae" / name, device=device)
        if family == "steering":
            return self._released_sae() or self._steering_sae()
        assert kind is not None  # only the one for steering has its kind from the profile
        if family == "taxonomy":
            fractions = taxonomy_fractions(self.pictures("taxonomy_train").folders)
            config = self.config(kind, profile.taxonomy_expansion, k=profile.taxonomy_k, group_fractions=fractions)
            return self.sae(config, "projection", split="taxonomy_train")
        return self.sae(self.config(kind, profile.main_expansion), profile.main_hook_point)

    def steering_sentence(self) -> str:
        """Where the SAE for steering comes from."""
        if self.profile.shipped:
            return "It travels with the repository."
        return self._release[1]

    def _steering_sae(self) -> SparseAutoencoder:
        profile = self.profile
        tower, hook_point = self.steering_tower
        config = self.config(profile.steering_kind, profile.steering_expansion, k=profile.steering_k)
        # the explained tower's activations of all training pictures are there anyway
        number = None if profile.steering_hook_point else profile.steering_pictures
        options = {"tower": tower, "number": number, "device": tower.device}
        return self.sae(config, hook_point, profile.steering_tokens, **options)

    @cached_property
    def _release(self) -> tuple[ReleasedSae | None, str]:
        """What others have trained on this very block and these tokens, or None, and a sentence on it."""
        profile = self.profile
        return released_or_trained(
            *self.steering_tower, profile.steering_tokens, repo_id=profile.released_saes, kind=profile.steering_kind,
            expansion=profile.steering_expansion,
        )  # fmt: skip

    def _released_sae(self) -> SparseAutoencoder | None:
        found, (tower, hook_point) = self._release[0], self.steering_tower
        return found.load(tower, hook_point, self.profile.steering_tokens, device=tower.device) if found else None


@lru_cache(maxsize=8)
def _pictures(source: str):
    kind, _, path = source.partition(":")
    if kind in ("imagenet", "inat2021"):
        source = f"{kind}:{paths.datasets() / path}"
    return load_pictures(source)


@lru_cache(maxsize=4)
def _tower(spec: str, half_on_gpu: bool = False) -> Tower:
    half = half_on_gpu and choose_device().type == "cuda"
    return load_tower(spec, dtype="float16" if half else "float32")


@lru_cache(maxsize=1)
def _vlm(spec: str, bits: int | None) -> Vlm:
    return load_vlm(spec, bits=bits, square=True)
