"""Files that are no SAE of one hook point, in every format; settings that are null, which is to be left out."""

import json

import pytest
import safetensors.torch
import torch
from foreign_saes import (
    K,
    linear_state,
    matrix_state,
    overcomplete,
    prisma,
    sae_lens,
    saev,
    saev_header,
    sparsify,
    write,
)
from random_saes import DIM, WIDTH, inputs, make_sae

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing.sae_card import model_card
from vlm_sae_lib.sae import SparseAutoencoder


def refused(path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        SparseAutoencoder.load(path)
    assert "\n" not in str(caught.value)


def with_tensors(path, file: str, **more):
    """A file with tensors added to those that it holds; None takes one away."""
    if file.endswith(".safetensors"):
        tensors = safetensors.torch.load_file(path / file) | more
        safetensors.torch.save_file({n: t.contiguous() for n, t in tensors.items() if t is not None}, path / file)
    else:
        torch.save(torch.load(path / file) | more, path / file)
    return path


def in_format(name: str, path, sae):
    """An SAE as a library writes it; (folder, its file)."""
    if name == "sae_lens":
        return sae_lens(path, matrix_state(sae)), "sae_weights.safetensors"
    if name == "sparsify":
        return sparsify(path, sae), "sae.safetensors"
    if name == "ours":
        return sae.save(path), "sae_weights.safetensors"
    if name == "prisma":
        return prisma(path, sae), "weights.pt"
    write(
        path,
        linear_state(sae, k=K) if name == "dictionary_learning" else matrix_state(sae, threshold=torch.ones(WIDTH)),
    )
    return path, "ae.pt"


FORMATS = ("sae_lens", "sparsify", "prisma", "dictionary_learning", "dictionary_learning_jump_relu")
BIASES = {"sparsify": "encoder.bias", "dictionary_learning": "encoder.bias"}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"b_dec_out": torch.zeros(DIM)}, "is a transcoder .*b_dec_out"),
        ({"W_skip": torch.zeros(DIM, DIM)}, "has a skip connection .*W_skip"),
        ({"r_mag": torch.zeros(WIDTH)}, "gated SAE .*r_mag"),
        ({"mean": torch.ones(DIM)}, "computes more than an SAE does .*mean"),
    ],
)
def test_tensors_that_no_autoencoder_has_are_refused(tmp_path, format, more, message):
    folder, file = in_format(format, tmp_path / "sae", make_sae("top_k"))
    SparseAutoencoder.load(folder)
    refused(with_tensors(folder, file, **more), message)


@pytest.mark.parametrize("format", FORMATS)
def test_counters_of_training_beside_the_weights_are_no_hindrance(tmp_path, format):
    folder, file = in_format(format, tmp_path / "sae", make_sae("top_k"))
    plain = SparseAutoencoder.load(folder)
    counters = {"n_forward_passes_since_fired": torch.ones(WIDTH), "n_training_samples": torch.tensor(7)}
    assert SparseAutoencoder.load(with_tensors(folder, file, **counters)).hash == plain.hash


def crosscoder(format: str, path):
    """A dictionary of two hook points: its matrices have an axis more."""
    sae = make_sae("top_k")
    if format == "saev":
        return saev(path, {n: t.expand(2, *t.shape) for n, t in matrix_state(sae).items()}, saev_header("Relu"))
    if format == "overcomplete":
        file = overcomplete(path, sae, "TopKSAE", top_k=3)
        return with_tensors(path, file.name, dictionary=sae.w_dec.expand(2, -1, -1))
    folder, file = in_format(format, path, sae)
    names = list(torch.load(folder / file) if file.endswith(".pt") else safetensors.torch.load_file(folder / file))
    whole = torch.load(folder / file) if file.endswith(".pt") else safetensors.torch.load_file(folder / file)
    kept = {"b_enc", "encoder.bias", "k", "threshold"}  # one set of latents for all hook points
    return with_tensors(folder, file, **{n: whole[n].expand(2, *whole[n].shape) for n in names if n not in kept})


