"""Which photographs a gallery holds, and in which order."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.steering.draws import draw_photographs, in_turn, shared_values

PAPER = load_profile("paper")


def known(names, each, first=0) -> pd.DataFrame:
    """A table as of ImageNet: sorted by class, so many pictures of each."""
    values = np.repeat([f"c{i:04d}" for i in names], each)
    return pd.DataFrame({"class": values}, index=pd.RangeIndex(first, first + len(values), name="image_id"))


@pytest.mark.parametrize("seed", range(8))
def test_a_thousand_pictures_of_a_thousand_classes_hold_twenty_classes_in_both_splits(seed):
    splits = {"choosing": known(range(1000), 130), "test": known(range(1000), 50)}
    profile = replace(PAPER, seed=seed)
    galleries = [splits[s].loc[draw_photographs(s, 1000, splits.get, "class", profile), "class"] for s in splits]
    for gallery in galleries:
        assert len(gallery) == 1000 and gallery.index.is_unique
        assert gallery.value_counts().tolist() == [50] * 20
        assert gallery.head(20).nunique() == 20  # settings are chosen on the first few
    assert set(galleries[0]) == set(galleries[1])


def test_with_few_pictures_there_are_fewer_classes_but_enough_of_each():
    splits = {"choosing": known(range(1000), 130), "test": known(range(1000), 50)}
    profile = replace(PAPER, steering_choosing=40, steering_scored=60)
    drawn = splits["choosing"].loc[draw_photographs("choosing", 40, splits.get, "class", profile), "class"]
    assert drawn.nunique() == 6 and drawn.value_counts().min() >= 6 and len(drawn) == 40
    other = splits["test"].loc[draw_photographs("test", 60, splits.get, "class", profile), "class"]
    assert set(other) == set(drawn)
    assert len(draw_photographs("test", 3, splits.get, "class", profile)) == 3


def test_only_classes_with_enough_pictures_of_both_are_drawn():
    choosing, test = known(range(10), 9)["class"], pd.concat([known([3, 5, 11], 8), known([7], 5, 100)])["class"]
    assert shared_values({"a": choosing, "b": test}, 20, at_least=6, seed=0) == ["c0003", "c0005"]
    with pytest.raises(UserError, match=r"No class has 9 of the pictures of a and of b.*steering\.min_pictures"):
        shared_values({"a": choosing, "b": test}, 20, at_least=9, seed=0)


def test_the_draw_depends_on_the_seed_alone():
    values = known(range(30), 20)["class"]
    one, again, other = (in_turn(values, 50, seed=s) for s in (0, 0, 1))
    assert one == again != other
    drawn = [shared_values({"a": values}, 5, at_least=6, seed=s) for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and all(len(v) == 5 for v in drawn)


def test_of_few_values_any_pictures_are_drawn_and_the_first_are_not_the_first_of_the_tree():
    table = known(range(10), 40)
    ids = draw_photographs("test", 100, {"test": table}.get, None, PAPER)
    assert len(set(ids)) == 100 and table.loc[ids[:12], "class"].nunique() > 4
    assert ids == draw_photographs("test", 100, {"test": table}.get, None, PAPER)
    assert len(draw_photographs("test", 9999, {"test": table}.get, None, PAPER)) == 400
