"""The towers of the paper and of today by their real names: tiny weights of the real classes in the hub's cache, and
the full-size architectures without any weights (the meta device)."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
import transformers as hf
from hub_cache import REVISION, offline, put
from PIL import Image
from safetensors.torch import save_file
from tiny_towers import TEXT, VISION, noise

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.loading import way_out
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.towers.transformers_towers import transformers_tower
from vlm_sae_lib.vlms import load_vlm

PICTURES = noise(3)
SQUARE = {"height": 32, "width": 32}


def clip_processor() -> hf.CLIPImageProcessor:
    return hf.CLIPImageProcessor(size=SQUARE, crop_size=SQUARE)


SIGLIP2 = {key: value for key, value in VISION.items() if key != "image_size"} | {"num_patches": 16}
MAKERS = {  # name on the hub: (model, processor, class token, tokens, width of the projection)
    "openai/clip-vit-large-patch14-336": (
        lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16)),
        clip_processor, True, 17, 16),
    "google/siglip-so400m-patch14-384": (
        lambda: hf.SiglipModel(hf.SiglipConfig(vision_config=VISION, text_config=TEXT)),
        lambda: hf.SiglipImageProcessor(size=SQUARE), False, 16, 32),
    "google/siglip2-base-patch16-naflex": (
        lambda: hf.Siglip2Model(hf.Siglip2Config(vision_config=SIGLIP2, text_config=TEXT)),
        lambda: hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16), False, 16, 32),
    "facebook/dinov2-base": (
        lambda: hf.Dinov2Model(hf.Dinov2Config(**VISION)), lambda: hf.BitImageProcessor(size=SQUARE, crop_size=SQUARE),
        True, 17, 32),
    "facebook/dinov3-vits16-pretrain-lvd1689m": (  # a class token and four registers before the patches
        lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**VISION, num_register_tokens=4)),
        clip_processor, True, 21, 32),
    "apple/aimv2-large-patch14-224": (
        lambda: hf.Aimv2VisionModel(hf.Aimv2VisionConfig(**VISION)), clip_processor, False, 16, 32),
}  # fmt: skip
NAMES = list(MAKERS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    for name, (model, processor, *_) in MAKERS.items():
        torch.manual_seed(0)

        def write(folder, model=model, processor=processor):
            model().save_pretrained(folder)
            processor().save_pretrained(folder)

        put(root, name, write)
    return root


@pytest.fixture(scope="module")
def towers(cache):
    with pytest.MonkeyPatch.context() as patch:
        offline(patch, cache)
        return {name: load_tower(f"hf:{name}", device="cpu") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_hook_points_of_the_real_classes(towers, name):
    tower, (*_, has_cls, tokens, width) = towers[name], MAKERS[name]
    assert tower.hook_points == ("block_0", "block_1", "block_2", "projection")
    assert (tower.has_cls, tower.tokens("block_1"), tower.dim("block_1")) == (has_cls, tokens, 32)
    assert tower.dim("projection") == width
    assert tower.activations(PICTURES, "block_2", "random:2").shape == (3, 2, 32)  # the paper's rule without a CLS
    if not has_cls:
        with pytest.raises(UserError, match='no class token, so "cls" selects nothing: use .*"random:<k>"'):
            tower.activations(PICTURES, "block_2", "cls")


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_reaches_what_follows(towers, name):
    tower = towers[name]
    before = tower.activations(PICTURES, "projection")
    with tower.intervene("block_1", lambda x: x + torch.linspace(0, 1, 32)):  # 1 alone would be normed away
        assert (tower.activations(PICTURES, "projection") - before).abs().max() > 1e-4
    assert torch.equal(tower.activations(PICTURES, "projection"), before)


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_the_model_gives_by_itself(towers, name, cache):
    tower = towers[name]
    folder = cache / ("models--" + name.replace("/", "--")) / "snapshots" / REVISION
    whole = hf.AutoModel.from_pretrained(folder).eval()
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    pictures = [picture.resize((32, 32)) for picture in PICTURES]
    with torch.no_grad():
        inputs = processor(images=pictures, return_tensors="pt")
        if hasattr(whole, "get_image_features"):
            own = whole.get_image_features(**inputs)
            own = getattr(own, "pooler_output", own)
        else:
            own = whole(**inputs).pooler_output
    torch.testing.assert_close(tower.activations(pictures, "projection"), own, rtol=0, atol=1e-5)


def test_a_revision_is_one_of_the_cache(cache, monkeypatch, towers):
    offline(monkeypatch, cache)
    name = "facebook/dinov2-base"
    assert load_tower(f"hf:{name}@{REVISION}", device="cpu").weights_hash == towers[name].weights_hash
    with pytest.raises(UserError, match="OFFLINE is set, so unset it, or run `hf download facebook/dinov2-base`"):
        load_tower(f"hf:{name}@{REVISION[::-1]}", device="cpu")


def test_half_precision_is_near_and_given_in_full(cache, monkeypatch, towers):
    offline(monkeypatch, cache)
    name = NAMES[0]
    half = load_tower(f"hf:{name}", device="cpu", dtype="bfloat16")
    for point in half.hook_points:
        acts, full = half.activations(PICTURES, point, "mean"), towers[name].activations(PICTURES, point, "mean")
        assert acts.dtype == torch.float32
        assert (acts - full).norm() < 0.02 * full.norm()
    assert half.weights_hash != towers[name].weights_hash
    with pytest.raises(UserError, match="float32, bfloat16 or float16"):
        load_tower(f"hf:{name}", device="cpu", dtype="int8")


def test_a_tower_that_accelerate_placed(cache, monkeypatch, towers):
    offline(monkeypatch, cache)
    spread = load_tower(f"hf:{NAMES[0]}", device="auto")
    expected = towers[NAMES[0]].activations(PICTURES, "block_1", "all")
    torch.testing.assert_close(spread.activations(PICTURES, "block_1", "all"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("config", "model", "side", "expected"), [
    (lambda: hf.CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, image_size=336,
                                 num_attention_heads=16, patch_size=14, projection_dim=768),
     "CLIPVisionModelWithProjection", 336, (24, 577, 1024, 768)),
    (lambda: hf.SiglipVisionConfig(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, image_size=384,
                                   num_attention_heads=16, patch_size=14), "SiglipVisionModel", 384,
     (27, 729, 1152, 1152)),
    (lambda: hf.Dinov2Config(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, image_size=518,
                             patch_size=14), "Dinov2Model", 224, (12, 257, 768, 768)),
])  # fmt: skip
def test_full_size_architectures(config, model, side, expected):
    blocks, tokens, width, projection = expected
    with torch.device("meta"):
        module = getattr(hf, model)(config())
    processor = hf.CLIPImageProcessor(size={"height": side, "width": side}, crop_size={"height": side, "width": side})
    tower = transformers_tower(module, processor, spec="it", name="it", device=torch.device("meta"))
    assert tower.hook_points == (*(f"block_{i}" for i in range(blocks)), "projection")
    assert {(tower.tokens(point), tower.dim(point)) for point in tower.hook_points[:-1]} == {(tokens, width)}
    assert tower.dim("projection") == projection


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_open_clip_and_transformers_give_the_same_activations(tmp_path, act):
    torch.manual_seed(0)
    vision = hf.CLIPVisionConfig(**VISION, projection_dim=16, hidden_act=act)
    module = hf.CLIPVisionModelWithProjection(vision).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    module.save_pretrained(tmp_path / "hf")
    hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE).save_pretrained(tmp_path / "hf")
    write_as_open_clip(module, tmp_path / "open_clip", quick_gelu=act == "quick_gelu")
    theirs = load_tower(f"open_clip:local-dir:{tmp_path / 'open_clip'}", device="cpu")
    ours = load_tower(f"hf:{tmp_path / 'hf'}", device="cpu")
    pixels = torch.stack([ours.preprocess(picture) for picture in PICTURES])
    assert theirs.hook_points == ours.hook_points
    for point in ours.hook_points:
        torch.testing.assert_close(theirs.activations(pixels, point, "all"), ours.activations(pixels, point, "all"),
                                   rtol=0, atol=1e-4)  # fmt: skip
    # the two resize a little differently: the pictures, not the weights, then differ by a grey level or two
    near = torch.stack([theirs.preprocess(picture) for picture in PICTURES]) - pixels
    assert near.abs().max() < 0.05


def write_as_open_clip(module, folder, *, quick_gelu: bool) -> None:
    """A CLIP of transformers as a local open_clip folder, with a text part that nobody reads."""
    import open_clip

    config = {"embed_dim": 16, "quick_gelu": quick_gelu,
              "vision_cfg": {"layers": 3, "width": 32, "head_width": 8, "mlp_ratio": 2, "patch_size": 8,
                             "image_size": 32},
              "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}}  # fmt: skip
    state = open_clip.CLIP(**json.loads(json.dumps(config))).state_dict()
    source = {name.removeprefix("vision_model."): weight for name, weight in module.state_dict().items()}
    new = {
        "visual.class_embedding": source["embeddings.class_embedding"],
        "visual.positional_embedding": source["embeddings.position_embedding.weight"],
        "visual.conv1.weight": source["embeddings.patch_embedding.weight"],
        "visual.proj": source["visual_projection.weight"].T,
    }
    names = {"pre_layrnorm": "ln_pre", "post_layernorm": "ln_post"}
    for i in range(3):
        for old, here in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                          ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
            names[f"encoder.layers.{i}.{old}"] = f"transformer.resblocks.{i}.{here}"
    for kind in ("weight", "bias"):
        new |= {f"visual.{here}.{kind}": source[f"{old}.{kind}"] for old, here in names.items()}
        for i in range(3):
            parts = [source[f"encoder.layers.{i}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            new[f"visual.transformer.resblocks.{i}.attn.in_proj_{kind}"] = torch.cat(parts)
    assert {name for name in state if name.startswith("visual.")} == set(new)
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in (state | new).items()},
              folder / "open_clip_model.safetensors")  # fmt: skip
    mean, std = hf.CLIPImageProcessor().image_mean, hf.CLIPImageProcessor().image_std
    preprocessing = {"size": 32, "mean": list(mean), "std": list(std)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))


# ---- what goes wrong -------------------------------------------------------------------------------------------------

ASK = """
import sys
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.vlms import load_vlm
from vlm_sae_lib.towers import load_tower
for load, spec in ((load_tower, "hf:owner/gated"), (load_vlm, "hf:owner/gated"), (load_tower, "hf:owner/nothing")):
    try:
        load(spec, device="cpu")
    except UserError as error:
        print(str(error).replace(chr(10), "NEWLINE"))
