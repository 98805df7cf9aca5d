"""Pictures from worker processes are those from threads, in the same order, with the same bad files named."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from tiny_towers import noise

from vlm_sae_lib.pictures import decoding, load_pictures

N = 24


@pytest.fixture
def folder(tmp_path):
    for i, picture in enumerate(noise(N)):
        picture.save(tmp_path / f"{i:02d}.jpg")
    whole = (tmp_path / "05.jpg").read_bytes()
    (tmp_path / "05.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "17.jpg").write_bytes(b"")
    return tmp_path


def closure():
    """A transform that no other process could be sent, and that refuses one picture."""
    scale, refused = torch.tensor(1 / 255), noise(N)[3].size

    def transform(picture):
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1) * scale
        if picture.size == refused and float(pixels[0, 0, 0]) < 0.02:
            raise ZeroDivisionError
        return pixels

    return transform


def read(folder, *given):
    source = load_pictures(folder)
    return [(i, picture) for i, picture in source.iterate(*given)], source.unreadable


@pytest.mark.parametrize("first", [0, 6])
@pytest.mark.parametrize("transform", [None, closure()], ids=["pictures", "a closure's tensors"])
def test_processes_give_what_threads_give(folder, first, transform):
    threads, bad = read(folder, first, transform, 0)
    processes, bad_too = read(folder, first, transform, 2)
    assert [i for i, _ in processes] == [i for i, _ in threads] and bad_too == bad
    assert {i for i, *_ in bad} >= {i for i in (5, 17) if i >= first}
    for (_, a), (_, b) in zip(threads, processes, strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_bfloat16_and_other_things_come_through(folder):
    for transform in (lambda p: torch.full((2,), p.size[0]).bfloat16(), lambda p: {"size": p.size, "x": [None]}):
        threads, processes = read(folder, 20, transform, 0)[0], read(folder, 20, transform, 2)[0]
        assert str(threads) == str(processes) and len(threads) == 4


def test_they_really_are_other_processes_and_end_with_the_loop(folder):
    source = load_pictures(folder)
    pids = {pid for _, pid in source.iterate(0, lambda _: os.getpid(), workers=2)}
    assert len(pids) == 2 and os.getpid() not in pids
    for _ in source.iterate(0, workers=2):
        break
    deadline = time.time() + 20
    while multiprocessing.active_children() and time.time() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_they_draw_nothing_from_the_callers_random_numbers(folder):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    read(folder, 0, None, 2)
    assert torch.equal(torch.rand(2), expected)


def test_where_a_process_is_killed_threads_do_the_rest(folder):
    here = os.getpid()

    def transform(picture):
        if os.getpid() != here and picture == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return picture.size

    last = load_pictures(folder).picture(20)
    found, bad = read(folder, 0, transform, 2)
    assert [i for i, _ in found] == [i for i in range(N) if i not in (5, 17)] and [i for i, *_ in bad] == [5, 17]


def test_processes_are_taken_for_many_files_on_many_cores(folder, monkeypatch):
    files = [item.picture for item in load_pictures(folder)._items]
    monkeypatch.setattr(decoding, "ENOUGH_FILES", N)
    monkeypatch.setattr(decoding, "cores", lambda: 4)
    monkeypatch.setattr(decoding, "MOST_WORKERS", 2)
    assert decoding.workers_for(files) == 2 and decoding.workers_for(files[1:]) == 0
    assert decoding.workers_for(noise(N)) == 0
    pids = {pid for _, pid in load_pictures(folder).iterate(0, lambda _: os.getpid())}
    assert os.getpid() not in pids
    monkeypatch.setattr(decoding, "cores", lambda: 3)
    assert decoding.workers_for(files) == 0
    assert [i for i, _ in load_pictures(folder).iterate(22, workers=2)] == [22, 23]
    assert list(load_pictures(folder).iterate(N, workers=2)) == []
