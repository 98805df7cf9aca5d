"""How many prompts fit, and what happens when they did not: the real models' numbers on made-up devices."""

import warnings

import pytest
import torch
import transformers as hf
from live_bytes import LiveBytes
from tiny_vlm import PROMPTS, TinySae, tiny_pictures, tiny_vlm

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.steering.concepts import pool_latents
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.vlms import memory
from vlm_sae_lib.vlms.memory import Room, kv_bytes_per_token, prompt_bytes, prompts_at_once

HALF, CPU = torch.float16, torch.device("cpu")
VICUNA = hf.LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
                        num_key_value_heads=32, vocab_size=32064)  # fmt: skip
CLIP_L = hf.CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                             image_size=336, patch_size=14)  # fmt: skip
LLAVA = hf.LlavaConfig(vision_config=CLIP_L, text_config=VICUNA, vision_feature_layer=-2)
QWEN = hf.Qwen2Config(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                      num_key_value_heads=2, vocab_size=151936)  # fmt: skip
SMOL = hf.LlamaConfig(hidden_size=960, intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15,
                      num_key_value_heads=5, vocab_size=49280)  # fmt: skip
TOKENS, WEIGHTS = 646, int(4.5e9)
EDITS = [UNSTEERED, Intervention(3, 2.5), Intervention(4, -3.0)]


# ---- what a prompt costs ---------------------------------------------------------------------------------------------


def test_keys_and_values_of_the_real_models():
    assert kv_bytes_per_token(LLAVA, HALF) == kv_bytes_per_token(VICUNA, HALF) == 2**19  # half a megabyte
    assert kv_bytes_per_token(SMOL, HALF) == 32 * 2 * 5 * 64 * 2  # heads that share keys
    own_width = hf.MistralConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                                 head_dim=32)  # fmt: skip
    assert kv_bytes_per_token(own_width, torch.float32) == 3 * 2 * 2 * 32 * 4
    unshared = hf.OPTConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4)  # names no number of them
    assert kv_bytes_per_token(unshared, torch.float32) == 3 * 2 * 48 * 4


@pytest.mark.parametrize("tokens", [200, TOKENS])
@pytest.mark.parametrize(("config", "kind"), [(VICUNA, hf.LlamaModel), (QWEN, hf.Qwen2Model), (SMOL, hf.LlamaModel)])
def test_a_prompts_bytes_are_those_of_the_real_models_tensors(config, kind, tokens):
    with torch.device("meta"):
        model = kind(kind.config_class.from_dict(config.to_dict() | {"attn_implementation": "eager"}))
        model = model.eval().requires_grad_(False).to(HALF)
        prompt, places = torch.zeros(1, tokens, config.hidden_size, dtype=HALF), torch.arange(tokens)[None]
        with torch.no_grad(), LiveBytes() as live:
            model(inputs_embeds=prompt.clone(), position_ids=places, use_cache=True)
    told = prompt_bytes(config, tokens, HALF, ends=0, attention="eager")
    assert live.peak <= told <= 1.5 * live.peak


def test_a_pictures_bytes_are_those_of_the_real_towers_tensors():
    with torch.device("meta"):
        tower = hf.CLIPVisionModel._from_config(CLIP_L, attn_implementation="eager").eval().requires_grad_(False)
        tower.to(HALF)
        with torch.no_grad(), LiveBytes() as live:
            tower(torch.zeros(1, 3, 336, 336).to(HALF), output_hidden_states=True)
    assert live.peak <= memory.picture_bytes(LLAVA, HALF, attention="eager") <= 1.5 * live.peak
    assert memory.picture_bytes(CLIP_L, HALF, tiles=3) == 3 * memory.picture_bytes(LLAVA, HALF)


