"""The authors' release, or what stands for it in the hub's cache: chosen by names, confirmed by shapes."""

import re
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import stand_ins
import torch
from random_saes import make_sae
from sae_cache import COMMIT, DIM, REPO, add, checkpoint, empty_cache, remote, sae_of

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.files import released


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


def tower(name: str = "clip-vit-large-patch14-336", block: int = DIM, projection: int = 6):
    def dim(hook_point):
        return projection if hook_point == "projection" else block

    spec = name if ":" in name else f"hf:openai/{name}"
    return SimpleNamespace(name=spec, spec=spec, dim=dim)


STEERING = "matroyshka_batch_top_k_20_x4/clip-vit-large-patch14-336_layer_5_random_k_2/checkpoints/ae_100000.pt"
SCORING = "batch_top_k_20_x2/clip-vit-large-patch14-336_layer-1/ae_100000.pt"


@pytest.fixture
def release(cache, tmp_path):
    checkpoint(cache, STEERING, sae_of("matryoshka_batch_top_k"))
    checkpoint(cache, SCORING, make_sae("batch_top_k", dim=6, width=12))
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    add(cache, "probe.pt", other)
    return cache


def test_a_release_is_told_by_names(release):
    by_file = {sae.file: sae for sae in released.released_saes(REPO)}
    assert set(by_file) == {STEERING, SCORING}
    steering, scoring = by_file[STEERING], by_file[SCORING]
    assert (steering.kind, steering.expansion, steering.k) == ("matryoshka_batch_top_k", 4, 20)
    assert (steering.hook_point, steering.tokens, steering.tower) == ("block_5", "random:2", "clip")
    assert (scoring.kind, scoring.expansion, scoring.header) == ("batch_top_k", 2, None)
    assert (scoring.hook_point, scoring.tokens, scoring.revision) == ("projection", None, COMMIT)
    header = scoring.opened().header
    assert (header.kind, header.dim, header.n_latents, header.expansion) == ("batch_top_k", 6, 12, 2)


def test_a_released_sae_is_loaded_for_its_own_place_only(release):
    scoring, steering = sorted(released.released_saes(REPO), key=lambda sae: sae.expansion)
    assert steering.load(tower(), "block_5", "all").hash == sae_of("matryoshka_batch_top_k").hash
    assert scoring.load(tower(), "projection").n_latents == 12
    for sae, place, message in (
        (steering, (tower(block=16), "block_5", "all"), "8-wide activations and those of .* are 16-wide"),
        (steering, (tower(), "block_6", "all"), "says block_5, and block_6"),
        (steering, (tower(), "block_5", "cls"), 'trained on random:2 tokens, and "cls"'),
        (steering, (tower("siglip-so400m-patch14-384"), "block_5", "all"), "clip tower and .* siglip"),
        (scoring, (tower(projection=8), "projection", "cls"), "6-wide"),
    ):
        with pytest.raises(UserError, match=message):
            sae.load(*place)


def test_a_place_that_no_name_tells_is_not_guessed(cache):
    checkpoint(cache, "batch_top_k_20_x4/ae_100000.pt", sae_of("batch_top_k"))
    (sae,) = released.released_saes(REPO)
    assert "nothing of the block" in sae.misfit(tower(), "block_5", "cls")


@pytest.mark.parametrize("name", ["batch_top_k_20_x8/layer_5", "matroyshka_batch_top_k_20_x4/layer_5"])
def test_a_name_that_contradicts_its_tensors_is_listed_and_not_loaded(cache, name):
    name = f"{name}_random_k_2_clip-vit-large-patch14-336/ae_100000.pt"
    checkpoint(cache, name, sae_of("batch_top_k", expansion=4))
    (sae,) = released.released_saes(REPO)
    with pytest.raises(UserError, match="its name says ×. .* and its tensors ×4 batch_top_k"):
        sae.load(tower(), "block_5", "all")


def test_a_release_without_checkpoints_is_an_error(cache):
    with pytest.raises(UserError, match="no SAE checkpoint"):
        released.released_saes(REPO)


@pytest.mark.parametrize(
    ("name", "hook_point"),
    [
        ("layer_22", "block_22"), ("layer-17", "block_17"), ("block.11.x4", "block_11"), ("layer_-1", "projection"),
        ("layer-1", "projection"), ("clip_last/ae", "projection"), ("layerlast", "projection"), ("x4/ae_100000", None),
    ],
)  # fmt: skip
def test_the_block_in_a_name(name, hook_point):
    assert released._hook_point(name) == hook_point


# the one for a hook point

RUN = "imagenet_train_activations_clip-vit-large-patch14-336_5_post_mlp_residual"
"""As the authors' own scripts name a run: the block's number and what it is attached to."""


