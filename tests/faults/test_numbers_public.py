"""Whatever is public and takes numbers is held to the rules of test_numbers.py, or it is told here why not.

A new name fails the first test until it is entered.
"""

import inspect
from importlib import import_module
from pathlib import Path

from public_calls import CALLS

import vlm_sae_lib

ROOMS = ("activations", "pictures", "profiles", "records", "sae", "sae.training", "scores", "statistics", "steering",
         "towers", "vlms", "wordnet")  # fmt: skip
MODULES = (
    "scores.hierarchy", "scores.monosemanticity", "scores.reconstruction", "scores.spread", "scores.truth",
    "scores.uniqueness", "statistics.gather", "statistics.inputs", "statistics.intervals", "statistics.jackknife",
    "statistics.meta_analysis", "statistics.neurons", "controls.codes", "controls.directions", "controls.erasure",
    "controls.frontier", "controls.observers", "controls.probes", "controls.reconstruction", "controls.rectify",
    "controls.sparse_probes", "activations.rounding", "steering.intervention", "taxonomy",
)  # fmt: skip
"""Whose functions and classes all are held to this, beside what the rooms' doors hand on."""
ELSEWHERE = {
    # in the neighbouring files of this folder
    "ActivationStore": "test_numbers_stores", "collect_activations": "test_numbers_stores",
    "collect_together": "test_numbers_stores", "Tower": "test_numbers_stores", "SparseAutoencoder": "test_numbers_sae",
    "SaeConfig": "test_settings", "steered": "test_numbers_steering", "pushed": "test_numbers_steering",
    "random_directions": "test_numbers_steering", "check_latents": "test_numbers_steering",
    "decoder_vectors": "test_numbers_steering", "sae_width": "test_numbers_steering",
    "uniqueness": "test_numbers_tables", "level_depth": "test_numbers_tables", "neuron_depth": "test_numbers_tables",
    "neuron_depths": "test_numbers_tables", "lca_depth": "test_numbers_tables", "taxon_path": "test_numbers_tables",
    "as_path": "test_numbers_tables", "rank_names": "test_numbers_tables", "taxonomy_fractions": "test_numbers_tables",
    "top_image_precision": "test_numbers_tables", "factor_agreement": "test_numbers_tables",
    "most_shared": "test_numbers_tables", "surprise": "test_numbers_tables", "wilson": "test_numbers_tables",
    "image_id_array": "test_numbers_tables", "at_rates": "test_numbers_tables", "cut_at_l0": "test_numbers_tables",
    "top_image_table": "test_numbers_tables", "independent": "test_numbers_tables", "clusters": "test_numbers_tables",
    # called in others' place: the arguments are theirs
    "checked_embeddings": "monosemanticity_score", "pca_rivals": "Pca", "as_rows": "project_out",
    "choose_latents": "SparseProbes", "for_sae": "overwrite", "drawn": "r2_bootstrap",
}  # fmt: skip
NO_NUMBERS = {
    "UserError", "Profile", "load_profile", "PictureSource", "load_pictures", "PocketPictures", "pocket_pictures",
    "load_tower", "Vlm", "load_vlm", "Results", "published", "plan_sentence", "Stopwatch", "Workbench", "Item",
    "to_rgb", "KNOWN_SOURCES", "PROFILES", "SteeringSize", "KINDS", "KNOWN_SPECS", "tower_of", "Synset", "ancestors",
    "classes", "kinds", "synsets", "titles", "Sae",
}  # fmt: skip
"""Takes words, pictures, files or settings, for which tests of their own stand."""
GIVEN_BY_US = {
    "Reconstruction", "UniquenessReport", "Spread", "Gathered", "Interval", "Estimate", "Combined", "Point",
    "Evaluated", "Bootstrapped", "RoundingLoss", "Directions",  # results
    "above_frontier", "monotone", "best_neurons", "name_neurons", "factor_embeddings", "one_hot",  # of our own tables
    "best_thresholds", "contribution", "others_that_fire", "of_length", "as_busy",  # of codes that we have made
}  # fmt: skip
"""Made of what other functions here return."""


def public_names() -> set[str]:
    """What the doors hand on, and all functions and classes of the modules that take numbers."""
    rooms = [vlm_sae_lib, *(import_module(f"vlm_sae_lib.{room}") for room in ROOMS)]
    names = {name for room in rooms for name in room.__all__}
    for path in MODULES:
        module = import_module(f"vlm_sae_lib.{path}")
        names |= {
            name for name, value in vars(module).items()
            if not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module.__name__
        }  # fmt: skip
    return names


def called() -> set[str]:
    return {part for path in CALLS for part in path.split(" ")[0].split(".")}


def test_every_public_name_is_tried_or_takes_no_numbers():
    names = public_names()
    told = [called() & names, set(ELSEWHERE), NO_NUMBERS, GIVEN_BY_US]
    assert not names - set().union(*told), "enter these in support/public_calls.py, or say here why not"
    assert not set().union(*told) - names, "these are no more"


def test_every_name_that_is_tried_elsewhere_is():
    for name, where in ELSEWHERE.items():
        if where.startswith("test_"):
            assert name in (Path(__file__).parent / f"{where}.py").read_text(), name
        else:
            assert where in called(), name
