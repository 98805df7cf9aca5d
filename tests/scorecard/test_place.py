"""Where an SAE reads, and the final pictures, which nothing else in this repository has seen."""

import re
from dataclasses import replace

import numpy as np
import pytest
import small_card
from random_saes import make_sae

from vlm_sae_lib import SparseAutoencoder, paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.pretraining import exam, train
from vlm_sae_lib.profiles import PROFILES, load_profile
from vlm_sae_lib.scorecard.place import FINAL, Place, material, place_of

POCKET = load_profile("pocket")
SEED = int(FINAL.rpartition(":")[2])


def test_the_final_pictures_have_a_seed_that_no_training_and_no_choice_has():
    named = {POCKET.train_pictures, POCKET.choosing_pictures, POCKET.test_pictures}
    seeds = {int(source.rpartition(":")[2]) for source in named}
    seeds |= {value for module in (train, exam) for name, value in vars(module).items() if name.endswith("SEED")}
    assert {11, 12, 13, 1001, 1005, 61_061} <= seeds and SEED not in seeds
    assert not any(abs(SEED - seed) < 100 for seed in seeds)  # some take a seed and a few beside it


def test_the_final_seed_is_written_in_one_place():
    """Whatever draws pictures says its seed in code, in a notebook or in a record."""
    folders = [(paths.PACKAGE, "*.py"), (paths.notebooks(), "*.ipynb"), (paths.root() / "tests", "*.py"),
               (paths.pocket(), "*.json"), (paths.published_results(), "*.json")]  # fmt: skip
    written = re.compile(rf"\b{'_?'.join(str(SEED))}\b")
    files = [path for folder, kind in folders for path in folder.rglob(kind)]
    assert [path.name for path in files if written.search(path.read_text("utf-8"))] == ["place.py"]


def test_no_final_picture_is_one_of_the_books():
    def bytes_of(seed):
        return {np.asarray(image).tobytes() for image in pocket_pictures(40, seed).images}

    final = bytes_of(SEED)
    assert len(final) == 40
    assert not any(final & bytes_of(seed) for seed in (11, 12, 13))


def shipped(name):
    return SparseAutoencoder.load(paths.pocket() / "sae" / name)


def test_metadata_says_where_an_sae_reads_and_the_user_may_say_otherwise():
    assert place_of(shipped("main_matryoshka"), POCKET) == Place("block_5")
    assert place_of(shipped("steering"), POCKET) == Place("block_4", "random:8")
    assert place_of(shipped("steering"), POCKET, "block_3") == Place("block_3")
    assert place_of(shipped("steering"), POCKET, tokens="mean") == Place("block_4", "mean")
    assert str(Place("block_4", "mean")) == "block_4, tokens mean" and str(Place("block_5")) == "block_5"


def test_a_strangers_sae_reads_the_books_main_hook_point():
    assert place_of(make_sae("relu", dim=128), POCKET) == Place(POCKET.main_hook_point)


@pytest.mark.parametrize(
    ("changed", "asked", "words"),
    [
        ({"dim": 96}, {}, r"reads activations of width 96.*block_5 .* has 128 \(128: block_0.*--hook-point"),
        ({"dim": 128}, {"hook_point": "block_9"}, "no hook point 'block_9'; it has block_0"),
        ({"dim": 128}, {"tokens": "some"}, "random:<k>"),
        ({"dim": 128}, {"tokens": "all"}, "All 65 tokens of block_5 .* --tokens random:8"),
        (
            {"dim": 128, "metadata": {"provenance": {"tower": "hf:other", "weights_hash": "0"}}}, {},
            "the tower hf:other",
        ),
    ],
)
def test_a_place_that_does_not_fit_is_refused_in_a_sentence(changed, asked, words):
    with pytest.raises(UserError, match=words) as refusal:
        place_of(make_sae("relu", **changed), POCKET, **asked)
    assert "\n" not in str(refusal.value)


def test_photographs_have_no_truth_to_measure_by(bench):
    photos = type(bench)(replace(bench.profile, test_pictures=f"folder:{paths.root() / 'tests/data/photos'}"))
    with pytest.raises(UserError, match="factors are known"):
        material(photos, small_card.PLACE)


def test_material_goes_together(on):
    assert len(on.splits.test) == on.n == 90 and on.per_picture == 1
    assert {len(rows) for rows in on.embeddings.values()} == {90}
    assert set(on.embeddings) == {name for name, _ in PROFILES["pocket"].scoring_towers}
    assert on.known["test"].shape == (90, on.known["train"].shape[1])