@pytest.mark.parametrize("format", [*FORMATS, "saev", "overcomplete"])
def test_a_crosscoder_is_refused(tmp_path, format):
    refused(crosscoder(format, tmp_path / "sae"), "of 3 axes, as a crosscoder")


def test_a_crosscoder_in_our_own_folder_is_refused(tmp_path):
    refused(crosscoder("ours", tmp_path / "sae"), "do not fit")


def test_dictionary_learnings_crosscoder_is_refused(tmp_path):
    """Its keys are those of AutoEncoderNew."""
    state = {"encoder.weight": torch.ones(2, DIM, WIDTH), "encoder.bias": torch.ones(WIDTH),
             "decoder.weight": torch.ones(2, WIDTH, DIM), "decoder.bias": torch.ones(2, DIM),
             "code_normalization_id": torch.tensor(1)}  # fmt: skip
    refused(write(tmp_path, state, {"dict_class": "CrossCoder"}), "of 3 axes, as a crosscoder")


def test_dictionary_learnings_buffer_tells_a_transcoder(tmp_path):
    state = linear_state(make_sae("relu"))
    state["bias"] = state.pop("b_dec")
    path = write(tmp_path, state, {"dict_class": "AutoEncoder"})
    assert SparseAutoencoder.load(path).kind == "relu"
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {}, "buffer": {"io": "in_and_out"}}))
    refused(path, "is a transcoder")


def test_dictionary_learnings_first_top_k_has_its_k_beside_it(tmp_path):
    """``k`` was no part of its state; read as a ReLU SAE it would fire without end."""
    sae = make_sae("top_k")
    path = write(tmp_path / "beside", linear_state(sae), {"dict_class": "AutoEncoderTopK", "k": 3})
    assert SparseAutoencoder.load(path).hash == sae.hash
    refused(write(tmp_path / "alone", linear_state(sae)), "TopK SAE and holds no k")
    without = write(tmp_path / "batch", linear_state(sae, k=K), {"dict_class": "BatchTopKSAE"})
    refused(without, "without a learned threshold")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"is_transcoder": True}, "is a transcoder"),
        ({"is_transcoder": True, "transcoder_with_skip_connection": True}, "is a transcoder"),
    ],
)
def test_prismas_transcoder_is_refused_by_its_settings(tmp_path, config, message):
    refused(prisma(tmp_path, make_sae("relu"), **config), message)


def test_prismas_sae_has_the_settings_of_a_transcoder_too(tmp_path):
    """Its settings are one class for both: d_out and the rest say nothing."""
    sae = make_sae("relu", k=None)
    unused = {"is_transcoder": False, "transcoder_with_skip_connection": False, "out_hook_point_layer": 9,
              "layer_out_subtype": "hook_mlp_out", "d_out": 768}  # fmt: skip
    assert SparseAutoencoder.load(prisma(tmp_path, sae, **unused)).hash == sae.hash


@pytest.mark.parametrize("setting", ["embed_skip", "gram_lookup"])
def test_what_sparsify_adds_to_the_output_is_refused(tmp_path, setting):
    refused(sparsify(tmp_path / "a", make_sae("top_k"), **{setting: True}), setting)


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        ({"W_dec": torch.zeros(WIDTH, DIM + 1)}, {}),  # a transcoder to a wider place
        ({"W_dec": torch.zeros(DIM, WIDTH)}, {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True}),
        ({"b_dec": torch.zeros(DIM + 1)}, {"apply_b_dec_to_input": False}),
    ],
)
def test_shapes_that_no_autoencoder_has_are_one_sentence(tmp_path, tensors, config):
    refused(sae_lens(tmp_path / "a", matrix_state(make_sae("top_k")) | tensors, **config), "do not fit|can be read")


# null


NULLS = ("architecture", "activation_fn", "activation_fn_str", "activation_fn_kwargs", "apply_b_dec_to_input",
         "normalize_activations", "reshape_activations", "metadata", "device", "dtype", "hook_name", "model_name",
         "rescale_acts_by_decoder_norm", "k", "d_in", "is_transcoder")  # fmt: skip