def theirs(variant: str, *, rule: str = "random_k_2/", run: str = RUN, step: int = 100_000) -> str:
    return f"{variant}/{rule}{run}_{variant}/trainer_0/checkpoints/ae_{step}.pt"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (theirs("matroyshka_batch_top_k_20_x64"), ("block_5", "random:2", "clip-vit-large-patch14-336", 20)),
        (theirs("batch_top_k_20_x8", rule=""), ("block_5", "cls", "clip-vit-large-patch14-336", 20)),
        (theirs("batch_top_k_20_x8", rule="mean_pool/"), ("block_5", "mean", "clip-vit-large-patch14-336", 20)),
        (theirs("batch_top_k_20_x1", rule="", run=RUN.replace("5_post_mlp_residual", "-1_post_projection")),
         ("projection", None, "clip-vit-large-patch14-336", 20)),
        (theirs("batch_top_k_20_x1", run="inat_train_activations_siglip-so400m-patch14-384_21_post_mlp_residual"),
         ("block_21", "random:2", "siglip-so400m-patch14-384", 20)),
    ],
)  # fmt: skip
def test_the_authors_own_names_are_read(cache, name, place):
    kind, expansion = ("batch_top_k", int(name.split("/")[0].rpartition("x")[2]))
    checkpoint(cache, name, sae_of(kind if name.startswith("batch") else "matryoshka_batch_top_k", expansion))
    (sae,) = released.released_saes(REPO)
    assert (sae.hook_point, sae.tokens, sae.model, sae.k) == place
    assert (sae.kind, sae.expansion) == (sae.opened().header.kind, expansion)


@pytest.fixture
def full(cache):
    """Widths and kinds for block 5 on patch tokens, and others that must not be taken for it."""
    for expansion in (4, 16, 128):
        checkpoint(cache, theirs(f"batch_top_k_20_x{expansion}"), sae_of("batch_top_k", expansion))
    for expansion in (2, 16):
        name = f"matroyshka_batch_top_k_20_x{expansion}"
        checkpoint(cache, theirs(name), sae_of("matryoshka_batch_top_k", expansion))
        checkpoint(cache, theirs(name, step=20_000), sae_of("matryoshka_batch_top_k", expansion))
    checkpoint(cache, theirs("batch_top_k_20_x32", rule=""), sae_of("batch_top_k", 32))
    checkpoint(cache, theirs("batch_top_k_20_x64"), sae_of("batch_top_k", 32))
    checkpoint(cache, theirs("batch_top_k_20_x32", run=RUN.replace("_5_", "_6_")), sae_of("batch_top_k", 32))
    return cache


@pytest.mark.parametrize(
    ("wish", "chosen", "told"),
    [
        ({}, ("matryoshka_batch_top_k", 16), "is used.$"),  # the widest of at most x64, and Matryoshka
        ({"kind": "batch_top_k"}, ("batch_top_k", 16), "is used.$"),
        ({"expansion": 4}, ("batch_top_k", 4), "is used.$"),
        ({"expansion": 128}, ("batch_top_k", 128), "is used.$"),
        ({"kind": "matryoshka_batch_top_k", "expansion": 4}, ("matryoshka_batch_top_k", 2),
         "is used, though ×4 was asked for.$"),
        ({"kind": "top_k", "expansion": 3}, ("batch_top_k", 4),
         "is used, though top_k was asked for, and ×3.$"),
    ],
)  # fmt: skip
def test_the_sae_of_a_hook_point_is_chosen_and_said(full, wish, chosen, told):
    sae, sentence = released.released_for(tower(), "block_5", "random:2", repo_id=REPO, **wish)
    assert (sae.kind, sae.expansion) == chosen and sae.file.endswith("ae_100000.pt")
    assert re.search(told, sentence) and sae.file in sentence and "\n" not in sentence
    # the one whose name contradicts its tensors counts until it is opened
    place = f'in {REPO} at {COMMIT[:8]} for block_5 of {tower().name} on "random:2" tokens'
    assert re.match(rf"Of [78] released SAEs {re.escape(place)}", sentence)
    assert sae.load(tower(), "block_5", "random:2").n_latents == DIM * chosen[1]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ((tower(), "block_7", "random:2"), "none for block_7 of .*its name says block_5, and block_7 is asked for"),
        ((tower(), "block_5", "mean"), r'it was trained on random:2 tokens, and "mean" is asked for'),
        ((tower(block=16), "block_5", "random:2"), "8-wide activations and those of .* are 16-wide"),
        ((tower("vlm:hf:llava-hf/llava-onevision-qwen2-0.5b-ov-hf"), "block_5", "random:2"),
         "it is of clip-vit-large-patch14-336, and nothing tells that vlm:.* has the same weights"),
        ((tower("clip-vit-large-patch14"), "block_5", "random:2"), "it is of clip-vit-large-patch14-336"),
        ((tower("open_clip:EVA02-L-14-336/merged2b_s6b"), "block_5", "all"), "it is of clip-vit-large-patch14-336"),
    ],
)  # fmt: skip
def test_where_none_fits_the_sentence_says_why(full, place, told):
    sae, sentence = released.released_for(*place, repo_id=REPO)
    assert sae is None and re.search(told, sentence) and "\n" not in sentence
    assert sentence.startswith("No released SAE is used: ")


