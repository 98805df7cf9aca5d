"""What the notebooks stand on: pictures, activations and SAEs, made or loaded by the same call.

Everything made lies under ``runs/<profile>`` by content id, so each notebook runs alone, in any order: what an earlier
one has made is opened, what none has made is made.
"""

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlm_sae_lib import paths
from vlm_sae_lib.activations import ActivationStore, collect_activations
from vlm_sae_lib.activations.together import collect_together
from vlm_sae_lib.files import alone, content_hash
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.profiles import Profile
from vlm_sae_lib.provenance import code_hash
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder, train_saes
from vlm_sae_lib.steering import Vlm, load_vlm
from vlm_sae_lib.taxonomy import taxon_path
from vlm_sae_lib.towers import Tower, load_tower

SPLITS = ("train", "choosing", "test")


class Workbench:
    """The things of one profile's run, each made once.

    Args:
        profile: the settings; a copy with other settings makes other things beside these, never over them.
    """

    def __init__(self, profile: Profile):
        self.profile = profile
        self.folder = paths.runs(profile.name)

    def pictures(self, split: str):
        """The pictures of ``train``, ``choosing`` or ``test``."""
        if split not in SPLITS:
            raise ValueError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
        return _pictures(getattr(self.profile, f"{split}_pictures"))

    def tower(self) -> Tower:
        """The explained vision tower."""
        return _tower(self.profile.tower)

    def scoring_tower(self, name: str | None = None) -> Tower:
        """A scoring encoder by its name in the profile; the main one by default."""
        return _tower(dict(self.profile.scoring_towers)[name or self.scoring_names[0]])

    @property
    def scoring_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.profile.scoring_towers)

    def vlm(self) -> Vlm:
        """The vision-language model to steer."""
        return _vlm(self.profile.vlm)

    def activations(self, split: str, hook_point: str, tokens: str = "cls") -> ActivationStore:
        """The explained tower's activations of a split (paper §3.1)."""
        return self._collect(self.tower(), split, hook_point, tokens)

    def activations_at(self, split: str, points: Sequence[tuple[str, str]]) -> list[ActivationStore]:
        """``activations`` at several (hook point, token rule); each picture is painted and computed once for all."""
        tower, pictures = self.tower(), self.pictures(split)
        outs = {point: self._store_folder(tower, pictures, *point) for point in points}
        options = {"batch_size": self.profile.collect_batch, "seed": self.profile.seed}
        return list(collect_together(tower, pictures, outs, **options).values())

    def embeddings(self, split: str = "test", name: str | None = None) -> ActivationStore:
        """A scoring encoder's embeddings of a split: E(x) of paper Eq. 5."""
        return self._collect(self.scoring_tower(name), split, "projection", "cls")

    def _collect(self, tower: Tower, split: str, hook_point: str, tokens: str) -> ActivationStore:
        pictures = self.pictures(split)
        out = self._store_folder(tower, pictures, hook_point, tokens)
        options = {"batch_size": self.profile.collect_batch, "seed": self.profile.seed}
        return collect_activations(tower, pictures, hook_point, out, tokens=tokens, **options)

    def _store_folder(self, tower: Tower, pictures, hook_point: str, tokens: str) -> Path:
        request = [tower.name, tower.weights_hash, hook_point, tokens, pictures.fingerprint, self.profile.seed]
        return self.folder / "activations" / content_hash(request)[:16]

    def config(self, kind: str, expansion: float, **settings: Any) -> SaeConfig:
        """An SAE's settings: the profile's, with some replaced."""
        profile = self.profile
        defaults = {
            "k": profile.k, "steps": profile.steps, "batch_size": profile.batch_size, "lr": profile.lr,
            "lr_decay": profile.lr_decay, "group_fractions": profile.group_fractions, "seed": profile.seed,
        }  # fmt: skip
        return SaeConfig(kind=kind, expansion=expansion, **(defaults | settings))

    def saes(self, configs: Sequence[SaeConfig], hook_point: str, tokens: str = "cls") -> list[SparseAutoencoder]:
        """SAEs on the training split at a hook point; those not made yet are trained in one pass over the data."""
        store = self.activations("train", hook_point, tokens)
        folders = [self._sae_folder(store, config) for config in configs]
        if not all(folder.is_dir() for folder in folders):
            checkpoints = self.folder / "checkpoints" / content_hash([folder.name for folder in folders])[:16]
            with alone(checkpoints):  # two notebooks at once may want the same SAEs: one makes them
                self._train_missing(store, configs, folders, checkpoints)
        return [SparseAutoencoder.load(folder) for folder in folders]

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

    def sae(self, config: SaeConfig, hook_point: str, tokens: str = "cls") -> SparseAutoencoder:
        """One SAE; see ``saes``."""
        return self.saes([config], hook_point, tokens)[0]

    def _sae_folder(self, store: ActivationStore, config: SaeConfig) -> Path:
        # which files an SAE can be read from changes nothing about the one that is trained
        code = code_hash("vlm_sae_lib.sae.training", without=("vlm_sae_lib.sae.formats",))
        request = [store.id, config.as_dict(), code]
        return self.folder / "saes" / content_hash(request)[:16]

    def shown_config(self, name: str) -> tuple[SaeConfig, str, str]:
        """(config, hook point, tokens) of an SAE whose single latents the book shows; ``name`` is in ``SHOWN``."""
        profile = self.profile
        kind, family = SHOWN[name]
        if family == "steering":
            config = self.config(kind or profile.steering_kind, profile.steering_expansion, k=profile.steering_k)
            return config, profile.steering_hook_point, profile.steering_tokens
        if family == "taxonomy":
            fractions = taxonomy_fractions(self.pictures("train").folders)
            config = self.config(kind, profile.taxonomy_expansion, k=profile.taxonomy_k, group_fractions=fractions)
            return config, "projection", "cls"
        return self.config(kind, 4), profile.main_hook_point, "cls"

    def shown(self, name: str) -> SparseAutoencoder:
        """An SAE whose single latents the book shows.

        Latents have no names of their own: another machine's training gives other numbers to them. So the pocket
        profile reads them from the repository, and the text stays true on any machine; other profiles train them.
        """
        if self.profile.shipped:
            return SparseAutoencoder.load(paths.pocket() / "sae" / name)
        return self.sae(*self.shown_config(name))


SHOWN = {
    "main_matryoshka": ("matryoshka_batch_top_k", "main"),
    "main_batch_top_k": ("batch_top_k", "main"),
    "taxonomy_matryoshka": ("matryoshka_batch_top_k", "taxonomy"),
    "taxonomy_batch_top_k": ("batch_top_k", "taxonomy"),
    "steering": (None, "steering"),
}


def taxonomy_fractions(folders: Sequence[str]) -> tuple[float, ...]:
    """Matryoshka group fractions in the proportions of the first five ranks' counts (paper App. E.3)."""
    parsed = [taxon_path(folder) for folder in folders if folder]
    counts = [len({path[: rank + 1] for path in parsed}) for rank in range(5)]
    return tuple(count / sum(counts) for count in counts)


@lru_cache(maxsize=8)
def _pictures(source: str):
    return load_pictures(source)


@lru_cache(maxsize=4)
def _tower(spec: str) -> Tower:
    return load_tower(spec)


@lru_cache(maxsize=1)
def _vlm(spec: str) -> Vlm:
    return load_vlm(spec, square=True)
