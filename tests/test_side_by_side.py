"""Work side by side: in processes of one thread, which end with the one that called them."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.side_by_side import ONE_THREAD, side_by_side


def of_a_process(name):
    """Its id, and how many threads its libraries take."""
    import numba
    import torch

    assert {what: os.environ[what] for what in ONE_THREAD} == ONE_THREAD
    return os.getpid() + (torch.get_num_threads() * numba.get_num_threads()) / 100


def a_while(name):
    time.sleep(float(name))
    return float(name)


def ends(name):
    if name == "wrong":
        raise UserError("pears are out.")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def breaks(name):
    raise KeyError("of its own")


def run(do, names, processes=2):
    told = []
    return list(side_by_side(processes)(do, names, told.append)), told


def test_each_is_done_once_by_a_process_of_one_thread():
    before = dict(os.environ)
    done, told = run(of_a_process, ["a", "b", "c", "d"])
    assert sorted(name for name, _ in done) == ["a", "b", "c", "d"] and len(told) == 4
    pids = {int(found) for _, found in done}
    assert os.getpid() not in pids and len(pids) == 4
    assert {round(found % 1, 2) for _, found in done} == {0.01}
    assert dict(os.environ) == before


def test_no_more_at_once_than_asked_and_the_short_ones_do_not_wait():
    done, told = run(a_while, ["3", "0.1", "0.2"])
    assert [name for name, _ in done] == ["0.1", "0.2", "3"]
    assert [line.split()[0] for line in told] == ["3", "0.1", "0.2"]


def test_what_one_finds_wrong_ends_the_others():
    begun = time.monotonic()
    with pytest.raises(UserError, match="pears are out"):
        run(ends, ["long", "wrong"])
    assert time.monotonic() - begun < 120 and not _children()


def test_another_error_comes_with_the_lines_where_it_was_raised():
    with pytest.raises(RuntimeError, match="in the process of pear:(.|\n)*in breaks(.|\n)*KeyError: 'of its own'"):
        run(breaks, ["pear"])


def test_a_killed_process_is_told_in_a_sentence():
    with pytest.raises(UserError, match="was killed in which killed ran, most likely for want of memory"):
        run(ends, ["long", "killed"])
    assert not _children()


def test_none_outlives_a_killed_parent():
    code = "import test_side_by_side as t; list(t.side_by_side(2)(t.ends, ['long', 'longer'], print))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        while len(children := _children(parent.pid, "spawn_main")) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert len(gone) == 2 and not alive


def _children(pid=None, word="spawn_main"):
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if word in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found
