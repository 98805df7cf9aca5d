"""A device that is not there is one sentence, whoever is asked to use it."""

import numpy as np
import pytest
import torch
from absent_device import ABSENT
from random_saes import make_sae

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine import devices
from vlm_sae_lib.machine.devices import choose_device, free_bytes
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.vlms import load_vlm


@pytest.mark.parametrize("name", [ABSENT, "cuda:77", "gpu", "xla", "meta", "", "cpu:x", 99])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(UserError, match=f"There is no device '{name}' here: leave it out, or name cpu"):
        choose_device(name)


def test_left_out_it_is_the_best_there_is():
    best = "cuda" if torch.cuda.is_available() else "cpu"
    assert {choose_device().type, choose_device("auto").type} == {best}
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")


def test_a_device_that_is_there_and_does_not_work_is_said_to_be(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="no device 'cuda:2' here: leave it out, or name cpu or cuda:0 or cuda:1"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch, "zeros", full)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UserError, match=rf"'{name}' does not work \(CUDA out of memory\)"):
            choose_device(name)


def test_whoever_is_asked_says_the_same(tmp_path):
    sae = make_sae("top_k")
    sae.save(tmp_path / "sae")
    for ask in (
        lambda: train_sae(np.ones((4, 3)), SaeConfig(k=1, steps=2), device=ABSENT),
        lambda: SparseAutoencoder.load(tmp_path / "sae", device=ABSENT),
        lambda: sae.to(ABSENT),
        lambda: load_tower("pocket", device=ABSENT),
        lambda: load_vlm("pocket", device=ABSENT),
    ):
        with pytest.raises(UserError, match=f"There is no device '{ABSENT}' here"):
            ask()


def test_what_a_gpu_has_and_what_the_allocator_holds_are_free(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: asked.append(device) or (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 400)
    second = torch.device("cuda:1")
    assert free_bytes(second) == 1300 and asked == [second]
    assert free_bytes(torch.device("meta")) is None


def test_what_a_host_has_is_free_within_its_container(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemAvailable:    500 kB\n")
    monkeypatch.setattr(devices, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(devices, "CONTAINERS", ((f"{tmp_path}/memory.max", "memory.current", "inactive_file"),))
    assert free_bytes(torch.device("cpu")) == 512_000
    (tmp_path / "memory.current").write_text("90000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(torch.device("cpu")) == 512_000
    (tmp_path / "memory.max").write_text("100000\n")
    assert free_bytes(torch.device("cpu")) == 10_000
    (tmp_path / "memory.stat").write_text("active_file 7\ninactive_file 20000\n")
    assert free_bytes(torch.device("cpu")) == 30_000
    monkeypatch.setattr(devices, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(devices, "CONTAINERS", ())
    assert free_bytes(torch.device("cpu")) is None
