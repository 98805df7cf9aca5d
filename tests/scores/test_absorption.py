"""Splitting and absorption in dictionaries that were made to have them, or not."""

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib.scores.absorption import absorption, splitting

SPECIES = np.repeat(["wren", "robin", "gull", "carp", "pike"], 40)
FACTORS = pd.DataFrame({"class": np.where(np.isin(SPECIES, ["carp", "pike"]), "fish", "bird"), "species": SPECIES})


def fires(**latents):
    return np.stack(list(latents.values()), axis=1)


def bird():
    return (FACTORS["class"] == "bird").to_numpy()


def read(code):
    table = absorption(code, FACTORS, code, FACTORS, ["class"], "species")
    return table.set_index("value").loc["bird"]


def test_a_hole_where_a_child_has_its_own_latent_is_absorption():
    row = read(fires(birds=bird() & (SPECIES != "gull"), gulls=SPECIES == "gull", carps=SPECIES == "carp"))
    assert (row["main"], row["children"], row["with_own"]) == (0, 3, 1)
    assert row["recall"] == pytest.approx(2 / 3) and row["absorbed"] == pytest.approx(1 / 3)
    assert row["concentration"] == 1 and row["by_chance"] == pytest.approx(1 / 3)


def test_misses_spread_alike_over_the_children_are_none():
    silent = np.arange(200) % 4 == 0
    row = read(fires(birds=bird() & ~silent, gulls=SPECIES == "gull"))
    assert row["concentration"] == pytest.approx(row["by_chance"]) and row["recall"] == pytest.approx(0.75)
    assert row["absorbed"] == pytest.approx(0.25 / 3)  # a quarter of the gulls, which are a third of the birds


def test_a_hole_elsewhere_counts_against():
    row = read(fires(birds=bird() & (SPECIES != "wren"), gulls=SPECIES == "gull"))
    assert row["concentration"] == 0 and row["absorbed"] == 0


@pytest.mark.parametrize("code", [
    fires(noise=np.arange(200) % 7 == 0, gulls=SPECIES == "gull"),  # no main latent
    fires(birds=bird(), gulls=SPECIES == "gull"),  # no miss
    fires(birds=bird() & (SPECIES != "gull")),  # no child with a latent of its own
], ids=["no main", "no miss", "no own"])  # fmt: skip
def test_undefined_where_nothing_can_be_said(code):
    assert np.isnan(read(code)["concentration"])


def test_splitting_counts_own_latents_and_shares_out_the_recall():
    first, second = np.arange(200) % 2 == 0, np.arange(200) % 2 == 1
    code = fires(even=bird() & first, odd=bird() & second, all=np.ones(200, bool), few=np.arange(200) < 5)
    table = splitting(code, FACTORS, code, FACTORS, ["class"]).set_index("value")
    assert table["latents"].to_dict() == {"bird": 2, "fish": 0}  # one is right too rarely, one fires too rarely
    assert table.loc["bird", ["recall", "union_recall"]].tolist() == [0.5, 1.0]
    assert table.loc["fish", ["recall", "union_recall"]].tolist() == [0, 0]
