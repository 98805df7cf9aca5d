"""Training on bad numbers: it stops with a sentence that names the step, and what was good stays on the disk."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from bad_numbers import AROUND, NOT_FINITE, assert_same, refused
from safetensors.torch import load_file
from stores import make_store

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import KINDS, SaeConfig
from vlm_sae_lib.sae.rows import Rows
from vlm_sae_lib.sae.training import run, train_sae, train_saes
from vlm_sae_lib.sae.training.checkpoint import NAME

WHAT = "bad numbers and shapes"
SHORT = SaeConfig(expansion=2, k=2, steps=12, batch_size=8, lr=1e-2)
ROWS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)


def checkpoint_in(folder):
    return load_file(folder / NAME) if (folder / NAME).exists() else {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [1e300, 1e20])
def test_a_step_that_diverges_is_named_and_leaves_no_state_that_is_not_finite(kind, lr, tmp_path, tried):
    config = replace(SHORT, kind=kind, lr=lr)
    for every in (1, 12):
        train = partial(train_sae, ROWS, config, checkpoint_dir=tmp_path / "run", checkpoint_every=every)
        said = refused(train)
        assert said is None or "diverged at step" in said
        state = checkpoint_in(tmp_path / "run")
        assert all(torch.isfinite(tensor).all() for name, tensor in state.items() if "." not in name)
        assert refused(train) == said, "a second call ends as the first"
        tried(WHAT)
    assert lr < 1e300 or said, "nothing diverged: this test tests nothing"


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_row_of_a_large_store_that_is_not_finite_ends_the_run_at_its_step(value, tmp_path, monkeypatch, tried):
    monkeypatch.setattr(run, "Rows", partial(Rows, memory_limit=0))  # as a store that memory does not hold
    monkeypatch.setattr(run, "NORM_BATCHES", 1)
    config = replace(SHORT, steps=5)
    order = run.Batches(len(ROWS), config.batch_size, config.seed)
    bad = int(order[3][2])
    wrong = ROWS.copy()
    wrong[bad, 1] = value
    spoilt, sound = (make_store(tmp_path / name, rows, np.arange(40)) for name, rows in (("a", wrong), ("b", ROWS)))
    spoilt.id = sound.id
    with pytest.raises(UserError, match=rf"step 3.*row {bad} of the activations holds NaN or infinity"):
        train_sae(spoilt, config, checkpoint_dir=tmp_path / "run", checkpoint_every=1)
    kept = checkpoint_in(tmp_path / "run")
    assert kept and all(torch.isfinite(tensor).all() for tensor in kept.values())
    resumed = train_sae(sound, config, checkpoint_dir=tmp_path / "run", checkpoint_every=1)
    assert resumed.hash == train_sae(sound, config).hash
    tried(WHAT)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_an_array_with_a_row_that_is_not_finite_names_it(value, tried):
    wrong = ROWS.copy()
    wrong[17, 5] = value
    for rows in (wrong, wrong.astype(np.float16), torch.tensor(wrong, dtype=torch.bfloat16)):
        assert "row 17" in refused(lambda rows=rows: train_sae(rows, SHORT))
        tried(WHAT)
    large = ROWS.astype(np.float64)
    large[3, 0] = 1e39
    assert "row 3" in refused(lambda: train_sae(large, SHORT)), "too large for float32"


SHAPES = {
    "no row": np.zeros((0, 6)), "no column": np.zeros((5, 0)), "one axis": np.zeros(6),
    "three axes": np.zeros((2, 2, 6)), "nothing": [], "a number": 3.0,
}  # fmt: skip


HARDLY = {
    "one row": np.ones((1, 6)), "zeros": np.zeros((9, 6)), "denormals": np.full((9, 6), 1e-42), "three": ROWS[:3],
    "tiny": ROWS * 1e-30, "huge": ROWS * 1e15,
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_activations_of_no_shape_to_learn_from_are_refused(name, tried):
    assert refused(lambda: train_sae(SHAPES[name], SHORT))
    tried(WHAT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HARDLY)
def test_rows_that_hardly_say_anything_are_learned_or_refused(kind, name, tried):
    found, rows = [], HARDLY[name]
    if refused(lambda: found.append(train_sae(rows, replace(SHORT, kind=kind)))) is None:
        sae = found[0]
        assert torch.isfinite(sae.decode(sae.encode(rows.astype(np.float32)))).all()
    tried(WHAT)


@pytest.mark.parametrize("changes", [{"k": 13}, {"k": 100}, {"expansion": 0.1}, {"expansion": 1e9}])
def test_more_active_latents_than_there_are_is_refused(changes, tried):
    assert refused(lambda: train_sae(ROWS, replace(SHORT, **changes)))
    tried(WHAT)


@pytest.mark.parametrize("every", [0, -1, 1.5, float("nan"), "often"])
def test_checkpoints_come_after_a_whole_number_of_steps(every, tmp_path, tried):
    assert refused(lambda: train_sae(ROWS, SHORT, checkpoint_dir=tmp_path, checkpoint_every=every))
    tried(WHAT)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", AROUND)
def test_what_is_switched_around_a_training_changes_no_byte(kind, around, tmp_path, tried):
    config = replace(SHORT, kind=kind, steps=6)
    alone = train_sae(ROWS, config)
    with AROUND[around]():
        amid = train_sae(ROWS, config, checkpoint_dir=tmp_path, checkpoint_every=2)
        resumed = train_sae(ROWS, config, checkpoint_dir=tmp_path, checkpoint_every=2)
        together = train_saes(ROWS, [config, replace(config, seed=1)])[0]
    assert alone.hash == amid.hash == resumed.hash == together.hash
    assert_same(amid.encode(ROWS), alone.encode(ROWS), 0, 0)
    tried(WHAT)


def test_the_caller_finds_its_switches_as_they_were(tried):
    with AROUND["default dtype float64"](), torch.inference_mode():
        train_sae(ROWS, replace(SHORT, kind="relu", steps=2))
        assert torch.get_default_dtype() == torch.float64 and torch.is_inference_mode_enabled()
        assert refused(lambda: train_sae(ROWS[:0], SHORT))
        assert torch.get_default_dtype() == torch.float64 and torch.is_inference_mode_enabled()
    tried(WHAT)
