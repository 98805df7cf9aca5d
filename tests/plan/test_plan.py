"""What a run will take, counted beforehand: the counts against what is known, the promises, and the command."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vlm_sae_lib import paths
from vlm_sae_lib.__main__ import main
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures, sample
from vlm_sae_lib.plan.estimate import CONTEXT_GIB, plan
from vlm_sae_lib.plan.machines import GB, GIB, MACHINES, machine
from vlm_sae_lib.plan.models import tower_cost, vlm_cost
from vlm_sae_lib.plan.pictures import counted
from vlm_sae_lib.plan.promises import PROMISES, broken, promised
from vlm_sae_lib.plan.prompts import RANDOM_LATENTS, _settings, _tries, prompts, values_of
from vlm_sae_lib.plan.table import plan_sentence, plan_text
from vlm_sae_lib.plan.work import NOTEBOOKS, rows_per_latent, stages, stages_of
from vlm_sae_lib.profiles import PROFILES, load_profile, public
from vlm_sae_lib.profiles.settings import SteeringSize
from vlm_sae_lib.steering import experiment
from vlm_sae_lib.steering.sweep import AT_MOST, SteeringBench
from vlm_sae_lib.vlms import memory

PUBLIC = ("light", "colab", "paper")


# ---- models ----------------------------------------------------------------------------------------------------------


def test_the_models_cost_what_is_known_of_them():
    llava, smol, onevision = (vlm_cost(spec) for spec in (public.LLAVA, public.SMOLVLM,
                                                          public.SMALL_LLAVA))  # fmt: skip
    assert llava.weights == pytest.approx(7.06e9, rel=0.002) and llava.fetched == pytest.approx(14.1e9, rel=0.003)
    assert llava.prompt_flop(70) == pytest.approx(8.4e12, rel=0.03)
    assert llava.bytes_held(4, 2) == pytest.approx(4.5e9, rel=0.02) and llava.bytes_held(None, 2) == 2 * llava.weights
    assert llava.tower_tokens == 577 and llava.picture_tokens == 576 and llava.dim == 1024
    assert smol.tower_flop == pytest.approx(214e9, rel=0.01) and smol.picture_tokens == 64
    assert onevision.weights == pytest.approx(0.89e9, rel=0.01)  # shared word embeddings count once
    assert tower_cost(public.CLIP_L).weights == pytest.approx(0.304e9, rel=0.002)


def test_a_towers_blocks_are_all_but_a_hundredth_of_it():
    cost = tower_cost(public.CLIP_B32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        cost.model(torch.empty(1, 3, cost.seen, cost.seen, device="meta"))
    assert cost.tower_flop == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_a_model_that_is_not_in_the_list_is_asked_for(tmp_path, monkeypatch):
    from transformers import CLIPConfig, SiglipConfig, SwinConfig

    small = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    seeing = {**small, "image_size": 32, "patch_size": 8}
    CLIPConfig(projection_dim=12, vision_config=seeing).save_pretrained(tmp_path / "clip")
    cost = tower_cost(f"hf:{tmp_path}/clip")
    assert (cost.dim, cost.projection_dim, cost.tower_tokens) == (24, 12, 17) and cost.fetched == 2 * cost.weights
    both = SiglipConfig(vision_config=seeing, text_config=small)
    both.save_pretrained(tmp_path / "siglip")
    cost = tower_cost(f"hf:{tmp_path}/siglip")  # a tower beside texts, and no VLM
    assert not cost.speaks and cost.tower_flop > 0 and cost.width("projection") == cost.dim == 24
    SwinConfig(patch_size=(4, 4)).save_pretrained(tmp_path / "swin")
    with pytest.raises(UserError, match="without square patches"):
        tower_cost(f"hf:{tmp_path}/swin")


def test_the_pocket_models_are_counted_on_themselves():
    tower, vlm = tower_cost("pocket"), vlm_cost("pocket")
    assert tower.dim == 128 and tower.width("projection") == tower.projection_dim and tower.fetched == vlm.fetched == 0
    assert vlm.weights == sum(w.numel() for w in vlm.model.parameters()) > 1e6


# ---- pictures and prompts --------------------------------------------------------------------------------------------


def test_pictures_are_counted_as_they_are_loaded():
    assert sum(sample.PER_SPECIES.values()) == 10
    assert {split: len(range(10)[part]) for split, part in sample.SPLITS.items()} == sample.PER_SPECIES
    assert counted("pocket:40:1").number == len(load_pictures("pocket:40:1"))
    assert counted("inat2021-sample:300:train").number == 1800 and counted("inat2021-sample:300:test:50").number == 100
    assert counted("imagenet:imagenet/val").number == 50_000 and not counted("imagenet:imagenet/val").fetched


def test_pictures_that_no_name_counts_are_one_sentence():
    assert counted("pocket").number == len(load_pictures("pocket"))
    assert counted("imagenet:/data/imagenet/val/").number == 50_000
    for source in ("folder:mine", "imagenet:/data/imagenet", "hf-datasets:a/b:train:50", "mine"):
        with pytest.raises(UserError, match=f"The name of {source} does not tell how many pictures it holds"):
            counted(source)


@pytest.mark.parametrize("change", [{"test_pictures": "folder:mine"}, {"train_pictures": "pocket"},
                                    {"tower": "open_clip:ViT-B-32/openai"}, {"steering_tokens": "all"}])  # fmt: skip
def test_what_cannot_be_counted_stops_no_notebook(change):
    for notebook in NOTEBOOKS:
        told = plan_sentence(load_profile("colab", **change), notebook)
        assert told.startswith(("By count this notebook", "What this notebook takes is not known beforehand ("))


def test_every_token_of_a_picture_is_a_row_and_must_be_stored():
    few, all_of_them = (load_profile("colab", steering_tokens=rule) for rule in ("random:1", "all"))
    rows = [rows_per_latent(profile)["steering"] for profile in (few, all_of_them)]
    assert rows[1] / rows[0] == pytest.approx(vlm_cost(few.vlm).tower_tokens)


@pytest.mark.parametrize(("kind", "strengths"), [("insertion", (1, 3)), ("suppression", (0, -1))])
def test_prompts_are_counted_as_the_study_makes_them(kind, strengths):
    """The tries of the study itself, on candidates that no two concepts share."""
    size = SteeringSize(candidates=2, repetitions=3)
    concepts = 4 if kind == "insertion" else 1
    candidates = pd.DataFrame([("order", f"o{c}", rank, 2 * c + rank) for c in range(concepts) for rank in range(2)],
                              columns=["about", "concept", "rank", "latent"])  # fmt: skip
    study = experiment.SteeringStudy(kind=kind, multiples=strengths, repetitions=size.repetitions)
    tries = experiment.make_tries(candidates, np.ones(200), np.arange(100, 200), study)
    different = len({attempt.intervention for attempt in tries})
    assert different <= _tries(size, concepts, len(strengths))
    assert different >= 0.8 * _tries(size, concepts, len(strengths))
    best = {(t.method, t.concept, t.repetition): t.intervention for t in tries}  # one for each choice
    assert len(set(best.values())) <= _settings(size, concepts) and study.random_latents == RANDOM_LATENTS


def test_what_the_model_is_asked_grows_with_what_is_looked_at():
    colab = load_profile("colab")
    more = load_profile("colab", steering={"test": 10})
    words = [sum(stage.word_steps for stage in stages(profile, on_gpu=True)) for profile in (colab, more)]
    assert words[1] > words[0] > 5000  # a thousand answers, none shorter than five tokens
    assert all(one.new_tokens == 0 for one in prompts(load_profile("pocket"))[1:-1])  # read for the first word alone
    assert set(values_of(experiment_asking("colab"), colab)) == {"group", "realm"}


def experiment_asking(name):
    from vlm_sae_lib.plan.prompts import asking_for

    return asking_for(load_profile(name))


# ---- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_keeps_its_promise(name):
    found = promised(name)
    assert broken(found) == [] and found.misfits() == []
    assert {stage.notebook for stage in stages(found.profile, on_gpu=True)} == set(NOTEBOOKS)


def test_a_broken_promise_is_told():
    heavy = plan(load_profile("colab", train_pictures="inat2021-sample:10000:train", expansions=(8,)), machine("t4"))
    told = " ".join(broken(heavy))
    assert re.search(r"promises 60 minutes and takes \d\d+", told) and "training rows for a latent (layers)" in told
    larger = plan(load_profile("colab", vlm_bits=None), replace(machine("t4"), gpu_gib=12.0))
    assert "GiB of GPU memory" in " ".join(larger.misfits()) and "vlm_bits" in " ".join(larger.misfits())
    assert broken(plan(load_profile("colab"), machine("a100"))) == []  # it promised nothing of another machine


def test_what_is_too_large_for_a_disk_or_a_host_is_told():
    small = replace(machine("runner"), disk_gb=8, host_gib=3)
    told = " ".join(plan(load_profile("light"), small).misfits())
    assert "GB of disk" in told and "HF_HOME" in told and "host memory" in told


def test_the_vlm_is_chosen_by_what_the_plan_says_it_needs():
    """``vlm_gpu_gib`` is the memory of the weights, the SAE, and a handful of prompts (``vlms.choice``)."""
    for name in ("colab", "paper"):
        profile = load_profile(name)
        gib = profile.vlm_gpu_gib
        assert plan(profile, replace(machine("a100"), gpu_gib=gib), NOTEBOOKS[-1]).batch >= 4
        assert plan(profile, replace(machine("a100"), gpu_gib=gib - 4), NOTEBOOKS[-1]).batch <= 4
    assert load_profile("colab").vlm_gpu_gib < machine("t4").gpu_gib


def test_a_tree_to_learn_from_alone_is_scored_on_the_test_pictures():
    profile = load_profile("paper", taxonomy_test=None)
    read = [stage.key for stage in stages_of(profile, "04_taxonomy_alignment", True)]
    assert any(profile.test_pictures in key for key in read) and any(profile.taxonomy_train in key for key in read)


def test_what_was_made_before_is_not_made_again():
    profile = load_profile("colab")
    alone = [len(stages_of(profile, notebook, True)) for notebook in NOTEBOOKS]
    together = stages(profile, True)
    assert len(together) < sum(alone) and len({stage.key for stage in together}) == len(together)
    assert sum(one.fetch_bytes for one in together) == 8.4e9  # the archive once
    assert sum(one.fetch_bytes for one in stages_of(profile, NOTEBOOKS[-1], True)) == 8.4e9


def test_a_gpu_takes_more_prompts_at_once_the_more_memory_it_has():
    llava = load_profile("colab")
    batches = [plan(llava, replace(machine("t4"), gpu_gib=gib), NOTEBOOKS[-1]).batch for gib in (6, 10, 14.5, 24)]
    assert batches == sorted(batches) and batches[0] < batches[-1]
    found = plan(llava, machine("t4"))
    assert found.gpu_gib * GIB < 13 * GB


def test_each_further_word_waits_for_its_kernels():
    profile = load_profile("pocket")
    slow, quick = (_seconds(replace(machine("two_cores"), word_seconds=s), "captions for the page") for s in (0.1, 0.0))
    words = sum(one.sequences * one.new_tokens for one in prompts(profile) if one.part == "captions for the page")
    assert slow - quick == pytest.approx(0.1 * words / AT_MOST)


def test_captions_that_are_asked_one_by_one_share_no_words():
    first, _ = (one for one in prompts(load_profile("pocket")) if one.part == "a first look")
    slow, quick = (_seconds(replace(machine("two_cores"), word_seconds=s), "a first look") for s in (0.1, 0.0))
    assert slow - quick == pytest.approx(0.1 * first.sequences * first.new_tokens)


def _seconds(where, part):
    found = plan(load_profile("pocket"), where).estimates
    return sum(one.seconds for one in found if one.stage.part == f"prompts: {part}")


def test_the_batch_that_is_planned_for_a_t4_is_the_one_that_the_sweep_takes_there(monkeypatch):
    """The sweep's own arithmetic, on the real LLaVA's configuration and what the plan leaves free of 15 GB."""
    profile, t4, cost = load_profile("colab"), machine("t4"), vlm_cost(public.LLAVA)
    bench = object.__new__(SteeringBench)
    bench.tokens = cost.tower_tokens
    bench.vlm = SimpleNamespace(model=SimpleNamespace(config=cost.config), dim=cost.dim)
    planned = [one for one in plan(profile, t4, NOTEBOOKS[-1]).estimates if one.batch]
    assert len(planned) > 8
    for one in planned:
        free = int((t4.gpu_gib - one.stage.held_bytes / GIB - CONTEXT_GIB) * GIB)
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        board = SimpleNamespace(text=torch.empty(one.stage.prompt[1], 1, dtype=torch.float16), ends=[0])
        assert memory.Room(torch.device("cpu")).holds(bench._cost(board), at_most=AT_MOST) == one.batch < AT_MOST
        assert one.gpu_gib * GIB < 13 * GB


# ---- the command and the sentence ------------------------------------------------------------------------------------


def test_the_command_prints_every_profile(capsys):
    assert main(["plan"]) == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^{name} on .*", said, re.MULTILINE) for name in PROFILES)
    assert said.count("together") == len(PROFILES) and "\x1b" not in said and "broken" not in said


def test_a_plan_of_one_notebook_has_only_its_stages(capsys):
    assert main(["plan", "--profile", "colab", "--machine", "a100", "--only", "05"]) == 0
    said = capsys.readouterr().out
    assert "05_llava_steering" in said and "02_sae_training" not in said and "one A100" in said


@pytest.mark.parametrize("options", [["--profile", "none"], ["--machine", "t5"], ["--only", "07"]])
def test_what_cannot_be_planned_is_one_sentence(options, capsys):
    assert main(["plan", *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1


def test_what_does_not_fit_stands_last_and_red_on_a_terminal(monkeypatch):
    tight = replace(machine("t4"), gpu_gib=5.0)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31mDoes not fit" in plan_text(load_profile("colab"), tight)


def test_a_notebook_says_in_one_sentence_what_it_will_take():
    said = plan_sentence(load_profile("colab"), NOTEBOOKS[-1])
    assert re.search(r"23\.5 GB to fetch, .* quadrillion operations, .* GiB of GPU memory, and about \d+ minutes", said)
    assert "nothing to fetch" in plan_sentence(load_profile("pocket"), NOTEBOOKS[0])
    assert plan_sentence(load_profile("pocket"), NOTEBOOKS[0]) == plan_sentence(load_profile("pocket"), NOTEBOOKS[0])


def test_the_readme_promises_what_the_plan_says():
    readme = " ".join((paths.root() / "README.md").read_text(encoding="utf-8").split())
    whole, alone = promised("colab"), plan(load_profile("colab"), machine("t4"), NOTEBOOKS[-1])
    light, paper = promised("light"), promised("paper")
    alone_minutes, minutes = (5 * round(found.minutes / 5) for found in (alone, whole))
    assert f"alone takes about {alone_minutes} minutes there, all five about {minutes};" in readme
    assert f"It fetches {alone.fetched_gb:.0f} GB:" in readme and f"{whole.fetched_gb:.0f} GB in all" in readme
    assert f"four cores, 16 GB, {light.minutes / 60:.1f} hours" in readme
    assert f"one GPU of {PROMISES['paper'].gpu_gb} GB, {paper.minutes / 60:.0f} hours" in readme
    assert set(PROMISES) == set(PROFILES) and {promise.machine for promise in PROMISES.values()} == set(MACHINES)
