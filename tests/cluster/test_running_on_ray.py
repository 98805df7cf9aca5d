"""Notebooks and experiments side by side by Ray's workers, with what they raise."""

import time

import pytest

from vlm_sae_lib.cluster.connection import connected
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.taking_turns import in_turn

pytest.importorskip("ray", reason="Ray is not installed: make cluster")


class Broken(RuntimeError):
    pass


def work(name):
    if name == "wrong":
        raise UserError("mend it")
    if name == "broken":
        raise Broken("its own words")
    time.sleep(0.3)
    return float(len(name))


def test_each_is_done_once_and_told():
    from vlm_sae_lib.cluster.running import each

    names = ["a", "bb", "ccc"]
    here, there = [], []
    with connected(num_cpus=2):
        done = dict(each(work, names, there.append))
        assert done == dict(in_turn(work, names, here.append)) == {"a": 1.0, "bb": 2.0, "ccc": 3.0} and here == there
    for name, error, words in (("wrong", UserError, "^mend it$"), ("broken", Broken, "^its own words$")):
        with pytest.raises(error, match=words), connected(num_cpus=2):
            list(each(work, [name], there.append))