def test_each_term_of_a_prompt_is_counted():
    bare = prompt_bytes(LLAVA, TOKENS, HALF, cache=False, attention="sdpa")
    kept = kv_bytes_per_token(LLAVA, HALF) * TOKENS
    assert prompt_bytes(LLAVA, TOKENS, HALF, attention="sdpa") == bare + kept + kept // 32
    assert prompt_bytes(LLAVA, TOKENS, HALF, cache=False, ends=3, attention="sdpa") == bare + 2 * 32064 * 6
    assert prompt_bytes(LLAVA, TOKENS, HALF, cache=False, states=1000, attention="sdpa") == bare + 12000
    assert prompt_bytes(LLAVA, TOKENS, HALF, cache=False, attention="dense") > bare + 32 * TOKENS**2 * 8


# ---- how many fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free", [15 * 10**9 - WEIGHTS, 4 * 10**9])
@pytest.mark.parametrize("how", [{}, {"attention": "dense", "cache": False, "ends": 4}])
def test_the_batch_of_the_real_llava_fits_a_t4(free, how):
    each = prompt_bytes(LLAVA, TOKENS, HALF, states=577 * 1024, **how)
    batch = prompts_at_once(free, each, at_most=48)
    assert each > 2 * 10**8 and 1 <= batch < 48
    assert batch * each <= free * (1 - memory.RESERVE) < (batch + 1) * each


def test_at_least_one_at_most_as_many_as_asked_and_unknown_memory():
    assert prompts_at_once(10, 100, at_most=48) == prompts_at_once(0, 100, at_most=48) == 1
    assert prompts_at_once(10**9, 100, at_most=48) == prompts_at_once(None, 100, at_most=48) == 48


# ---- batches of the bench and of the model ---------------------------------------------------------------------------


@pytest.fixture
def batches(monkeypatch):
    """A model that notes in ``seen`` how many prompts or pictures it finished, and has memory for ``limit`` at once."""
    vlm = tiny_vlm()
    vlm.seen, vlm.limit, inside = [], 10**9, []

    def guard(module, name, size):
        function = getattr(module, name)

        def run(*arguments, **options):
            if inside:  # a part of what is counted already
                return function(*arguments, **options)
            if (n := size(arguments, options)) > vlm.limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            inside.append(name)
            try:
                result = function(*arguments, **options)
            finally:
                inside.pop()
            vlm.seen.append(n)
            return result

        monkeypatch.setattr(module, name, run)

    guard(vlm.model, "generate", lambda _, options: len(options.get("inputs_embeds", options.get("input_ids"))))
    guard(vlm.model.lm_head, "forward", lambda arguments, _: len(arguments[0]))
    guard(vlm.family.tower, "forward", lambda arguments, _: len(arguments[0]))
    return vlm


def with_free(monkeypatch, free):
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)


def test_the_bench_takes_as_many_prompts_as_fit(batches, monkeypatch):
    bench = SteeringBench(batches, TinySae(), tiny_pictures(4))
    expected = bench.captions(EDITS, PROMPTS[0], max_new_tokens=5)
    assert batches.seen[-1] == 12  # memory enough
    tokens = 16 + 8 + 5  # the picture, the prompt in its template, the answer
    each = prompt_bytes(batches.model.config, tokens, torch.float32, states=17 * 32)
    with_free(monkeypatch, int(5.5 * each / (1 - memory.RESERVE)))
    batches.seen.clear()
    assert (bench.captions(EDITS, PROMPTS[0], max_new_tokens=5) == expected).all()
    assert batches.seen == [5, 5, 2]
    batches.seen.clear()
    assert len(batches.answers(tiny_pictures(4), PROMPTS[0], max_new_tokens=5)) == 4
    assert batches.seen == [3, 1]  # in the tower of this tiny model a picture costs more
    with_free(monkeypatch, 1)
    batches.seen.clear()
    batches.answers(tiny_pictures(4), PROMPTS[0], batch_size=2)
    assert batches.seen == [2, 2]  # as was asked


def test_the_memory_is_asked_once_for_many_batches_and_never_for_one(batches, monkeypatch):
    bench, asked = SteeringBench(batches, TinySae(), tiny_pictures(4)), []
    monkeypatch.setattr(memory, "free_bytes", lambda device: asked.append(device) or 10**12)
    monkeypatch.setattr("vlm_sae_lib.steering.sweep.AT_MOST", 2)
    bench.answers(EDITS, PROMPTS)
    assert batches.seen[-6:] == [2] * 6 and asked == [CPU]
    batches.answer(tiny_pictures(1)[0], PROMPTS[0])
    assert asked == [CPU]


