"""The graphs against PyTorch with the same weights, run by the native runtime."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from native_live import NativeModel

from vlm_sae_lib import SparseAutoencoder, load_vlm, paths, pocket_pictures, steered
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.live.export import export
from vlm_sae_lib.live.language import language_graph, rotations
from vlm_sae_lib.live.tower import tower_graph
from vlm_sae_lib.live.weights import Weights
from vlm_sae_lib.pocket import language
from vlm_sae_lib.pocket.world import blank
from vlm_sae_lib.steering.intervention import pushed, random_directions

LLAVA = paths.pocket() / "llava"


@pytest.fixture(scope="module")
def vlm():
    return load_vlm("pocket", device="cpu")


@pytest.fixture(scope="module")
def sae():
    return SparseAutoencoder.load(paths.pocket() / "sae" / "steering")


@pytest.fixture(scope="module")
def native():
    return NativeModel(export().files())


@pytest.fixture(scope="module")
def pictures():
    return [*pocket_pictures(3, 31).images, blank()]


def test_states_and_latents_are_those_of_the_library(vlm, sae, native, pictures):
    for picture, states in zip(pictures, vlm.states(pictures), strict=True):
        native.see(np.asarray(picture))
        np.testing.assert_allclose(native.states, states, atol=5e-5)
        np.testing.assert_allclose(native.latents, sae.encode(states), atol=1e-4)
        assert (native.latents > 0).sum() > 65


EDITS = [(None, 0.0), (18, 80.0), (18, 0.0), (2, -60.0)]


@pytest.mark.parametrize("keep_error", [False, True])
@pytest.mark.parametrize(("latent", "strength"), EDITS)
def test_scores_and_answers_of_an_edit_are_those_of_the_library(
    vlm, sae, native, pictures, latent, strength, keep_error
):
    edits = {} if latent is None else {latent: strength}
    for picture in pictures:
        native.see(np.asarray(picture))
        for question in (language.DESCRIBE, language.QUESTIONS["habitat"]):
            words, scores = native.answer(vlm, question, latent, strength, keep_error=keep_error)
            with steered(vlm, sae, edits, keep_error=keep_error):
                np.testing.assert_allclose(scores[0], vlm.logits(picture, question), atol=2e-4)
                assert words == vlm.answer(picture, question)


@pytest.mark.parametrize("keep_error", [False, True])
def test_a_push_moves_as_far_as_the_librarys(vlm, sae, native, pictures, keep_error):
    direction = random_directions(1, vlm.dim, 3)[0]
    for picture in pictures:
        native.see(np.asarray(picture))
        _, scores = native.answer(vlm, language.DESCRIBE, 18, 80.0, keep_error=keep_error, direction=direction.numpy())
        with pushed(vlm, sae, direction, 18, 80.0, keep_error=keep_error):
            np.testing.assert_allclose(scores[0], vlm.logits(picture, language.DESCRIBE), atol=2e-4)


def test_an_edit_changes_some_answer(vlm, native, pictures):
    """Else the comparisons above would pass for a graph that ignores its edit."""
    native.see(np.asarray(pictures[0]))
    said = {native.answer(vlm, language.QUESTIONS["habitat"], *edit)[0] for edit in EDITS}
    assert len(said) > 1


def test_the_cache_changes_no_score(vlm, native, pictures):
    """Word by word, and all words at once."""
    native.see(np.asarray(pictures[0]))
    before, after = native.prompt(vlm, language.DESCRIBE)
    features = native.features(None, 0.0)
    at_once, _ = native.read(before, features, [*after, 20, 30, 40], native.nothing_read)
    read = native.read(before, features, after, native.nothing_read)
    for word in (20, 30, 40):
        read = native.read([], features[:, :0], [word], read[1])
    np.testing.assert_allclose(at_once, read[0], atol=2e-4)


def test_weights_are_stored_as_in_the_repository_and_the_same_files_give_the_same_bytes():
    files = export().files()
    assert files == export().files()
    graphs = [onnx.load_from_string(files[f"{name}.onnx"]).graph for name in ("tower", "language")]
    stored = [weight.data_type for g in graphs for weight in g.initializer if np.prod(weight.dims) > 20_000]
    halves = stored.count(onnx.TensorProto.FLOAT16)
    assert halves == len(stored) - 1 > 40, "all large weights but those of the SAE's encoder are halves"
    assert sum(map(len, files.values())) < 8e6


def test_graphs_need_no_operator_beyond_onnx_itself():
    for graph in export().files().values():
        assert [entry.domain for entry in onnx.load_from_string(graph).opset_import] == [""]


def test_rotations_are_those_of_transformers(vlm):
    config = read_json(LLAVA / "config.json")["text_config"]
    rotary = vlm.family.language_model.rotary_emb
    places = torch.arange(config["max_position_embeddings"])[None]
    for own, theirs in zip(rotations(config), rotary(torch.zeros(1), places), strict=True):
        np.testing.assert_allclose(own, theirs[0], atol=1e-5)


def test_what_cannot_be_written_as_a_graph_is_refused(sae):
    config, weights = read_json(LLAVA / "config.json"), Weights.read(LLAVA / "model.safetensors")
    vision, text = config["vision_config"], config["text_config"]
    with pytest.raises(UserError, match="quick GELU"):
        tower_graph(weights.under("vision_tower"), vision | {"hidden_act": "gelu"}, 5, sae)
    with pytest.raises(UserError, match="threshold"):
        tower_graph(weights.under("vision_tower"), vision, 5, replace(sae, kind="top_k", k=8, threshold=None))
    with pytest.raises(UserError, match="as many keys"):
        language_graph(weights.under("language_model"), text | {"num_key_value_heads": 2})


def test_a_picture_that_is_not_a_number_is_not_a_picture(native):
    """NaN goes in as NaN and comes out so: nothing hides it."""
    (states, latents) = native.run("tower", {"pixels": np.full((1, 3, 64, 64), np.nan, np.float32)})
    assert np.isnan(states).all() and not (latents > 0).any()


def test_a_picture_of_another_size_is_refused(native):
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        native.run("tower", {"pixels": np.zeros((1, 3, 32, 32), np.float32)})
