"""The simulation is the arithmetic where that is known, and says what sets the pace."""

import pytest

from vlm_sae_lib.plan.grid import COLLECTED, SCORED, TRAINED, core_of, gpu_of, grid_hours, hours, steps
from vlm_sae_lib.plan.machines import machine
from vlm_sae_lib.plan.scaling import Rates, most_workers, seconds


@pytest.mark.parametrize(("parts", "workers", "rounds"), [(10, 1, 10), (10, 2, 5), (10, 3, 4), (10, 64, 1), (1, 8, 1)])
def test_equal_parts_take_rounds(parts, workers, rounds):
    assert seconds(parts, workers, Rates(2.0)) == pytest.approx(2.0 * rounds)
    assert seconds(parts, workers, Rates(1.5, hand_over=0.5)) == pytest.approx(2.0 * rounds)


def test_each_worker_s_first_part_takes_longer():
    assert seconds(10, 2, Rates(2.0, first=3.0)) == pytest.approx(3.0 + 5 * 2.0)
    assert seconds(1, 8, Rates(2.0, first=3.0)) == pytest.approx(5.0)


def test_the_slowest_of_workers_process_and_disks_sets_the_pace():
    assert seconds(1000, 100, Rates(1.0, enter=0.5)) == pytest.approx(1.0 + 1000 * 0.5)
    disks = Rates(1.0, part_bytes=2e9, shared_bytes_per_second=1e9)
    assert seconds(1000, 100, disks) == pytest.approx(2000, rel=0.01)
    assert seconds(1000, 1, Rates(3.0, part_bytes=2e9, shared_bytes_per_second=1e9)) == pytest.approx(3000, rel=0.01)


def test_no_worker_is_ever_idle_without_need():
    for workers in range(1, 40):
        taken, busy = seconds(97, workers, Rates(1.0)), 97.0 / workers
        assert busy * 0.95 <= taken <= busy + 1


def test_where_it_stops_scaling():
    assert most_workers(1000, Rates(1.0, enter=0.1)) in (8, 16)
    assert most_workers(64, Rates(1.0)) == 64


def test_the_grid_is_counted_as_its_files_name_it():
    gpu = gpu_of(machine("a100"))
    found = steps(gpu)
    assert [sum(step.stage == stage for step in found) for stage in (COLLECTED, TRAINED, SCORED)] == [6, 5, 75]
    assert sum(step.number for step in found if step.stage == TRAINED) == 75
    assert sum(step.number for step in steps(gpu, crossed=True) if step.stage == TRAINED) == 240
    pictures = 1_281_167
    assert found[1].number == 1252 and found[1].stored == pictures * 1024 * 4
    collected = [step.flop for step in found[1:] if step.stage == COLLECTED]
    assert collected == sorted(collected), "the deeper a hook point lies, the more of the tower is computed"


def test_more_workers_are_never_slower_and_the_widest_autoencoder_is_the_floor():
    gpu, ray = gpu_of(machine("a100")), Rates(0, hand_over=0.01, enter=0.003)
    taken = [grid_hours(workers, gpu, ray) for workers in (1, 8, 64, 512)]
    totals = [sum(one.values()) for one in taken]
    assert totals == sorted(totals, reverse=True)
    widest = max(max(step.parts) for step in steps(gpu) if step.stage == TRAINED) / 3600
    assert taken[-1][TRAINED] == pytest.approx(widest, abs=0.01) and taken[0][TRAINED] > 10 * widest
    one = steps(core_of(machine("two_cores")))[1]
    assert hours(one, 2, core_of(machine("two_cores")), ray) < hours(one, 1, core_of(machine("two_cores")), ray)