OUTPUTS = {
    "answers": lambda vlm, bench: bench.answers(EDITS, PROMPTS),
    "logits": lambda vlm, bench: bench.logits(EDITS[1], PROMPTS).argmax(-1).numpy(),
    "captions": lambda vlm, bench: bench.captions(EDITS, PROMPTS[0], max_new_tokens=5),
    "texts": lambda vlm, bench: bench.texts(EDITS, PROMPTS),
    "the model's answers": lambda vlm, bench: vlm.answers(PICTURES, PROMPTS[1], max_new_tokens=5),
    "the model's states": lambda vlm, bench: vlm.states(PICTURES).argmax(-1).tolist(),
    "pooled latents": lambda vlm, bench: pool_latents(vlm, TinySae(), PICTURES).largest.round(3),
}
PICTURES = tiny_pictures(12)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_batch_that_was_too_much_is_halved_and_nothing_is_done_twice(batches, name):
    bench, run = SteeringBench(batches, TinySae(), PICTURES), OUTPUTS[name]
    undisturbed = run(batches, bench)
    batches.limit = 4
    batches.seen.clear()
    with pytest.warns(UserWarning, match="This machine ran out of memory at (9|12) .* at once; going on with ") as said:
        halved = run(batches, bench)
    assert (halved == undisturbed) if isinstance(halved, list) else (halved == undisturbed).all()
    told = [str(one.message) for one in said if "ran out of memory" in str(one.message)]
    assert len(told) == len(set(told)) == (2 if max(batches.seen) == 3 else 3)
    assert sum(batches.seen) == {"answers": 36, "captions": 36, "texts": 108}.get(name, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(batches, bench)  # what was too much once is not tried again


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried "
                                   "to allocate 9 bytes."), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when "
                                   "calling `cublasCreate(handle)`")])  # fmt: skip
def test_memory_is_short_in_several_words_and_other_errors_pass(error):
    def work(items):
        if len(items) > 2:
            raise error
        return sum(items)

    with pytest.warns(UserWarning, match="at 5 prompts at once; going on with 2.$"):
        assert Room(CPU).run(work, [1, 2, 3, 4, 5], 1, at_once=5) == [3, 7, 5]
    with pytest.raises(RuntimeError, match="another"):
        Room(CPU).run(lambda items: (_ for _ in ()).throw(RuntimeError("another")), [1], 1)


def test_on_a_gpu_its_cache_is_emptied_and_the_sentence_names_it(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))

    def work(items):
        if len(items) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return list(items)

    with pytest.warns(UserWarning, match="^The GPU ran out of memory at 12 prompts at once; going on with 6.$"):
        assert sum(Room(torch.device("cuda")).run(work, list(range(13)), 1, at_once=12), []) == list(range(13))
    assert emptied == [1]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_single_prompt_that_does_not_fit_is_one_sentence(device):
    def work(items):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(UserError, match="too little free memory for a single one of the prompts: ") as caught:
        Room(torch.device(device)).run(work, [1], 1)
    assert "\n" not in str(caught.value) and ("bits=4" in str(caught.value)) == (device == "cuda")


ALONE = {
    "answer": lambda vlm, picture: vlm.answer(picture, PROMPTS[0]),
    "logits": lambda vlm, picture: vlm.logits(picture, PROMPTS[0]),
    "states": lambda vlm, picture: vlm.states([picture]),
}


@pytest.mark.parametrize("name", ALONE)
def test_whatever_the_model_is_asked_about_one_picture_that_does_not_fit(monkeypatch, name):
    def run_out(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    vlm = tiny_vlm()
    monkeypatch.setattr(vlm.family.tower, "forward", run_out)
    with pytest.raises(UserError, match="^this machine has too little free memory for a single one of the p[a-z]+: "):
        ALONE[name](vlm, tiny_pictures(1)[0])
