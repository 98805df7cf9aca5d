"""Which VLM a machine has memory for: the first that fits, said aloud."""

import pytest
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.vlms.choice import Candidate, choose, chosen_vlm

LARGE = Candidate("hf:llava-hf/llava-1.5-7b-hf", None, 16, "the model of the paper, as it is")
SMALLER = Candidate("hf:llava-hf/llava-1.5-7b-hf@b234b80", 4, 6, "the model of the paper")
TINY = Candidate("hf:llava-hf/llava-onevision-qwen2-0.5b-ov-hf", None, 0, "the smallest of its family")
ALL = [LARGE, SMALLER, TINY]


@pytest.mark.parametrize(
    ("gpu_gib", "chosen", "sentence"),
    [
        (40, LARGE, "This machine has a GPU with 40 GiB free: llava-1.5-7b-hf, which needs about 16 GiB; the model of "
                    "the paper, as it is."),
        (15.7, SMALLER, "This machine has a GPU with 15 GiB free: llava-1.5-7b-hf in 4 bits, which needs about 6 GiB; "
                        "the model of the paper."),
        (16, LARGE, None),
        (5.9, TINY, "This machine has a GPU with 5 GiB free: llava-onevision-qwen2-0.5b-ov-hf, which runs on any "
                    "machine; the smallest of its family."),
        (0, TINY, "No GPU: llava-onevision-qwen2-0.5b-ov-hf, which runs on any machine; the smallest of its family."),
    ],
)  # fmt: skip
def test_the_first_that_fits_is_chosen_and_said(gpu_gib, chosen, sentence):
    candidate, said = choose(ALL, gpu_gib=gpu_gib)
    assert candidate is chosen and sentence in (None, said)


def test_the_gpus_free_memory_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (15 * 2**30, 80 * 2**30))
    assert choose(ALL)[0] is SMALLER
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose(ALL)[0] is TINY


@pytest.mark.parametrize(
    ("gpu_gib", "machine"), [(0, "^No GPU, and"), (3.5, "^This machine has a GPU with 3 GiB free")]
)
def test_where_nothing_fits_the_smallest_is_named(gpu_gib, machine):
    with pytest.raises(UserError, match=machine) as caught:
        choose([LARGE, SMALLER], gpu_gib=gpu_gib)
    assert "the smallest is llava-1.5-7b-hf in 4 bits, which needs about 6 GiB, so free" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_torch_holds_and_does_not_use_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * 2**30, 15 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 9 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * 2**30)
    assert choose(ALL)[0] is SMALLER  # nine free, not two


@pytest.mark.parametrize("smaller", [None, ""])
def test_a_profile_without_a_smaller_model_has_no_choice(smaller):
    profile = load_profile("pocket", smaller_vlm=smaller)
    chosen, sentence = chosen_vlm(profile)
    assert chosen.spec == profile.vlm and sentence == f"The model is `{profile.vlm}`."
