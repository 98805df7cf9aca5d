"""Settings, the numbers that follow from them, and the rows they are trained on."""

import numpy as np
import pytest
import torch

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import KINDS, SaeConfig
from vlm_sae_lib.sae.config import PAPER_GROUPS
from vlm_sae_lib.sae.rows import Batches, Rows
from vlm_sae_lib.sae.training import train_sae


def test_unknown_setting_names_the_known_ones():
    with pytest.raises(ValueError, match="no setting 'expension'.*expansion.*seed"):
        SaeConfig(expension=4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "gated"}, "kind='gated' must be 'matryoshka_batch_top_k', 'batch_top_k'"),
        ({"k": 0}, "k=0"),
        ({"k": 2.5}, "k=2.5"),
        ({"steps": 0}, "steps=0"),
        ({"batch_size": -1}, "batch_size=-1"),
        ({"expansion": 0}, "expansion=0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr_decay": 2}, "lr_decay=2"),
        ({"threshold_momentum": 1.0}, "threshold_momentum=1.0"),
        ({"threshold_start": 2000}, "threshold_start=2000"),
        ({"group_fractions": (0.5, 0.4)}, "sum to 1"),
        ({"group_fractions": ()}, "sum to 1"),
        ({"aux_coefficient": -0.1}, "aux_coefficient"),
        ({"mono_coefficient": -1}, "mono_coefficient"),
        ({"k": "20"}, "k='20'"),
        ({"lr": "fast"}, "lr='fast'"),
        ({"k": True}, "k=True"),
        ({"normalise": "False"}, "normalise='False' must be True or False"),
        ({"normalise": 0}, "normalise=0 must be True or False"),
        ({"lr_decay": "half"}, "lr_decay='half' must be a number from 0 to 1"),
        ({"lr_decay": None}, "lr_decay=None"),
        ({"group_fractions": 0.5}, "group_fractions=0.5 must be a list of fractions that sum to 1"),
        ({"group_fractions": "1"}, "group_fractions='1'"),
        ({"group_fractions": (float("nan"), 1)}, "sum to 1"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**63}, "seed=9223372036854775808 must be .*below 2"),
        ({"steps": 10**30}, "below 2"),
        ({"expansion": 10**400}, "positive, finite"),
        ({"threshold_momentum": "0.9"}, "threshold_momentum='0.9'"),
        ({"steps": 20, "warmup": 21}, "warmup=21 is longer than the run of 20 steps: .*lower warmup or raise steps"),
    ],
)
def test_a_senseless_value_is_refused_by_name(wrong, message):
    with pytest.raises(UserError, match=message):
        SaeConfig(**wrong)


def test_config_is_frozen_and_compares_by_value():
    config = SaeConfig(group_fractions=[0.5, 0.5])
    assert config == SaeConfig(group_fractions=(0.5, 0.5)) and hash(config) == hash(
        SaeConfig(group_fractions=(0.5, 0.5))
    )
    with pytest.raises(AttributeError):
        config.k = 3


def test_the_largest_seed_and_the_longest_warm_up_are_taken():
    config = SaeConfig(expansion=2, k=1, steps=3, warmup=3, seed=2**63 - 1, lr=1.0)
    assert config.schedule(4).lr_at(2, 3) == 1.0
    assert train_sae(np.eye(4), config).n_latents == 8


@pytest.mark.parametrize(("expansion", "message"), [(0.1, "no latent .*raise it"), (1e300, "too many .*lower it")])
def test_a_width_that_cannot_be_is_refused(expansion, message):
    with pytest.raises(UserError, match=message):
        SaeConfig(expansion=expansion).schedule(8)


def test_group_sizes_of_the_paper():
    def sizes(dim, expansion, fractions=PAPER_GROUPS):
        return SaeConfig(expansion=expansion, group_fractions=fractions).group_sizes(dim)

    assert sizes(768, 1) == (48, 96, 192, 432)
    assert sizes(768, 16) == (768, 1536, 3072, 6912)
    assert sizes(1024, 64) == (4096, 8192, 16384, 36864)
    assert sizes(768, 2, (0.002, 0.009, 0.035, 0.189, 0.765)) == (3, 13, 53, 290, 1177)
    assert SaeConfig(kind="batch_top_k").group_sizes(10) == (40,)


def test_learning_rate_of_the_authors_code():
    assert SaeConfig(expansion=1).schedule(768).lr == pytest.approx(9.24e-4, rel=1e-3)
    assert SaeConfig(expansion=64).schedule(1024).lr == pytest.approx(1e-4)
    assert SaeConfig(lr=0.5).schedule(64).lr == 0.5


