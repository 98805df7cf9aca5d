"""What the benchmarks time on the other side computes the same, or its time would say nothing."""

import gc
import importlib.util
import mmap
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from benchmarks import book, floors, gpu, growth, here, instructions, quality, scoring, similarity, timing, training
from benchmarks.ceilings import Ceilings
from benchmarks.quality_data import World, activations
from benchmarks.quality_verdict import lines, verdicts
from benchmarks.random_llava import random_llava
from benchmarks.timing import Row, peak_gib, side_by_side
from vlm_sae_lib import paths, pocket_pictures
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_json
from vlm_sae_lib.sae import SaeConfig
from vlm_sae_lib.sae.kernels import coarse
from vlm_sae_lib.sae.kernels.coarse import TILE
from vlm_sae_lib.scores.monosemanticity import monosemanticity_score
from vlm_sae_lib.scores.uniqueness import uniqueness
from vlm_sae_lib.steering.intervention import steered
from vlm_sae_lib.steering.sweep import Intervention, SteeringBench


def test_the_pair_loop_and_the_dense_form_are_the_score():
    code, unit = scoring.sparse_code(230, 40, 4), scoring.unit_rows(230, 12)
    ours = monosemanticity_score(code, unit)
    dense, units = torch.from_numpy(code.toarray()), torch.from_numpy(unit)
    total, weight = scoring.pair_loop(dense, units, len(code.toarray()))
    np.testing.assert_allclose((total / weight).numpy(), ours, atol=1e-4)
    np.testing.assert_allclose(scoring.dense_linear(dense, units).numpy(), ours, atol=1e-3)


def test_a_code_has_k_latents_a_picture_at_most_and_frequent_ones_come_first():
    code = scoring.sparse_code(500, 60, 5)
    assert code.shape == (500, 60) and np.diff(code.indptr).max() <= 5 and code.data.min() > 0
    rates = np.diff(code.tocsc().indptr)
    assert rates[:10].sum() > 2 * rates[-10:].sum()


def test_sets_count_the_pairs_that_we_count():
    top = np.random.default_rng(0).integers(200, size=(50, 16))
    assert similarity.by_sets(top) == uniqueness(top).pairs_above(0)


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(timing, "TURN", 0)


def test_both_sides_run_in_turns_and_a_part_is_scaled():
    calls = []
    ours, theirs = side_by_side(lambda: calls.append("ours"), lambda: calls.append("theirs"), runs=3, scale=1000)
    assert calls == ["ours", "theirs"] * 4 and len(ours) == len(theirs) == 3
    row = Row("s", "w", [1.0, 2.0, 4.0], "peer", [10.0, 10.0, 10.0], wanted=4)
    found = row.as_dict()
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == pytest.approx((5, 2.5, 10))
    assert "× 5.0 [2.5, 10.0]" in str(row) and "ratio" not in Row("s", "w", [1.0]).as_dict()


def test_what_is_short_is_done_again_until_its_turn_is_over(monkeypatch):
    monkeypatch.setattr(timing, "TURN", 0.1)
    calls = []
    means, _ = side_by_side(lambda: calls.append(time.sleep(0.01)), runs=2)
    assert 1 + 2 * 2 <= len(calls) <= 1 + 2 * 10 and min(means) >= 0.01


def test_the_peak_is_seen_while_it_lasts():
    def work():
        held = mmap.mmap(-1, 2**28)  # the allocator may have as much left from other tests
        np.frombuffer(held, dtype=np.uint8)[:] = 1
        time.sleep(0.05)

    assert 0.2 < peak_gib(work) < 0.4  # 0.25 GiB


CEILINGS = Ceilings(fp32=1e11, bf16=4e11, int8=8e11, read=2e10, copy=3e10, cache=1e11, cache_bytes=2**25)


def test_a_floor_is_the_longer_of_products_and_bytes_phase_by_phase():
    products, bytes_ = floors.Phase("a", fp32=1e11, streamed=3e9), floors.Phase("b", bf16=4e10, streamed=3e10)
    assert floors.seconds([products, bytes_], CEILINGS) == pytest.approx(1 + 1)
    as_written = floors.facts([products, bytes_])
    assert floors.with_floor(as_written, CEILINGS)["floor_seconds"] == pytest.approx(2)
    assert floors.with_floor({"goal_seconds": 2}, CEILINGS) == {"goal_seconds": 2}


def test_what_the_cache_holds_is_gathered_at_its_rate_and_the_rest_at_memory_s():
    assert floors.gathering(2**20, CEILINGS) == pytest.approx(1e11)
    assert floors.gathering(2**26, CEILINGS) == pytest.approx(1 / (0.5 / 1e11 + 0.5 / 3e10))
    assert 3e10 < floors.gathering(2**40, CEILINGS) < 3.01e10