@pytest.mark.parametrize("name", NULLS)
def test_a_null_in_a_sae_lens_folder_is_a_setting_left_out(tmp_path, name):
    sae = make_sae("relu", k=None)
    assert SparseAutoencoder.load(sae_lens(tmp_path / "a", matrix_state(sae), **{name: None})).hash == sae.hash


def test_nulls_of_a_top_k_sae(tmp_path):
    sae = make_sae("top_k")
    for i, config in enumerate((
        {"architecture": "topk", "k": 3, "activation_fn_kwargs": None, "rescale_acts_by_decoder_norm": None},
        {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}, "k": None, "metadata": None},
    )):  # fmt: skip
        assert SparseAutoencoder.load(sae_lens(tmp_path / str(i), matrix_state(sae), **config)).hash == sae.hash
    nowhere = {"architecture": "topk", "k": None, "activation_fn_kwargs": None}
    refused(sae_lens(tmp_path / "c", matrix_state(sae), **nowhere), "needs k from 1")


@pytest.mark.parametrize("value", [None, [], "none", {"library": None}])
def test_metadata_of_any_type_is_no_traceback(tmp_path, value):
    sae = make_sae("jump_relu", k=None)
    folder = sae.save(tmp_path / "sae")
    files.write_json(folder / "cfg.json", files.read_json(folder / "cfg.json") | {"metadata": value})
    assert SparseAutoencoder.load(folder).hash == sae.hash


def test_nulls_in_our_own_metadata(tmp_path):
    sae = make_sae("batch_top_k")
    folder = sae.save(tmp_path / "sae")
    config = files.read_json(folder / "cfg.json")
    for name in ("group_sizes", "provenance", "log", "model_name"):
        config["metadata"][name] = None
    files.write_json(folder / "cfg.json", config)
    found = SparseAutoencoder.load(folder)
    assert found.hash == sae.hash and "batch_top_k" in model_card(found)
    assert SparseAutoencoder.load(found.save(tmp_path / "again")).hash == sae.hash
    config["metadata"]["kind"] = None
    files.write_json(folder / "cfg.json", config)
    refused(folder, "kind None is unknown")


def test_nulls_in_the_settings_of_others(tmp_path):
    x, relu = inputs(20, DIM), make_sae("relu", k=None)
    nulls = {
        "activation_fn_str": None,
        "activation_fn_kwargs": None,
        "architecture": None,
        "normalize_activations": None,
    }
    assert SparseAutoencoder.load(prisma(tmp_path / "prisma", relu, **nulls)).hash == relu.hash
    top = make_sae("top_k")
    nulls = {"activation": None, "signed": None, "transcode": None, "skip_connection": None}
    assert SparseAutoencoder.load(sparsify(tmp_path / "sparsify", top, **nulls)).hash == top.hash
    header = saev_header("Relu")
    header["cfg"]["activation"]["params"] = None
    loaded = SparseAutoencoder.load(saev(tmp_path / "saev", matrix_state(relu), header))
    torch.testing.assert_close(loaded.encode(x), torch.relu(x @ relu.w_enc + relu.b_enc), rtol=1e-5, atol=1e-5)
    for cfg in (None, {"activation": None}):
        refused(saev(tmp_path / "saev", matrix_state(relu), header | {"cfg": cfg}), "saev's activation None")


@pytest.mark.parametrize(
    "config",
    [{"activation_fn_kwargs": "k=3"}, {"k": "three"}, {"k": [3]}, {"activation_fn_kwargs": {"k": {}}, "k": {"a": 1}}],
)
def test_a_setting_of_another_type_is_one_sentence(tmp_path, config):
    folder = sae_lens(tmp_path / "a", matrix_state(make_sae("top_k")), architecture="topk", **config)
    refused(folder, "holds no SAE that can be read")


def test_state_of_another_type_is_one_sentence(tmp_path):
    refused(write(tmp_path / "ae", {"ae": None, "norm_factor": 2.0}), "no SAE that")
    folder = prisma(tmp_path / "prisma", make_sae("relu"))
    torch.save({"cfg": {}, "state_dict": [torch.zeros(2)]}, folder / "weights.pt")
    refused(folder, "no SAE that can be read")