"""


class Hub(BaseHTTPRequestHandler):
    """A hub that shows nobody anything, as the real one answers who brings no token."""

    def do_HEAD(self):
        gated = "gated" in self.path
        self.send_response(403 if gated else 401)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", "no")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


def test_a_gated_and_an_unknown_repository_say_the_way_out(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    # a fresh Python: the hub's address is read at its start
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy") and key != "HF_TOKEN"}
    own = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ASK], env=kept | own, capture_output=True, text=True, timeout=200)
    server.shutdown()
    assert done.returncode == 0 and "NEWLINE" not in done.stdout, done.stderr[-2000:]
    tower, vlm, nothing = done.stdout.splitlines()
    for line in (tower, vlm):
        assert line.endswith(f"owner/gated is gated, so accept its terms at {address}/owner/gated and sign in with "
                             "`hf auth login` or the variable HF_TOKEN.")  # fmt: skip
    assert "the hub shows no repository owner/nothing, so check the spelling, or sign in" in nothing


@pytest.mark.parametrize(("load", "spec"), [(load_tower, "hf:owner/name"), (load_vlm, "hf:owner/name"),
                                            (load_tower, "open_clip:hf-hub:owner/name")])  # fmt: skip
def test_offline_without_the_files_says_how_to_get_them(cache, monkeypatch, load, spec):
    offline(monkeypatch, cache)
    with pytest.raises(UserError, match="OFFLINE is set, so unset it, or run `hf download owner/name`") as caught:
        load(spec, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("error", "words"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "too little memory .* smaller model"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "too little memory"),
    (OSError(28, "No space left on device"), "disk is full, so free some space, or let the variable HF_HOME"),
    (ValueError("The checkpoint has model type `x` but Transformers does not recognize this architecture."),
     "pip install -U transformers"),
    (ValueError("First line. And more.\nSecond"), "^First line$"),
    (KeyError(), "^KeyError$"),
])  # fmt: skip
def test_every_other_failure_is_one_sentence_with_the_way_out(error, words):
    wrapped = OSError("wrapped")
    wrapped.__cause__ = error
    assert re.search(words, way_out(error, "hf:owner/name"))
    if "^" not in words:
        assert re.search(words, way_out(wrapped, "hf:owner/name"))


def test_pictures_of_any_shape_fit_the_patches(towers):
    tower = towers["google/siglip2-base-patch16-naflex"]
    assert {tower.preprocess(Image.new("RGB", size)).shape for size in ((32, 32), (90, 20), (3, 3))} == {(3, 32, 32)}