def test_a_step_has_the_floor_of_its_formula_and_dead_latents_add_to_it():
    phases = {phase.name: phase for phase in floors.training_step(4096, 1024, 8192, 20)}
    assert phases["encode"].int8 == 2 * 4096 * 8192 * 1024
    sums = phases.pop("candidates")
    assert sums.gathered == 2 * 4096 * 8192 * 4 and sums.table == 4 * TILE
    assert sum(phase.gathered for phase in phases.values()) == 4 * 4096 * 20 * 1024 * 4
    assert phases["Adam"].streamed == 7 * 2 * 8192 * 1024 * 4
    alive, dead = (floors.seconds(floors.training_step(4096, 1024, 8192, 20, dead=n), CEILINGS) for n in (0, 819))
    assert 0 < alive < dead


def test_growth_goes_over_two_decades_with_a_floor_at_each_size():
    for sizes in (growth.SIZES, growth.SIZES_OF_STEP):
        assert set(sizes) == {"pictures", "latents", "k", "dim"}
        assert all(of[-1] >= 100 * of[0] for of in sizes.values())
    small = {"pictures": 40, "latents": 30, "k": 3, "dim": 8}
    row = growth.line("statistics", "k", (1, 3), small, growth._statistics, growth._floor_of_statistics)
    found = floors.with_floor(row.facts, CEILINGS)
    assert len(found["seconds"]) == len(found["floors"]) == 2 and all(floor > 0 for floor in found["floors"])
    step = growth._training(2 * growth.BATCH, 32, 3, 8)
    step()


