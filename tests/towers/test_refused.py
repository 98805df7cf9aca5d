"""Models that are no towers, each refused for what is true of it, and maps that are read the right way round."""

import pytest
import torch
import transformers as hf
from tiny_families import make
from tiny_towers import VISION, noise

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import Layout
from vlm_sae_lib.towers import load_tower

TEXT = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4}  # fmt: skip
ROTARY = {"rope_type": "default", "type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
QWEN = TEXT | {"rope_scaling": ROTARY, "bos_token_id": 1, "eos_token_id": 2}
SQUARE = {"height": 32, "width": 32}
PATCHES = {"depth": 2, "hidden_size": 32, "num_heads": 4, "patch_size": 8}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}


def whisper():
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
             "decoder_attention_heads": 4}  # fmt: skip
    config = hf.WhisperConfig(**sizes, **ENDS, vocab_size=64, pad_token_id=0, decoder_start_token_id=1)
    return hf.WhisperModel(config), None


def clip_text():
    return hf.CLIPTextModel(hf.CLIPTextConfig(**{key: TEXT[key] for key in list(TEXT)[:5]}, **ENDS)), None


def qwen(version):
    if version == "2_5":
        vision = PATCHES | {"intermediate_size": 64, "out_hidden_size": 32, "window_size": 32,
                            "fullatt_block_indexes": [1]}  # fmt: skip
    else:
        vision = PATCHES | {"embed_dim": 32}
    config = getattr(hf, f"Qwen{version}_VLConfig" if version == "2_5" else f"Qwen{version}VLConfig")
    model = getattr(hf, f"{config.__name__.removesuffix('Config')}ForConditionalGeneration")
    return model(config(text_config=QWEN, vision_config=vision)), hf.Qwen2VLImageProcessor(patch_size=8)


def videomae():
    config = hf.VideoMAEConfig(**VISION, num_frames=4)
    return hf.VideoMAEModel(config), hf.VideoMAEImageProcessor(size=SQUARE, crop_size=SQUARE)


def vjepa():
    predictor = {"pred_hidden_size": 32, "pred_num_attention_heads": 4, "pred_num_hidden_layers": 2}
    return hf.VJEPA2Model(hf.VJEPA2Config(**VISION, **predictor, crop_size=32, frames_per_clip=4)), None


def pixtral():
    vision = hf.PixtralVisionConfig(**VISION)
    model = hf.LlavaForConditionalGeneration(hf.LlavaConfig(
        vision_config=vision, text_config=hf.LlamaConfig(**TEXT), image_token_index=5))  # fmt: skip
    return model, hf.PixtralImageProcessor(patch_size=8, size={"longest_edge": 32})


@pytest.mark.parametrize(("make", "words"), [
    (lambda: qwen("2_5"), "patches of all pictures as one list|no model class for the vision part of qwen2_5_vl"),
    (lambda: qwen("2"), "patches of all pictures as one list|no model class for the vision part of qwen2_vl"),
    (pixtral, r"outputs are not \(batch, tokens, d\)|patches of all pictures"),
    (videomae, r"makes \(\d+, 3, 32, 32\) of a picture .* tiles or frames"),
    (vjepa, "takes videos and no pictures"),
    (whisper, r"is a whisper and takes no pictures \(its input is input_features\)"),
    (clip_text, r"takes no pictures \(its input is input_ids\)"),
    (lambda: make("llava_next"), r"makes \(\d+, 3, 32, 32\) of a picture .* named vlm:"),
    (lambda: make("llava_onevision"), r"makes \(\d+, 3, 32, 32\) of a picture .* named vlm:"),
    (lambda: make("idefics3"), r"makes \(\d+, 3, 32, 32\) of a picture .* named vlm:|no model class for"),
], ids=["qwen2_5_vl", "qwen2_vl", "pixtral", "videomae", "vjepa2", "whisper", "clip_text", "llava_next",
        "llava_onevision", "idefics3"])  # fmt: skip
