"""What the notebooks stand on, with pictures and models that are not the pocket world's."""

import numpy as np
import pytest
import stand_ins
import torch
from data_files import PHOTOS
from hub_cache import offline

from vlm_sae_lib import wordnet
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import source
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.profiles import public as public
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.steering import steered
from vlm_sae_lib.steering.concepts import list_concepts
from vlm_sae_lib.workbench import Workbench

QUICK = {"steps": 20, "batch_size": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    stand_ins.fill_hub(root / "hub")
    stand_ins.inat_sample(root / "runs")
    return root


@pytest.fixture
def at(world, monkeypatch):
    """A workbench of a profile, in that world."""
    offline(monkeypatch, world / "hub")
    monkeypatch.setenv("VLM_SAE_RUNS", str(world / "runs"))
    return lambda name, **changes: Workbench(load_profile(name, **QUICK, **changes))


def test_some_pictures_of_sorted_folders_are_drawn_from_all_of_them(at):
    bench = at("colab")
    some = bench.some("choosing", 20)
    assert len(some) == 20 and len({some.folders[i] for i in some.ids}) > 10
    assert np.array_equal(some.ids, bench.some("choosing", 20).ids)
    assert len(bench.some("choosing", 10**6)) == len(bench.pictures("choosing"))
    assert np.array_equal(at("pocket").some("test", 5).ids, range(5))  # drawn pictures lie in no order


def test_what_is_known_of_photographs_are_their_ranks_in_words(at):
    bench = at("colab")
    truth = bench.truth("test")
    assert not bench.drawn and bench.asking.trial == "group"
    assert {"insect", "bird", "fish"} <= set(truth["group"]) and set(truth["realm"]) == {"animal", "plant", "fungus"}
    assert list(truth.index) == list(bench.pictures("test").ids)
    assert "photographs" in bench.introduction() and "photographs" not in at("pocket").introduction()


def test_a_gallery_holds_pictures_with_their_truth_and_the_models_own_answers(at):
    bench = at("colab")
    gallery = bench.gallery("test", 6)
    ids = list(gallery.factors.index)
    assert len(set(ids)) == len(gallery.images) == 6
    for i, image in zip(ids, gallery.images, strict=True):
        assert np.array_equal(image, bench.pictures("test").picture(i))
    assert gallery.factors["group"].tolist() == bench.truth("test")["group"].loc[ids].tolist()
    prompts = bench.asking.questions
    for about in bench.asking.own:
        assert gallery.factors[about].tolist() == bench.vlm().answers(gallery.images, prompts[about], max_new_tokens=5)


def test_the_first_pictures_of_a_gallery_are_not_all_of_one_branch(at):
    """On them settings are chosen and scored; sorted by folder they would all be arachnids and the first insects."""
    whole = at("colab").gallery("test", 40)
    assert whole.factors["class"].head(12).nunique() > 3 and not whole.factors.index.is_monotonic_increasing


def test_an_empty_or_damaged_picture_leaves_the_others_with_their_own_truth(at, world, tmp_path):
    stand_ins.paint_species({"test": 3}, tmp_path, species=5)
    sorted(tmp_path.rglob("*.jpg"))[4].write_bytes(b"")
    bench = at("colab", test_pictures=f"inat2021:{tmp_path / 'test'}")
    gallery = bench.gallery("test", 99)
    assert len(gallery.images) == len(gallery.factors) == 14 and 4 not in gallery.factors.index
    pictures = bench.pictures("test")
    for i, image in zip(gallery.factors.index, gallery.images, strict=True):
        assert np.array_equal(image, pictures.picture(i))


def test_a_gallery_of_pictures_of_which_nothing_is_known_is_one_sentence(at, world, tmp_path):
    for image in sorted(next(PHOTOS.iterdir()).glob("*.jpg"))[:3]:
        (tmp_path / image.name).write_bytes(image.read_bytes())
    with pytest.raises(UserError, match="Nothing is known of the choosing pictures"):
        at("colab", choosing_pictures=f"folder:{tmp_path}").gallery("choosing", 2)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """ImageNet's thousand class folders in their real layout, nine pictures each to train on and seven to test on."""
    root = tmp_path_factory.mktemp("datasets")
    first = next(PHOTOS.rglob("*.jpg"))
    for wnid in wordnet.classes():
        for split, count in (("train", 9), ("val", 7)):
            folder = root / "imagenet" / split / wnid
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.JPEG").symlink_to(first)
    return root


def test_a_gallery_of_imagenet_holds_enough_pictures_of_each_of_a_few_classes(at, imagenet, monkeypatch):
    monkeypatch.setenv("VLM_SAE_DATASETS", str(imagenet))
    bench = at("paper", vlm_gpu_gib=0.0, steering_choosing=60, steering_scored=60)
    opened = []
    reads = source.in_threads
    monkeypatch.setattr(
        source, "in_threads", lambda pictures, change: reads(opened.extend(pictures) or pictures, change)
    )
    choosing, test = bench.gallery("choosing", 60), bench.gallery("test", 60)
    assert len(opened) == 120  # of 16,000
    concepts = list_concepts(choosing.factors, bench.asking.kinds, 4, min_pictures=6, seed=0, scored=test.factors)
    assert len(concepts) == 4
    assert set(choosing.factors["class"]) == set(test.factors["class"])
    for gallery in (choosing, test):
        assert gallery.factors["class"].value_counts().tolist() == [6] * 10
        assert gallery.factors["class"].head(10).is_unique


def test_the_judge_of_words_is_the_scoring_encoder_with_a_text_part(at):
    assert public.CLIP_B32 in at("paper").judge().name
    assert at("pocket").judge().name == "pocket:second_clip"
    assert at("paper", scoring_towers=(("DINOv2", public.DINO_B),)).judge() is None


def test_the_smaller_model_brings_its_own_tower_and_its_sae_is_trained_on_it(at):
    bench = at("colab")
    tower, hook_point = bench.steering_tower
    assert tower.spec.startswith("vlm:") and hook_point == bench.vlm().hook_point
    assert "onevision" in bench.vlm_sentence() and "trained here" in bench.steering_sentence()
    sae = bench.shown("steering")
    assert sae.dim == bench.vlm().dim and sae.n_latents == 4 * sae.dim
    assert bench.shown("steering").hash == sae.hash
    with steered(bench.vlm(), sae, {0: 1.0}):
        bench.vlm().answer(bench.gallery("test", 1).images[0], "?", max_new_tokens=1)


def test_a_released_sae_of_the_very_block_and_its_tokens_is_taken(at):
    bench = at("colab", vlm_bits=None, vlm_gpu_gib=0.0, steering_tokens="cls")
    chosen = stand_ins.released_file("matroyshka_batch_top_k_20_x4", 22)
    assert "llava-1.5" in bench.vlm_sentence() and f"({chosen}) is used." in bench.steering_sentence()
    sae = bench.shown("steering")
    assert sae.n_latents == 4 * sae.dim and sae.metadata["source"]["file"] == chosen
    assert bench.steering_tower[1] == "block_22"


def test_a_release_of_class_tokens_alone_is_not_steered_with(at):
    """What the authors published, as far as its listing tells: steering changes every token, patches above all."""
    bench = at("colab", vlm_bits=None, vlm_gpu_gib=0.0, steering_tokens="random:2")
    said = bench.steering_sentence()
    assert 'trained on class tokens, and "random:2" is asked for' in said and "So it is trained here, 4 times" in said
    sae = bench.shown("steering")
    assert "source" not in sae.metadata and sae.n_latents == 4 * sae.dim


def test_notebook_4_has_pictures_of_its_own_only_where_the_profile_says_so(at):
    bench = at("colab")
    assert bench.pictures("taxonomy_train") is bench.pictures("train")
    other = at("colab", taxonomy_test=bench.profile.choosing_pictures)
    assert other.pictures("taxonomy_test") is other.pictures("choosing")
    with pytest.raises(ValueError, match="taxonomy_train"):
        bench.pictures("validation")


class Elsewhere:
    """A tower that is on a GPU."""

    def __init__(self, tower):
        self._tower, self.device = tower, torch.device("cuda")

    def __getattr__(self, name):
        return getattr(self._tower, name)


@pytest.mark.parametrize("profile", ["colab", "pocket"])
def test_the_sae_for_steering_is_where_the_tower_is_that_it_looks_into(at, monkeypatch, profile):
    few = {"train_pictures": "pocket:400:11"} if profile == "pocket" else {}
    bench, loaded = at(profile, **few), []
    sae, (tower, hook_point) = bench.shown("steering"), bench.steering_tower
    assert sae.device == tower.device
    bench.__dict__["steering_tower"] = Elsewhere(tower), hook_point
    monkeypatch.setattr(SparseAutoencoder, "load", lambda path, device=None: loaded.append(device) or sae)
    assert bench.shown("steering") is sae and loaded == [torch.device("cuda")]
    config = bench.config("batch_top_k", 1)
    bench.saes([config], hook_point, bench.profile.steering_tokens, tower=tower)
    assert loaded[1:] == [None]  # what meets stored activations is where these are