def test_schedule_of_a_run_as_long_as_the_papers():
    schedule = SaeConfig(steps=110_000, batch_size=4096).schedule(1024)
    assert (schedule.warmup, schedule.threshold_start, schedule.dead_window) == (1000, 1000, 10_000_000)
    assert schedule.threshold_momentum == pytest.approx(0.999) and schedule.k_aux == 512
    assert schedule.decay_start == 110_000 and schedule.lr_at(109_999, 110_000) == schedule.lr


def test_schedule_shrinks_with_the_run():
    schedule = SaeConfig(steps=600, batch_size=1024).schedule(128)
    assert (schedule.warmup, schedule.threshold_start, schedule.dead_window) == (30, 60, 30 * 1024)
    assert schedule.threshold_momentum == pytest.approx(1 - 1 / 12)
    one = SaeConfig(steps=1).schedule(128)
    assert (one.warmup, one.threshold_start, one.threshold_momentum) == (1, 0, 0)


def test_learning_rate_warms_up_and_falls():
    schedule = SaeConfig(steps=100, lr=1.0, warmup=10, lr_decay=0.5).schedule(64)
    rates = [schedule.lr_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[49] == 1.0
    assert all(a > b for a, b in zip(rates[49:], rates[50:], strict=False)) and 0 < rates[-1] < 0.03


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "relu"])
def test_more_active_latents_than_there_are_is_refused(kind):
    with pytest.raises(UserError, match="k=20 exceeds the 16 latents"):
        SaeConfig(kind=kind, expansion=2, k=20).schedule(8)
    assert SaeConfig(kind="relu", expansion=2, k=20).schedule(8).n_latents == 16


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 4)), "no rows"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.array([[0.0, 1.0], [np.nan, 1.0]]), "row 1 .*NaN"),
        (torch.tensor([[float("inf"), 1.0]]), "row 0 .*NaN or infinity"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(rows, message):
    with pytest.raises(UserError, match=message):
        Rows(rows)


class Store:
    """As little of an activation store as training asks for."""

    def __init__(self, rows):
        self.rows, self.dim, self.id = rows, rows.shape[1], "an id"
        self.metadata = {"tower": "pocket", "hook_point": "block_4", "tokens": "cls", "shards": ["left out"]}
        self.asked = []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        self.asked.append(np.asarray(rows))
        return self.rows[rows]


def test_a_store_too_large_for_memory_is_read_in_its_own_order():
    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    store = Store(rows)
    lazy = Rows(store, memory_limit=0)
    wanted = np.array([7, 2, 9, 2])
    assert (lazy.take(wanted).numpy() == rows[wanted]).all()
    assert store.asked[0].tolist() == [2, 2, 7, 9]
    assert (Rows(store).take(wanted).numpy() == rows[wanted]).all()
    store.rows[9] = np.nan
    with pytest.raises(UserError, match="NaN"):
        lazy.take(wanted)


def test_identity_says_what_the_rows_are():
    rows = np.ones((3, 2), dtype=np.float32)
    facts = Rows(Store(rows)).identity()
    assert facts == {
        "rows": 3, "dim": 2, "store": "an id", "tower": "pocket", "hook_point": "block_4", "tokens": "cls",
    }  # fmt: skip
    array = Rows(rows).identity()
    assert array == Rows(torch.ones(3, 2)).identity() != Rows(2 * rows).identity()


def test_every_epoch_meets_every_row_once_in_another_order():
    batches = Batches(n=10, batch_size=4, seed=0)
    stream = np.concatenate([batches[step] for step in range(10)])
    epochs = stream.reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4


def test_a_batch_depends_on_its_step_alone():
    straight = [Batches(10, 4, 1)[step].tolist() for step in range(9)]
    jumping = Batches(10, 4, 1)
    assert [jumping[step].tolist() for step in (8, 2, 5)] == [straight[8], straight[2], straight[5]]
    assert straight != [Batches(10, 4, 2)[step].tolist() for step in range(9)]
    assert sorted(Batches(3, 1000, 0)[5].tolist()) == [0, 1, 2]


def test_the_papers_text_has_five_times_the_rate_of_its_code():
    code, text = (SaeConfig(expansion=1, k=2, lr=lr).schedule(768).lr for lr in (None, "text"))
    assert text == pytest.approx(16 / (125 * 768**0.5)) and code == pytest.approx(16 / (625 * 768**0.5))
    with pytest.raises(UserError, match="lr='code'"):
        SaeConfig(lr="code")
