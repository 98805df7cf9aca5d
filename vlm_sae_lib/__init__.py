"""Sparse autoencoders in vision-language models: a companion to Pach et al., arXiv 2504.02821.

pictures → tower → activation store → SAE → latents → statistics → scores → figures. The public names below are loaded
when first asked for, so that ``import vlm_sae_lib`` costs nothing.
"""

import os
from importlib import import_module

if "OMP_WAIT_POLICY" not in os.environ:
    # After a product torch's threads wait for the next one at full speed, for some milliseconds, on the cores that the
    # compiled loops want meanwhile. It is of no other effect, and read when torch is loaded: import it after this.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_HOMES = {
    "errors": ("UserError",),
    "profiles": ("Profile", "load_profile"),
    "pictures": ("PictureSource", "load_pictures"),
    "pocket.world": ("PocketPictures", "pocket_pictures"),
    "taxonomy": ("lca_depth", "taxon_path"),
    "towers": ("Tower", "load_tower"),
    "activations": ("ActivationStore", "collect_activations"),
    "sae": ("SaeConfig", "SparseAutoencoder"),
    "sae.training": ("train_sae", "train_saes"),
    "statistics": ("NeuronStatistics",),
    "scores": ("level_depth", "monosemanticity_score", "ms_bootstrap", "neuron_depth"),
    "scores.uniqueness": ("uniqueness",),
    "vlms": ("Vlm", "load_vlm"),
    "steering": ("pushed", "steered"),
    "records": ("Results", "published"),
    "plan.table": ("plan_sentence",),
    "publishing.stopwatch": ("Stopwatch",),
    "workbench": ("Workbench",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