@pytest.mark.parametrize("name", ["vlm:hf:llava-hf/llava-1.5-7b-hf", "open_clip:ViT-L-14-336-quickgelu/openai",
                                  "hf:openai/clip-vit-large-patch14-336@ce19dc9"])  # fmt: skip
def test_the_same_weights_under_another_name_are_known(full, name):
    sae, _ = released.released_for(tower(name), "block_5", "all", repo_id=REPO)
    assert sae.expansion == 16


def test_a_name_without_a_tower_is_not_matched(cache):
    checkpoint(cache, "batch_top_k_20_x4/layer_5_random_k_2/ae_100000.pt", sae_of("batch_top_k"))
    sae, sentence = released.released_for(tower(), "block_5", "all", repo_id=REPO)
    assert sae is None and "says nothing of the tower" in sentence


def test_a_hub_out_of_reach_and_a_repository_without_saes_are_told(cache):
    sae, sentence = released.released_for(tower(), "block_5", "all", repo_id="somebody/else")
    assert sae is None and "HF_HUB_OFFLINE is set, so unset it" in sentence
    sae, sentence = released.released_for(tower(), "block_5", "all", repo_id=REPO)
    assert sae is None and "no SAE checkpoint" in sentence and sentence.count(". ") == 0


# the public listing, none of it in the cache


@pytest.fixture
def public(tmp_path, monkeypatch):
    """The whole release on the hub, and which of its files were opened."""
    stand_ins.release(tmp_path / "release")
    return remote(tmp_path, monkeypatch, tmp_path / "release")


WIDE = {"block": 64}


def test_the_public_listing_is_told_by_names_alone(public):
    saes = released.released_saes(REPO)
    assert len(saes) == len(stand_ins.LAYERS) * len(stand_ins.VARIANTS) == 48 and not public
    assert {sae.hook_point for sae in saes} == {"block_11", "block_17", "block_22", "block_23"}
    assert {sae.tokens for sae in saes} == {"cls"} and {sae.model for sae in saes} == {"clip-vit-large-patch14-336"}
    assert {(sae.kind, sae.expansion) for sae in saes} == {
        (kind, x) for kind in ("batch_top_k", "matryoshka_batch_top_k") for x in (1, 2, 4, 8, 16, 64)
    }


def test_one_file_of_a_whole_release_is_opened(public):
    place = tower(**WIDE), "block_22", "cls"
    sae, sentence = released.released_for(*place, repo_id=REPO, kind="matryoshka_batch_top_k", expansion=64)
    assert "matroyshka_batch_top_k_20_x64" in sae.file and sentence.startswith("Of 12 released SAEs")
    assert public == [sae.file] and sae.header.n_latents == 64 * 64
    assert sae.load(*place).n_latents == 64 * 64
    assert public == [sae.file], "its header was known"


def test_where_no_name_fits_nothing_is_opened_and_the_tokens_are_named_first(public):
    """Steering needs tokens of all kinds, and the release was trained on class tokens."""
    sae, sentence = released.released_for(tower(**WIDE), "block_22", "random:2", repo_id=REPO, expansion=64)
    assert sae is None and not public
    assert re.search(r'holds 48 and none for block_22 of .* on "random:2" tokens \(12: it was trained on class tokens, '
                     r'and "random:2" is asked for; 12: its name says block_', sentence)  # fmt: skip


def test_a_file_that_is_none_is_passed_over_for_the_next_best(public, tmp_path):
    best = stand_ins.released_file("matroyshka_batch_top_k_20_x64", 22)
    torch.save({"optimiser": torch.zeros(3)}, tmp_path / "release" / best)
    sae, sentence = released.released_for(
        tower(**WIDE), "block_22", "cls", repo_id=REPO, kind="matryoshka_batch_top_k", expansion=64
    )
    assert sae.expansion == 16 and sae.kind == "matryoshka_batch_top_k" and len(public) == 2
    assert sentence.startswith("Of 11 released SAEs") and sentence.endswith("is used, though ×64 was asked for.")


def test_a_hub_that_goes_away_while_a_header_is_read_is_told(public, monkeypatch):
    def gone(self, path, mode, block_size):
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(huggingface_hub.HfFileSystem, "open", gone)
    sae, sentence = released.released_for(tower(**WIDE), "block_22", "cls", repo_id=REPO)
    assert sae is None and sentence.startswith("No released SAE is used: ") and "could not be read" in sentence
