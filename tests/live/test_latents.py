"""Names of latents: the rule on toy values, and the file that travels with the book."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vlm_sae_lib.live import latents
from vlm_sae_lib.steering.concepts import PooledLatents


def slow_best(values: np.ndarray, shown: np.ndarray) -> float:
    """The best F1 over every threshold that a value above 0 is."""
    scores = [0.0]
    for threshold in values[values > 0]:
        yes = values >= threshold
        scores.append(2 * (yes & shown).sum() / (yes.sum() + shown.sum()))
    return max(scores)


@given(
    arrays.arrays(float, 12, elements=st.sampled_from([0, 0.5, 1, 2, 3])),
    arrays.arrays(bool, 12).filter(lambda shown: shown.any()),
)
def test_the_threshold_reaches_the_best_f1(values, shown):
    if not (values > 0).any():
        return
    yes = values >= latents.best_threshold(values, shown)
    assert 2 * (yes & shown).sum() / (yes.sum() + shown.sum()) == pytest.approx(slow_best(values, shown))


def toy(largest: np.ndarray, mean: np.ndarray | None = None) -> pd.DataFrame:
    factors = pd.DataFrame({"kingdom": ["animal"] * 20 + ["plant"] * 20, "colour": ["red", "blue"] * 20})
    asking = SimpleNamespace(columns=("kingdom", "colour"))
    return latents.name(PooledLatents(largest, largest if mean is None else mean), factors, asking)


def test_a_latent_is_named_by_what_it_detects():
    plant, red = np.arange(40) >= 20, np.arange(40) % 2 == 0
    rows = toy(np.stack([plant * 3.0, red * 2.0 + 0.1, np.zeros(40)], 1))
    assert rows["latent"].tolist() == [0, 1], "one that never fires has no name"
    assert rows[["about", "value"]].values.tolist() == [["kingdom", "plant"], ["colour", "red"]]
    assert rows["f1"].tolist() == [1, 1] and rows["threshold"].tolist() == [3, 2.1]
    assert rows["maximum"].tolist() == [3, 2.1]


def test_a_constant_latent_has_a_name_only_by_chance():
    (row,) = toy(np.ones((40, 1))).to_dict("records")
    assert row["f1"] == pytest.approx(2 / 3, abs=1e-3) and row["value"] == "animal", "of equal ones the coarser"


def test_the_pooling_that_serves_a_latent_is_taken():
    red = (np.arange(40) % 2 == 0)[:, None]
    (row,) = toy(np.ones((40, 1)), red * 0.5).to_dict("records")
    assert (row["pooling"], row["value"], row["top"], row["maximum"]) == ("mean", "red", 0.5, 1)


def test_the_file_is_of_the_models_in_the_repository():
    known = latents.latents()
    assert known["made_from"] == latents.made_from(), "run `python -m vlm_sae_lib.live.latents`"
    rows = known["latents"]
    assert [row["latent"] for row in rows] == sorted({row["latent"] for row in rows})
    assert all(row["named"] == (row["f1"] >= latents.NAMED_FROM) for row in rows)
    assert all(0 < row["threshold"] <= row["top"] <= row["maximum"] for row in rows)
    assert all(0 <= row[share] <= 1 for row in rows for share in ("writes", "by_force"))


@pytest.mark.long
def test_the_file_is_what_is_measured():
    known, made = latents.latents(), latents.make()
    before, after = pd.DataFrame(known["latents"]), pd.DataFrame(made["latents"])
    assert before["latent"].tolist() == after["latent"].tolist()
    numbers = ["f1", "threshold", "top", "maximum", "writes", "by_force"]
    assert np.abs(before[numbers] - after[numbers]).max().max() < 0.05
    assert (before["value"] == after["value"]).mean() > 0.99