def page():
    path = paths.root() / "book" / "_ext" / "benchmark_page.py"
    spec = importlib.util.spec_from_file_location("benchmark_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_puts_what_was_held_to_older_instructions_beside_the_rest():
    drawn = page()
    row = Row("training", "a step", [1.0], "peer", [8.0], 6).as_dict()
    assert drawn.older_cells(row) == ["1 s", "8 [8, 8] (6 ×)"] and drawn.older_cells(None) == ["–", "–"]
    found = {"rows": {"training": [row, row | {"wanted": None}, row | {"ratio": 5.0}]}}
    assert drawn.goals_sentence(found) == "2 goals that were set before, in brackets below, 1 are reached."


def test_the_notebooks_times_are_read_and_shown(tmp_path):
    for name, seconds in (("01_first", 83.1), ("02_second", 75.0)):
        made = {"inputs": {}, "output": "", "seconds": seconds, "processor_seconds": seconds / 2}
        write_json(tmp_path / "pocket" / "notebooks" / f"{name}.made.json", made)
    each = book.seconds_of(tmp_path)
    assert each == {"01_first": {"seconds": 83.1, "processor_seconds": 41.55},
                    "02_second": {"seconds": 75.0, "processor_seconds": 37.5}}  # fmt: skip
    taken = {"free": 100.0, "avx2": 130.0, "busy": 180.0}
    ways = {way: {"each": each, "together": seconds} for way, seconds in taken.items()}
    lines = page().book_lines("2026-01-01", {"machine": {"cores": 2, "capability": "AVX2"}, "site": 80.0, **ways})
    assert lines[2] == "| 1 " + 3 * "| 83 s, 42 s of a core " + "|"
    assert "`make book` takes 3.0 minutes, and 3.5 with AVX2 alone" in lines[-1] and "1.80 times as long" in lines[-1]


def test_the_rows_for_the_machine_at_hand_are_called_as_on_the_page(monkeypatch):
    for size, small in (("SMALLER", training.Size(8, 16)), ("VIT_L", training.Size(16, 32))):
        monkeypatch.setattr(training, size, small)
    monkeypatch.setattr(training, "K", 2)
    monkeypatch.setattr(here.scoring, "MIDDLE", (40, 30, 8, 3))
    monkeypatch.setattr(training, "step", lambda *which: Row("training", training.work(*which), [1.0]))
    monkeypatch.setattr(training, "in_a_fresh_process", lambda kind, library: 1.0)
    on_the_page = [row.work for row in training.run()]
    names = [work for work, _ in here.rows()]
    assert len(names) == 5 and set(names[:4]) <= set(on_the_page)


SMALL = gpu.Scale(training.Size(16, 24, 4), 300, 64, 24, side=28, layers=4, width=256, neurons=2, steered=2)


def test_what_a_gpu_is_timed_on_runs_and_is_the_same_work_on_both_sides(monkeypatch):
    monkeypatch.setattr(training, "their_steps", lambda *_: lambda: None)  # its library is in another environment
    monkeypatch.setattr(gc, "collect", lambda: 0)  # of all that the tests hold it takes a second for each timed run
    rows = [*gpu.training_rows(SMALL, "cpu"), gpu.statistics_row(SMALL, "cpu"), gpu.sweep_row(SMALL, "cpu")]
    assert len(rows) == 6 and all(min(row.ours) > 0 for row in rows)
    assert all(row.facts["share_of_bf16"] > 0 for row in rows[:4]) and rows[0].wanted == gpu.WANTED
    vlm = random_llava(28, 4, 256, "cpu")
    sae, images, prompt = gpu.random_sae(vlm.dim, 8 * vlm.dim), pocket_pictures(2, 5).images, "what is this ?"
    found = SteeringBench(vlm, sae, images).logits(Intervention(3, 4.0), [prompt])[:, 0]
    with steered(vlm, sae, {3: 4.0}):
        expected = torch.stack([vlm.logits(image, prompt) for image in images])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_without_a_gpu_its_benchmark_says_so(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU here"):
        gpu.main()


def test_one_switch_holds_a_process_to_older_instructions():
    said = subprocess.run(
        [sys.executable, "-c", "from benchmarks.instructions import like_here; print(like_here())"],
        env=instructions.held_to(instructions.AVX2), cwd=paths.root(), check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert said.stdout.strip() == instructions.AVX2 or not coarse.quick()
    assert instructions.held_to(instructions.OWN) == dict(os.environ)


def test_the_few_rows_for_a_readers_machine_are_rows_of_the_page():
    published = here.published_seconds(instructions.OWN)
    for share in (0.0, 0.1):
        assert published[training.work("matryoshka_batch_top_k", share, training.VIT_L)] > 0
    assert published[f"MS, {scoring.size_of(*scoring.MIDDLE)}"] > 0


def run_of(library: str, seed: int, r2: float, dead: float) -> dict:
    return {"library": library, "seed": seed, "r2": r2, "dead": dead, "l0": 20.0, "silent_in_test": 0.1, "seconds": 1.0}


@pytest.fixture
def runs() -> list[dict]:
    theirs = [run_of("theirs", seed, 0.9, dead) for seed, dead in enumerate((0.10, 0.12, 0.11))]
    return theirs + [run_of("ours", seed, 0.902, 0.115) for seed in (2, 0, 1)]


def test_the_verdict_on_quality_holds_each_goal_against_its_bound(runs):
    found = verdicts(runs)
    assert [check["passed"] for check in found["checks"]] == [True, True, True]
    assert found["differences"]["r2"] == pytest.approx(0.002) and found["dead_spread"] == pytest.approx(0.02)
    for change in ({"dead": 0.04}, {"r2": 0.88}, {"dead": 0.5}):
        worse = [run | change if run["library"] == "ours" else run for run in runs]
        failed = [line for line in lines("batch_top_k", verdicts(worse)) if "FAILED" in line]
        assert failed, change
    with pytest.raises(ValueError, match="same seeds"):
        verdicts(runs[:-1])


def test_the_page_shows_the_newest_quality_and_does_without(tmp_path, runs):
    drawn = page()
    for name in ("2026-01-01", "2026-01-02", "quality-2026-01-03"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert drawn.newest_file(tmp_path).stem == "2026-01-02"
    assert drawn.newest_file(tmp_path, "quality-").stem == "quality-2026-01-03"
    assert drawn.newest_file(tmp_path / "nowhere", "quality-") is None
    data = {"dim": 256, "features": 6144, "train": 1000, "test": 100}
    found = {"recipe": quality.RECIPE, "data": data, "kinds": {"batch_top_k": verdicts(runs)}}
    text = "\n".join(drawn.quality_lines("2026-01-03", found))
    assert "0.9020 (0.9020, 0.9020, 0.9020)" in text and "+0.0020" in text and text.count("reached") == 3
    assert "missed" not in text


def test_a_row_is_drawn_with_its_floor_and_unit_and_old_rows_without():
    drawn = page()
    row = Row("s", "w", [0.5], "peer", [2.0], facts={"floor_seconds": 0.1}, unit="GiB").as_dict()
    assert drawn.cells(row)[:3] == ["w; beside it *peer*", "0.5 GiB", "2 GiB"]
    assert drawn.floor_cell(row) == "100 ms (5 ×)"
    old = {name: value for name, value in row.items() if name != "unit"} | {"facts": {}}
    assert drawn.cells(old)[1] == "500 ms" and drawn.floor_cell(old) == "–"
    assert "131" not in drawn.ceilings_sentence(None) and "100 Gflop/s" in drawn.ceilings_sentence(CEILINGS.as_dict())


def test_growth_is_drawn_with_and_without_floors(tmp_path):
    facts = {"sizes": [1, 10], "seconds": [0.1, 0.2], "exponent": 0.3}
    rows = [{"work": "a against b, 1 to 10", "facts": facts | more} for more in ({}, {"floors": [0.01, 0.02]})]
    page().draw(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_data_of_the_quality_run_are_one_world_seen_through_other_samples():
    world = World(dim=16, features=100, active=4)
    train, test = activations(world, 2000, 0), activations(world, 2000, 1)
    assert torch.equal(train, activations(world, 2000, 0)) and not torch.equal(train, test)
    assert float((train.mean(0) - test.mean(0)).norm() / train.mean(0).norm()) < 0.1


def test_a_quality_run_is_trained_and_tested_by_the_inference_rule():
    world = World(dim=16, features=100, active=4)
    train, test = activations(world, 1000, 0), activations(world, 300, 1)
    config = SaeConfig(kind="batch_top_k", expansion=4, k=4, steps=30, batch_size=100, lr=1e-2, dead_window=500, seed=1)
    order = quality.batches(len(train), config)
    assert order.shape == (30, 100) and torch.equal(order[:10].flatten().sort().values, torch.arange(1000))
    found = quality.one(config, "ours", train, test)
    assert 0 < found["r2"] < 1 and 0 < found["l0"] <= 64 and 0 <= found["dead"] <= 1 and found["threshold"] > 0
