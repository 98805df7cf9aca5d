"""Reading a language model at the ends only gives what the whole model gives there."""

import pytest
import torch
import transformers as hf
from tiny_families import FAMILIES, make
from tiny_vlm import PROMPTS, shared_vlm, tiny_pictures

from vlm_sae_lib.steering.sweep import _QuestionBoard
from vlm_sae_lib.vlms import ends
from vlm_sae_lib.vlms.ends import Ends, can_read_ends
from vlm_sae_lib.vlms.vlm import Vlm

WIDTH, LENGTH, BEGUN = 48, 21, 4
KINDS = {"llama": (hf.LlamaConfig, hf.LlamaModel), "mistral": (hf.MistralConfig, hf.MistralModel),
         "qwen2": (hf.Qwen2Config, hf.Qwen2Model)}  # fmt: skip


def language_model(kind: str, **more) -> torch.nn.Module:
    torch.manual_seed(3)
    config, model = KINDS[kind]
    made = model(config(hidden_size=WIDTH, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
                        num_key_value_heads=2, vocab_size=30, **more)).eval()  # fmt: skip
    with torch.no_grad():  # norms and biases that are not 1 and 0
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return made


def whole(model, embeddings, mask, positions, wanted):
    """The slow definition: every layer on every place."""
    n = len(embeddings)
    options = {"attention_mask": mask.expand(n, 1, -1, -1), "position_ids": positions.expand(n, -1)}
    with torch.no_grad():
        return model(inputs_embeds=embeddings, use_cache=False, **options).last_hidden_state[:, wanted]


def two_questions() -> tuple[torch.Tensor, torch.Tensor]:
    # Places 0–11 are shared, 12–15 are one question and 16–20 another, which both count from 12.
    order, block = torch.arange(LENGTH), torch.tensor([0] * 12 + [1] * 4 + [2] * 5)
    seen = (order[:, None] >= order) & ((block[:, None] == block) | (block == 0))
    mask = torch.zeros(LENGTH, LENGTH).masked_fill(~seen, torch.finfo(torch.float32).min)
    return mask, torch.tensor([*range(12), *range(12, 16), *range(12, 17)])


@pytest.mark.parametrize("begun", [0, BEGUN])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_are_those_of_the_whole_model(kind, begun, monkeypatch):
    monkeypatch.setattr(ends, "PLACES", 40)  # two sequences at a time
    model, (mask, positions), wanted = language_model(kind), two_questions(), torch.tensor([15, 20])
    embeddings = torch.randn(5, LENGTH, WIDTH)
    embeddings[:, :begun] = embeddings[:1, :begun]
    before = embeddings.clone()
    assert can_read_ends(model)
    read = Ends(model, embeddings[0, :begun], mask, positions, wanted).read(embeddings[:, begun:])
    torch.testing.assert_close(read, whole(model, embeddings, mask, positions, wanted), rtol=0, atol=1e-5)
    assert torch.equal(embeddings, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_board_asks_every_family_at_its_ends(family):
    vlm = shared_vlm() if family == "llava" else Vlm(*make(family), device="cpu", square=True)
    board = _QuestionBoard(vlm, PROMPTS)
    states = vlm.states(tiny_pictures(3))
    fast = board.ask(states)
    assert board._reader is not None
    board._reader = None  # as for a model that is read as a whole
    torch.testing.assert_close(fast, board.ask(states), rtol=0, atol=1e-4)


def test_other_models_are_read_as_a_whole(monkeypatch):
    assert can_read_ends(shared_vlm().family.language_model)
    assert not can_read_ends(language_model("llama").to(torch.bfloat16))
    assert not can_read_ends(language_model("llama", attention_bias=True))
    assert not can_read_ends(language_model("llama", mlp_bias=True))
    assert not can_read_ends(hf.GemmaModel(hf.GemmaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, vocab_size=30,
    )))  # fmt: skip
    assert not can_read_ends(torch.nn.Linear(2, 2))
    monkeypatch.setattr(ends, "LARGEST", 1000)
    assert not can_read_ends(language_model("qwen2"))
