"""VLMs of each family, of the real classes, from the hub's cache with the hub out of reach: read, steered, restored."""

import pytest
import torch
from hub_cache import offline, put
from tiny_families import DEPTH, FAMILIES, SIDE, WIDTH, make, save
from tiny_vlm import PROMPTS, TinySae, tiny_pictures

from vlm_sae_lib.activations import collect_activations
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering import steered
from vlm_sae_lib.steering.sweep import Intervention, SteeringBench
from vlm_sae_lib.towers import load_tower, tower_of
from vlm_sae_lib.vlms import load_vlm
from vlm_sae_lib.vlms.vlm import Vlm

NAMES = {
    "llava": "llava-hf/llava-1.5-7b-hf",
    "llava_next": "llava-hf/llava-v1.6-mistral-7b-hf",
    "llava_onevision": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
    "idefics3": "HuggingFaceTB/SmolVLM-500M-Instruct",
}
BLOCK = {"llava": "block_2", "llava_next": f"block_{DEPTH - 2}", "llava_onevision": f"block_{DEPTH - 1}",
         "idefics3": f"block_{DEPTH - 1}"}  # fmt: skip
TILED = FAMILIES[1:]
WIDE = [picture.resize((2 * SIDE, SIDE)) for picture in tiny_pictures(3)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    for family, name in NAMES.items():
        put(root, name, lambda folder, family=family: save(family, folder))
    return root


@pytest.fixture(scope="module")
def vlms(cache):
    with pytest.MonkeyPatch.context() as patch:
        offline(patch, cache)
        return {family: load_vlm(f"hf:{name}", device="cpu") for family, name in NAMES.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_block_read_comes_from_the_configuration(vlms, family):
    assert (vlms[family].hook_point, vlms[family].dim) == (BLOCK[family], WIDTH)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_of_states_are_what_the_model_reads(vlms, family):
    vlm = vlms[family]
    inputs = vlm.inputs(WIDE, [PROMPTS[0]] * 3)
    asked = {key: inputs[key] for key in ("pixel_values", "image_sizes") if key in inputs}
    with torch.no_grad():
        own = vlm.model.get_image_features(**asked)
    own = torch.stack(list(getattr(own, "pooler_output", own))).reshape(3, -1, 48)
    features = vlm.features(vlm.states(WIDE), (SIDE, 2 * SIDE))
    torch.testing.assert_close(features, own, rtol=0, atol=1e-6)
    assert (inputs["input_ids"] == vlm.model.config.image_token_id).sum() == features.shape[:2].numel()


@pytest.mark.parametrize("family", FAMILIES)
def test_steering_changes_the_words_scores_and_leaves_no_trace(vlms, family):
    vlm, sae = vlms[family], TinySae()
    bare = vlm.logits(WIDE[0], PROMPTS[0])
    for _ in range(2):  # before and after transformers has installed hooks of its own
        with steered(vlm, sae, {3: 9.0}):
            assert (vlm.logits(WIDE[0], PROMPTS[0]) - bare).abs().max() > 0.05
        assert torch.equal(vlm.logits(WIDE[0], PROMPTS[0]), bare)
    with steered(vlm, sae, {}, keep_error=True):
        torch.testing.assert_close(vlm.logits(WIDE[0], PROMPTS[0]), bare, rtol=0, atol=1e-4)
    with pytest.raises(KeyError), steered(vlm, sae, {3: 9.0}):
        raise KeyError("a mistake inside the context")
    assert torch.equal(vlm.logits(WIDE[0], PROMPTS[0]), bare)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_do_not_depend_on_company(vlms, family):
    vlm = vlms[family]
    pictures = [WIDE[0], tiny_pictures(4)[3], WIDE[1]]
    alone = [vlm.answer(picture, PROMPTS[0], max_new_tokens=4) for picture in pictures]
    assert vlm.answers(pictures, PROMPTS[0], max_new_tokens=4) == alone


@pytest.mark.parametrize("family", TILED)
def test_tiles_follow_the_picture_and_squares_are_cut_alike(vlms, family):
    vlm, tall = vlms[family], tiny_pictures(1)[0].resize((SIDE, 2 * SIDE))
    with pytest.raises(UserError, match="square=True"):
        vlm.states([WIDE[0], tiny_pictures(1)[0].resize((2 * SIDE, 2 * SIDE))])
    square = Vlm(*make(family), device="cpu", square=True)
    states = square.states([WIDE[0], tall, tiny_pictures(1)[0]])
    assert states.shape[1] < vlm.states([WIDE[0]]).shape[1]
    assert len(square.features(states)) == 3
    if family != "idefics3":
        with pytest.raises(UserError, match="square=True"):
            vlm.features(vlm.states([WIDE[0]]))


@pytest.mark.parametrize("family", TILED)
def test_the_bench_says_what_steering_says(family):
    vlm, sae = Vlm(*make(family), device="cpu", square=True), TinySae()
    bench = SteeringBench(vlm, sae, WIDE[:2])
    fast = bench.logits(Intervention(3, 9.0), PROMPTS)
    with steered(vlm, sae, {3: 9.0}):
        expected = torch.stack([torch.stack([vlm.logits(image, p) for p in PROMPTS]) for image in WIDE[:2]])
    torch.testing.assert_close(fast, expected, rtol=0, atol=1e-4)


# ---- the tower inside ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tower_inside_gives_the_vlms_states(cache, vlms, monkeypatch, family):
    offline(monkeypatch, cache)
    tower = load_tower(f"vlm:hf:{NAMES[family]}", device="cpu")
    square = load_vlm(f"hf:{NAMES[family]}", device="cpu", square=True)
    pictures = [*WIDE, *tiny_pictures(2), tiny_pictures(1)[0].resize((SIDE, 3 * SIDE)).convert("L")]
    states, point = square.states(pictures), square.hook_point
    whole = states[:, : tower.tokens(point)]  # the first tile is the picture as a whole
    torch.testing.assert_close(tower.activations(pictures, point, "all"), whole, rtol=0, atol=1e-5)
    blocks = 4 if family == "llava" else DEPTH
    assert tower.hook_points == tuple(f"block_{i}" for i in range(blocks))
    assert (tower.dim(point), tower.tokens(point)) == (WIDTH, 16 + tower.has_cls)
    assert tower.has_cls == (family in ("llava", "llava_next"))
    assert tower.name == tower.spec == f"vlm:hf:{NAMES[family]}"
    assert tower.weights_hash == tower_of(vlms[family]).weights_hash
    assert sum(weight.numel() for weight in tower.model.parameters()) == sum(
        weight.numel() for weight in vlms[family].family.tower.parameters()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_vlm_lends_its_tower_and_goes_on_as_before(family, tmp_path):
    save(family, tmp_path)
    vlm = load_vlm(f"hf:{tmp_path}", device="cpu")
    states = vlm.states(WIDE)
    tower = tower_of(vlm)
    assert {id(weight) for weight in tower.module.parameters()} <= {id(weight) for weight in vlm.model.parameters()}
    assert tower.name == f"vlm:hf:{tmp_path.name}" and str(tmp_path) not in str(tower.preprocessing)
    before = tower.activations(WIDE, vlm.hook_point, "mean")
    assert torch.equal(vlm.states(WIDE), states)  # cut into tiles as before
    with vlm.edited(torch.zeros_like):
        assert not tower.activations(WIDE, vlm.hook_point, "mean").any()
    assert torch.equal(tower.activations(WIDE, vlm.hook_point, "mean"), before)
    told = tower.weights_hash
    with torch.no_grad():
        next(vlm.family.language_model.parameters()).add_(1)
        assert tower_of(vlm).weights_hash == told
        next(vlm.family.tower.parameters()).add_(1)
        assert tower_of(vlm).weights_hash != told
    with pytest.raises(UserError, match="no hook point 'projection'"):
        tower.dim("projection")


def test_the_tower_inside_in_another_precision_and_into_a_store(cache, monkeypatch, tmp_path):
    offline(monkeypatch, cache)
    spec = f"vlm:hf:{NAMES['llava_onevision']}"
    full, half = load_tower(spec, device="cpu"), load_tower(spec, device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16 and half.weights_hash != full.weights_hash
    exact, near = (tower.activations(WIDE, "block_1", "mean") for tower in (full, half))
    assert 0 < (exact - near).norm() < 0.02 * exact.norm()
    store = collect_activations(full, WIDE, "block_2", tmp_path / "store", tokens="random:2")
    assert (len(store), store.dim, store.metadata["tower"]) == (6, WIDTH, spec)


@pytest.mark.parametrize(("spec", "message"), [("vlm:", "Unknown tower 'vlm:'"), ("vlm:llava", "'pocket' or 'hf:"),
                                               ("vlm:hf:/no/such/folder", "no folder /no/such/folder")])  # fmt: skip
def test_a_tower_in_no_vlm_is_one_sentence(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        load_tower(spec, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_unknown_family_and_lost_weights_are_one_sentence(cache, tmp_path):
    import transformers as hf
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    hf.CLIPVisionConfig().save_pretrained(other)
    with pytest.raises(UserError, match="llava_next, llava_onevision, idefics3, smolvlm$") as caught:
        load_vlm(f"hf:{other}", device="cpu")
    assert "\n" not in str(caught.value)
    save("idefics3", tmp_path / "lost")
    weights = load_file(tmp_path / "lost" / "model.safetensors")
    lost = next(name for name in weights if "connector" in name)
    save_file({name: weight for name, weight in weights.items() if name != lost},
              tmp_path / "lost" / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(UserError, match="lacks 1 of its weights, among them .*connector"):
        load_vlm(f"hf:{tmp_path / 'lost'}", device="cpu")
