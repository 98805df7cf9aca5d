import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_towers import noise, toy_pixels, toy_tower, write_open_clip, write_transformers

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import canonical_json
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.towers.tokens import token_indices

KINDS = ["open_clip", "clip", "clip_vision", "clip_projection", "siglip", "dinov2", "resnet", "llava"]
HAS_CLS = {"open_clip", "clip", "clip_vision", "clip_projection", "dinov2", "llava"}
PICTURES = noise(3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made = {kind: write_transformers(root / kind, kind) for kind in [*KINDS[1:], "llama"]}
    return made | {"open_clip": write_open_clip(root / "open_clip")}


@pytest.fixture(scope="module")
def towers(folders):
    prefix = {"open_clip": "open_clip:local-dir:"}
    return {kind: load_tower(f"{prefix.get(kind, 'hf:')}{folders[kind]}", device="cpu") for kind in KINDS}


def on_blocks(tower):
    """A token rule that works on the tower's blocks and keeps every token."""
    return tower.activations(PICTURES, "block_1", "all")


@pytest.mark.parametrize("kind", KINDS)
def test_hook_points_dimensions_and_tokens(towers, kind):
    tower = towers[kind]
    blocks = ("block_0", "block_1", "block_2")
    assert tower.hook_points == (blocks if kind in ("clip_vision", "llava") else (*blocks, "projection"))
    assert tower.has_cls == (kind in HAS_CLS)
    widths = {"block_0": 8, "block_1": 16, "block_2": 24, "projection": 24} if kind == "resnet" else {}
    counts = {"block_0": 64, "block_1": 16, "block_2": 4} if kind == "resnet" else {}
    for point in tower.hook_points:
        embedding = 32 if kind in ("siglip", "dinov2") else 16
        assert tower.dim(point) == widths.get(point, embedding if point == "projection" else 32)
        assert tower.tokens(point) == counts.get(point, 1 if point == "projection" else 17 - (kind == "siglip"))
        acts = tower.activations(PICTURES, point, "all")
        shape = (3, tower.dim(point)) if point == "projection" else (3, tower.tokens(point), tower.dim(point))
        assert acts.shape == shape and acts.dtype == torch.float32 and not acts.requires_grad


def test_open_clip_agrees_with_its_own_intermediates(towers):
    tower = towers["open_clip"]
    pixels = torch.stack([tower.preprocess(picture) for picture in PICTURES])
    with torch.no_grad():
        own = tower.module.forward_intermediates(pixels, output_fmt="NLC", output_extra_tokens=True)
        embedding = tower.model.encode_image(pixels, normalize=False)
    for i in range(3):
        expected = torch.cat([own["image_intermediates_prefix"][i], own["image_intermediates"][i]], 1)
        torch.testing.assert_close(tower.activations(PICTURES, f"block_{i}", "all"), expected)
    assert torch.equal(tower.activations(pixels, "projection"), embedding)
    assert (embedding.norm(dim=1) - 1).abs().min() > 0.01  # not normalised


@pytest.mark.parametrize("kind", ["clip", "clip_vision", "clip_projection", "siglip", "dinov2", "resnet", "llava"])
def test_transformers_agrees_with_its_own_hidden_states(towers, folders, kind):
    import transformers as hf

    names = {"clip": "CLIPModel", "siglip": "SiglipModel", "dinov2": "Dinov2Model", "resnet": "ResNetModel",
             "clip_vision": "CLIPVisionModel", "clip_projection": "CLIPVisionModelWithProjection",
             "llava": "LlavaForConditionalGeneration"}
    whole = getattr(hf, names[kind]).from_pretrained(folders[kind]).eval()
    vision = {"clip": lambda: whole.vision_model, "siglip": lambda: whole.vision_model,
              "llava": lambda: whole.model.vision_tower}.get(kind, lambda: whole)()
    tower = towers[kind]
    pixels = torch.stack([tower.preprocess(picture) for picture in PICTURES])
    with torch.no_grad():
        output = vision(pixels, output_hidden_states=True)
        pooled = whole.get_image_features(pixels).pooler_output if kind == "clip" else None
    for i in range(3):
        expected = output.hidden_states[i + 1]
        expected = expected.flatten(2).transpose(1, 2) if kind == "resnet" else expected
        assert torch.equal(tower.activations(PICTURES, f"block_{i}", "all"), expected)
    if "projection" in tower.hook_points:
        expected = pooled if kind == "clip" else output.get("image_embeds", output.get("pooler_output"))
        # SigLIP's pooling picks another kernel for frozen weights: equal but for the last bits
        torch.testing.assert_close(tower.activations(PICTURES, "projection"), expected.flatten(1))


def test_token_rules_are_selections_of_all_tokens(towers):
    tower = towers["open_clip"]
    every = on_blocks(tower)
    assert torch.equal(tower.activations(PICTURES, "block_1", "cls"), every[:, 0])
    torch.testing.assert_close(tower.activations(PICTURES, "block_1", "mean"), every.mean(1))
    drawn = tower.activations(PICTURES, "block_1", "random:40", seed=3, image_ids=[7, 8, 9])
    indices = token_indices("random:40", 17, np.array([7, 8, 9]), 3)
    assert drawn.shape == (3, 40, 32)
    for image, row in enumerate(indices):
        assert torch.equal(drawn[image], every[image, row])
    for rule in ("cls", "mean", "all", "random:2"):
        assert torch.equal(tower.activations(PICTURES, "projection", rule), tower.activations(PICTURES, "projection"))


def test_a_random_draw_depends_on_seed_and_picture_alone():
    ids = np.arange(500)
    together = token_indices("random:2", 17, ids, 0)
    np.testing.assert_array_equal(together, np.concatenate([token_indices("random:2", 17, ids[i : i + 7], 0)
                                                            for i in range(0, 500, 7)]))
    assert set(together.ravel()) == set(range(17))  # every token, the class token among them
    assert (together[:, 0] == together[:, 1]).any()  # with replacement
    assert (together != token_indices("random:2", 17, ids, 1)).any()


def test_no_pictures_give_empty_activations(towers):
    tower = towers["clip"]
    assert tower.activations([], "block_1").shape == (0, 32)
    assert tower.activations([], "block_1", "all").shape == (0, 17, 32)
    assert tower.activations([], "block_1", "random:2").shape == (0, 2, 32)
    assert tower.activations([], "projection", "all").shape == (0, 16)


def test_the_forward_stops_at_the_hook_point_and_leaves_no_hook():
    tower = toy_tower()
    before = [block.calls for block in tower.module.blocks]
    tower.activations(PICTURES, "block_1", "mean")
    assert [block.calls - b for block, b in zip(tower.module.blocks, before, strict=True)] == [1, 1, 0]
    assert not any(block._forward_hooks for block in tower.module.blocks)
    assert tower.activations(PICTURES, "projection").shape == (3, 4)


@pytest.mark.parametrize("options", [{}, {"tokens_first": True}, {"as_tuple": True},
                                     {"as_tuple": True, "tokens_first": True}])
def test_tuples_and_tokens_first_blocks_give_the_same_activations(options):
    expected = toy_tower().activations(noise(5), "block_1", "all")  # five pictures of five tokens each: the worst case
    torch.testing.assert_close(toy_tower(**options).activations(noise(5), "block_1", "all"), expected)
    tower = toy_tower(**options)
    seen = []
    with tower.intervene("block_1", lambda x: seen.append(x.clone()) or x):
        tower.activations(noise(5), "projection")
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_identity_intervention_leaves_every_output_bit_for_bit(towers, kind):
    tower = towers[kind]
    last = tower.hook_points[-1]
    expected = tower.activations(PICTURES, last, "all")
    for identity in (lambda x: x, lambda x: x.clone(), lambda x: (x.double() * 1).float()):
        for point in ("block_0", "block_1", "block_2"):
            with tower.intervene(point, identity):
                assert torch.equal(tower.activations(PICTURES, last, "all"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_intervention_is_seen_there_and_downstream_and_then_gone(towers, kind):
    tower = towers[kind]
    before, after = on_blocks(tower), tower.activations(PICTURES, "block_2", "all")
    with tower.intervene("block_1", lambda x: x + 1):
        torch.testing.assert_close(on_blocks(tower), before + 1)
        assert (tower.activations(PICTURES, "block_2", "all") - after).abs().max() > 1e-3
    assert torch.equal(on_blocks(tower), before)
    with pytest.raises(KeyError), tower.intervene("block_1", lambda x: x + 1):
        raise KeyError("a mistake inside the context")
    assert torch.equal(tower.activations(PICTURES, "block_2", "all"), after)


def test_an_intervention_reaches_hidden_states_that_transformers_captures_by_hooks_of_its_own(towers):
    tower = towers["clip_vision"]
    pixels = torch.stack([tower.preprocess(picture) for picture in PICTURES])
    with torch.no_grad():
        bare = tower.module(pixels, output_hidden_states=True).hidden_states[2]  # installs the capturing hooks
        with tower.intervene("block_1", lambda x: x + 1):
            changed = tower.module(pixels, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(changed, bare + 1)


def test_an_intervention_of_another_shape_is_refused(towers):
    tower = towers["clip"]
    with pytest.raises(ValueError, match="returned"), tower.intervene("block_0", lambda x: x[:, :1]):
        tower.activations(PICTURES, "block_1")
    with pytest.raises(UserError, match="Nothing follows"), tower.intervene("projection", lambda x: x):
        pass


@pytest.mark.parametrize(("kind", "point", "rule", "words"), [
    ("clip", "block_3", "cls", "block_0 … block_2 and projection"),
    ("clip_vision", "projection", "cls", "block_0 … block_2."),
    ("clip", "blocks_1", "cls", "no hook point 'blocks_1'"),
    ("clip", "block_01", "cls", "no hook point"),
    ("clip", "block_1", "max", '"cls", "mean", "all", "random:<k>"'),
    ("clip", "block_1", "random:0", "Unknown token rule"),
    ("clip", "block_1", "random:two", "Unknown token rule"),
    ("clip", "projection", "max", "Unknown token rule"),
    ("siglip", "block_1", "cls", 'use "mean", "all" or "random:<k>"'),
    ("resnet", "block_1", "cls", "no class token"),
])
def test_a_wrong_hook_point_or_rule_names_the_right_ones(towers, kind, point, rule, words):
    with pytest.raises(UserError) as caught:
        towers[kind].activations(PICTURES, point, rule)
    assert words in str(caught.value)


@pytest.mark.parametrize("spec", ["resnet50", "pocket:third_clip", "open_clip:", "open_clip:ViT-B-32", "hf:",
                                  "open_clip:ViT-Nonesuch/openai", "open_clip:ViT-B-32/no_such_tag",
                                  "open_clip:local-dir:/no/such/folder", "hf:/no/such/folder", "hf:./no/such"])
def test_an_unknown_spec_is_one_clear_sentence(spec):
    with pytest.raises(UserError) as caught:
        load_tower(spec, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_one_clear_sentence(device):
    with pytest.raises(UserError, match="no device"):
        load_tower("pocket", device=device)


def test_weights_trained_with_quick_gelu_are_refused_for_a_model_without(monkeypatch):
    import open_clip

    with pytest.raises(UserError, match="ViT-B-32-quickgelu/openai"):
        load_tower("open_clip:ViT-B-32/openai", device="cpu")
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"quick_gelu": False})
    with pytest.raises(UserError, match="open_clip:ViT-B-32/plain"):
        load_tower("open_clip:ViT-B-32-quickgelu/plain", device="cpu")


def test_folders_that_lack_something_say_what(folders, tmp_path):
    for spec in (f"open_clip:local-dir:{folders['clip']}", f"hf:{folders['open_clip']}"):
        with pytest.raises(UserError):
            load_tower(spec, device="cpu")
    with pytest.raises(UserError, match="takes no pictures"):
        load_tower(f"hf:{folders['llama']}", device="cpu")
    broken = write_transformers(tmp_path / "broken", "siglip")
    weights = load_file(broken / "model.safetensors")
    lost = next(name for name in weights if "vision" in name and "layers.1.mlp.fc1.weight" in name)
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, broken / "model.safetensors",
              metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.fc1\.weight"):
        load_tower(f"hf:{broken}", device="cpu")
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folders["dinov2"] / name).is_file() and (folders["dinov2"] / name).rename(tmp_path / name)
    with pytest.raises(UserError, match="preprocess"):
        load_tower(f"hf:{folders['dinov2']}", device="cpu")
    (tmp_path / "preprocessor_config.json").rename(folders["dinov2"] / "preprocessor_config.json")


def test_the_weights_hash_follows_weights_and_configuration_but_not_the_place(tmp_path):
    def tower(folder, **options):
        return load_tower(f"open_clip:local-dir:{write_open_clip(tmp_path / folder, **options)}", device="cpu")

    first = tower("a/same")
    assert tower("b/same").weights_hash == first.weights_hash
    assert tower("b/gelu", quick_gelu=False).weights_hash != first.weights_hash
    assert tower("b/seed", seed=1).weights_hash != first.weights_hash
    assert first.name == "open_clip:local-dir:same" and str(tmp_path) not in first.name


@pytest.mark.parametrize("kind", KINDS)
def test_preprocessing_is_json_and_pictures_of_any_shape_fit(towers, kind):
    tower = towers[kind]
    assert json.loads(canonical_json(tower.preprocessing)) == tower.preprocessing
    assert "/" not in canonical_json(tower.preprocessing)
    smallest = 1 if int(transformers.__version__[0]) > 4 else 4  # 4 takes a side of 1 or 3 pixels for the channels
    for size in ((32, 32), (smallest, smallest), (90, 20)):
        assert tower.preprocess(Image.new("RGB", size)).shape == (3, 32, 32)
    assert tower.activations([Image.new("L", (32, 32))], "block_0", "mean").shape[0] == 1


def test_a_convolutional_open_clip_tower(tmp_path):
    import open_clip

    config = {"embed_dim": 16, "vision_cfg": {"layers": [1, 2, 1, 1], "width": 8, "head_width": 8, "image_size": 64},
              "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}}
    model = open_clip.CLIP(**json.loads(json.dumps(config)))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
              tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {"size": 64}}))
    tower = load_tower(f"open_clip:local-dir:{tmp_path}", device="cpu")
    assert tower.hook_points == ("block_0", "block_1", "block_2", "block_3", "projection")
    shapes = [(tower.tokens(point), tower.dim(point)) for point in tower.hook_points]
    assert shapes == [(256, 32), (64, 64), (16, 128), (4, 256), (1, 16)]
    assert tower.activations(PICTURES, "block_1", "mean").shape == (3, 64)
    with pytest.raises(UserError, match="no class token"):
        tower.activations(PICTURES, "block_1")


def test_a_tower_without_class_token_and_wrong_pixels():
    tower = toy_tower(class_token=False)
    assert not tower.has_cls and tower.tokens("block_0") == 4
    with pytest.raises(ValueError, match="pixels must be"):
        tower.activations(torch.zeros(2, 4, 16, 16), "block_0", "mean")
    with pytest.raises(RuntimeError, match="tokens"):  # a picture of another size gives another number of tokens
        tower.activations(torch.zeros(2, 3, 24, 24), "block_0", "mean")
    with pytest.raises(ValueError, match="image ids"):
        tower.activations([*PICTURES], "block_0", "mean", image_ids=[1])
    assert toy_pixels(PICTURES[0]).shape == (3, 16, 16)