def test_the_reason_is_the_true_one(tmp_path, make, words):
    torch.manual_seed(0)
    model, processor = make()
    model.save_pretrained(tmp_path)
    if processor is not None:
        processor.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        load_tower(f"hf:{tmp_path}", device="cpu")
    assert "\n" not in str(caught.value) and "<class" not in str(caught.value)
    if "no pictures" not in words:
        assert "takes no pictures" not in str(caught.value)


def test_a_forward_that_fails_is_one_sentence(tmp_path):
    """A picture of another size than the position embeddings: any error of a model on what its processor makes."""
    hf.ViTModel(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    hf.ViTImageProcessor(size={"height": 48, "width": 48}).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"fails on pictures of \(3, 48, 48\) \(Input image size"):
        load_tower(f"hf:{tmp_path}", device="cpu")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")])
def test_too_little_memory_is_no_fault_of_the_tower(monkeypatch, error):
    def run_out(*_, **__):
        raise error

    monkeypatch.setattr("vlm_sae_lib.hooks.outputs", run_out)
    with pytest.raises(UserError, match="^pocket finds too little memory on 'cpu' for a picture: close what else runs"):
        load_tower("pocket", device="cpu")


def test_a_transformer_that_keeps_a_map_has_its_channels_last(tmp_path):
    """SAM's blocks give (n, height, width, d); read the other way round it had tokens of four numbers."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    vision = sizes | {"output_channels": 16, "mlp_dim": 64, "global_attn_indexes": [1], "window_size": 2}
    torch.manual_seed(0)
    whole = hf.SamModel(hf.SamConfig(vision_config=vision)).eval()
    whole.save_pretrained(tmp_path)
    hf.CLIPImageProcessor(size=SQUARE, crop_size=SQUARE).save_pretrained(tmp_path)
    tower = load_tower(f"hf:{tmp_path}", device="cpu")
    assert (tower.tokens("block_1"), tower.dim("block_1")) == (16, 32)
    pixels = torch.stack([tower.preprocess(picture) for picture in noise(2)])
    with torch.no_grad():
        own = whole.vision_encoder(pixels, output_hidden_states=True).hidden_states[2]
    assert torch.equal(tower.activations(pixels, "block_1", "all"), own.flatten(1, 2))


@pytest.mark.parametrize(("shape", "widths", "kind", "n_tokens", "dim"), [
    ((2, 4, 4, 32), (32,), "n h w c", 16, 32), ((2, 32, 4, 4), (32,), "n c h w", 16, 32),
    ((2, 7, 7, 32), (), "n h w c", 49, 32), ((2, 32, 7, 7), (), "n c h w", 49, 32),  # by the square alone
    ((2, 8, 8, 16), (8, 16), "n h w c", 64, 16), ((2, 16, 8, 8), (8, 16), "n c h w", 64, 16),  # a side as a width
    ((2, 16, 16, 8), (16,), "n c h w", 128, 16), ((2, 8, 8, 8), (), "n c h w", 64, 8),
])  # fmt: skip
def test_a_map_is_read_by_the_configured_widths_and_else_by_its_square(shape, widths, kind, n_tokens, dim):
    layout = Layout(torch.Size(shape), 2, widths)
    assert (layout.kind, layout.n_tokens, layout.dim) == (kind, n_tokens, dim)


def test_a_tower_that_the_device_does_not_hold_is_one_sentence(monkeypatch):
    def place(model, device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("vlm_sae_lib.towers.tower.place", place)
    with pytest.raises(UserError, match="could not load pocket: there is too little memory for it"):
        load_tower("pocket")


def test_a_repository_out_of_reach_is_not_said_to_lack_its_preprocessing(monkeypatch):
    from vlm_sae_lib.towers import transformers_towers

    def unreachable(*arguments, **options):
        raise ConnectionError("Max retries exceeded")

    monkeypatch.setattr(hf.AutoImageProcessor, "from_pretrained", unreachable)
    with pytest.raises(UserError) as told:
        transformers_towers._load_processor("owner/name", "hf:owner/name")
    assert "could not load hf:owner/name" in str(told.value) and "preprocessing" not in str(told.value)
