"""How loops share the cores: every row once, and no second thread for what is not worth it."""

import threading

import pytest
import torch

from vlm_sae_lib.machine import compiled


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def parts_of(count: int, **options) -> list[tuple[int, int]]:
    parts, lock = [], threading.Lock()

    def loop(start: int, stop: int, word: str) -> None:
        assert word == "given"
        with lock:
            parts.append((start, stop))

    compiled.in_threads(loop, count, "given", **options)
    return sorted(parts)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 129, 1000])
@pytest.mark.parametrize("reads", [None, 0, compiled.WORTH_HANDING_OVER, 10**9])
def test_every_row_belongs_to_one_part(count, reads):
    parts = parts_of(count, reads=reads)
    assert [row for start, stop in parts for row in range(start, stop)] == list(range(count))


def test_a_part_is_as_long_and_as_dear_as_it_must_be():
    worth = compiled.WORTH_HANDING_OVER
    assert len(parts_of(10_000)) == 2 * compiled.PARTS_PER_THREAD
    assert len(parts_of(10_000, reads=2 * worth - 1)) == 1
    assert len(parts_of(10_000, reads=3 * worth)) == 3
    assert len(parts_of(200, reads=100 * worth)) == 3
    assert len(parts_of(3, reads=100 * worth, at_least=1)) == 3


def test_what_goes_wrong_in_a_part_is_not_lost():
    def loop(start: int, stop: int) -> None:
        if start > 0:
            raise ValueError(start)

    with pytest.raises(ValueError):
        compiled.in_threads(loop, 1000)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 30])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_parts_of_a_product_do_not_hang_on_how_many_threads_there_are(count, threads):
    torch.set_num_threads(threads)
    parts, inside = [], []

    def work(start, stop):
        parts.append((start, stop))
        inside.append((torch.get_num_threads(), torch.is_grad_enabled()))

    compiled.in_parts(work, count, 8)
    assert sorted(parts) == [(start, min(start + 8, count)) for start in range(0, count, 8)]
    assert set(inside) <= {(1, False)} and torch.get_num_threads() == threads


def test_what_goes_wrong_in_a_product_waits_for_the_others():
    done = []

    def work(start, stop):
        if start == 0:
            raise ValueError("the first")
        done.append(start)

    with pytest.raises(ValueError, match="the first"):
        compiled.in_parts(work, 40, 8)
    assert set(done) == {8, 16, 24, 32} and torch.get_num_threads() == 2
