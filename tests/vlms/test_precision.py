"""VLMs in fewer bits: what is quantised and what never is, and steering in half precision beside an SAE in full."""

import importlib.metadata
import sys
from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from tiny_families import FAMILIES, make, save
from tiny_vlm import PROMPTS, TinySae, tiny_model, tiny_pictures, tiny_processor

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.precision import half_precision
from vlm_sae_lib.steering import steered
from vlm_sae_lib.vlms import load_vlm
from vlm_sae_lib.vlms.vlm import Vlm

CPU = torch.device("cpu")
PICTURES = tiny_pictures(2)


def whole(family: str) -> tuple:
    """The model and its processor."""
    return (tiny_model(), tiny_processor()) if family == "llava" else make(family)


@pytest.fixture
def folder(tmp_path):
    save("llava", tmp_path)
    return tmp_path


@pytest.fixture
def bitsandbytes(monkeypatch):
    """One that knows the CPU, as far as it is asked before any weight is read."""
    version = importlib.metadata.version
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(supported_torch_devices={"cuda", "cpu"}))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0" if name == "bitsandbytes" else version(name))


@pytest.fixture
def asked(monkeypatch):
    """What reaches ``from_pretrained``."""
    options = {}

    def keep(where, **given):
        options.update(given)
        raise UserError("asked")

    monkeypatch.setattr(hf.AutoModelForImageTextToText, "from_pretrained", keep)
    return options


@pytest.mark.parametrize("family", FAMILIES)
def test_all_but_the_tower_the_projector_and_the_words_scores_is_quantised(tmp_path, bitsandbytes, asked, family):
    save(family, tmp_path)
    with pytest.raises(UserError, match="asked"):
        load_vlm(f"hf:{tmp_path}", device="cpu", bits=4)
    config = asked["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert config.bnb_4bit_compute_dtype == asked["dtype"] == torch.float32  # a CPU is slow and coarse in half
    assert asked["device_map"] == {"": CPU}
    model, processor = whole(family)
    exact = tuple(f"{name}." for name in config.llm_int8_skip_modules)
    kept = {name for name, _ in model.named_parameters() if name.startswith(exact)}
    text = {name for name, weight in model.named_parameters() if ".layers." in name} - kept
    assert {name for name in text if "language_model" in name or "text_model" in name} == text != set()
    parts = Vlm(model, processor, device="cpu").family
    for part in (parts.tower, parts.projector, model.get_output_embeddings()):
        ours = {id(weight) for weight in part.parameters()}
        assert ours <= {id(weight) for name, weight in model.named_parameters(remove_duplicate=False) if name in kept}


def test_eight_bits_leave_the_same_parts_alone(folder, bitsandbytes, asked):
    with pytest.raises(UserError, match="asked"):
        load_vlm(f"hf:{folder}", device="cpu", bits=8)
    config = asked["quantization_config"]
    assert config.load_in_8bit and not config.load_in_4bit and len(config.llm_int8_skip_modules) == 3


def test_without_bits_nothing_is_quantised(folder, asked):
    with pytest.raises(UserError, match="asked"):
        load_vlm(f"hf:{folder}", device="cpu")
    assert "quantization_config" not in asked and "device_map" not in asked


def test_what_is_missing_for_bits_is_one_sentence_with_the_way_out(folder, bitsandbytes, monkeypatch):
    def refused(bits, message):
        with pytest.raises(UserError, match=message) as caught:
            load_vlm(f"hf:{folder}", device="cpu", bits=bits)
        assert "\n" not in str(caught.value)

    refused(5, "to 4 or 8 bits, not to 5: leave bits out")
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(supported_torch_devices={"cuda"}))
    refused(4, "4 bits need a GPU, .* 'cpu': run where there is one, or leave bits out")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    refused(8, "8 bits need bitsandbytes: install it by `pip install bitsandbytes`, or leave bits out")


def test_a_release_that_quantises_the_tower_all_the_same_is_refused(folder, bitsandbytes, monkeypatch):
    load = hf.AutoModelForImageTextToText.from_pretrained

    def quantise_all(where, **given):
        given.pop("quantization_config")
        model, loaded = load(where, **given)
        weight = next(block for name, block in model.named_modules() if "vision" in name and name.endswith("q_proj"))
        weight.weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
        return model, loaded

    monkeypatch.setattr(hf.AutoModelForImageTextToText, "from_pretrained", quantise_all)
    with pytest.raises(UserError, match="quantised the vision tower of hf:.* leave bits out, or update it"):
        load_vlm(f"hf:{folder}", device="cpu", bits=4)


@pytest.mark.parametrize(
    ("device", "capability", "own", "expected"),
    [
        ("cpu", None, torch.float16, torch.float32),
        ("cuda", (7, 5), torch.float16, torch.float16),  # a T4
        ("cuda", (7, 5), torch.bfloat16, torch.float16),
        ("cuda", (8, 0), torch.float16, torch.float16),  # as the checkpoint has it, so that the tower is exact
        ("cuda", (8, 0), "bfloat16", torch.bfloat16),
        ("cuda", (9, 0), torch.float32, torch.bfloat16),
        ("cuda", (7, 5), None, torch.float16),
    ],
)
def test_half_precision_is_the_checkpoints_own_where_the_gpu_has_it(monkeypatch, device, capability, own, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert half_precision(torch.device(device), own) == expected


# ---- half precision --------------------------------------------------------------------------------------------------


def half(family: str) -> Vlm:
    model, processor = whole(family)
    return Vlm(model.to(torch.bfloat16), processor, device="cpu", square=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_in_half_precision_is_steered_by_an_sae_in_full(family):
    vlm, sae = half(family), TinySae()
    assert vlm.dtype == torch.bfloat16 and sae.W_dec.dtype == torch.float32
    states = vlm.states(PICTURES)
    assert states.dtype == torch.float32 and torch.equal(states, states.bfloat16().float())
    assert vlm.features(states).dtype == torch.bfloat16
    bare, seen = vlm.logits(PICTURES[0], PROMPTS[0]), []
    with vlm.edited(lambda x: seen.append(x.dtype) or x):
        assert torch.equal(vlm.logits(PICTURES[0], PROMPTS[0]), bare) and set(seen) == {torch.bfloat16}
    with steered(vlm, sae, {}, keep_error=True):
        assert torch.equal(vlm.logits(PICTURES[0], PROMPTS[0]), bare)
    with steered(vlm, sae, {3: 9.0}):
        assert (vlm.logits(PICTURES[0], PROMPTS[0]) - bare).abs().max() > 0.05
        assert len(vlm.answers(PICTURES, PROMPTS[0], max_new_tokens=2)) == 2
    assert torch.equal(vlm.logits(PICTURES[0], PROMPTS[0]), bare)


def test_inputs_are_of_the_towers_precision_whatever_the_language_model_has():
    vlm = half("llava")
    vlm.model.model.language_model.to(torch.float32)
    vlm.model.lm_head.to(torch.float32)
    assert vlm.inputs(PICTURES, [PROMPTS[0]] * 2)["pixel_values"].dtype == torch.bfloat16
    assert vlm.pixels(PICTURES).dtype == vlm.features(vlm.states(PICTURES)).dtype == torch.bfloat16
    assert vlm.logits(PICTURES[0], PROMPTS[0]).isfinite().all()
