"""A score at equal reconstruction, training by training."""

import numpy as np
import pytest

from vlm_sae_lib.controls.frontier import Point, above_frontier
from vlm_sae_lib.errors import UserError

LINE = [Point(0.8, 0.3), Point(0.6, 0.5), Point(0.9, 0.1)]


def test_the_height_above_the_line_by_hand():
    assert above_frontier(Point(0.75, 0.45), LINE) == pytest.approx(0.45 - 0.35)
    assert above_frontier(Point(0.85, 0.1), LINE) == pytest.approx(-0.1)
    assert above_frontier(Point(0.6, 0.5), LINE) == 0


def test_the_line_is_never_prolonged():
    assert np.isnan(above_frontier(Point(0.59, 0.4), LINE)) and np.isnan(above_frontier(Point(0.91, 0.4), LINE))


def test_a_training_that_leaves_the_line_is_undefined_and_not_hidden_in_a_mean():
    """Mean R² of the two is .825 and lies on the line; one of them does not."""
    gains = [above_frontier(Point(r2, 0.4), LINE) for r2 in (0.75, 0.95)]
    assert np.isfinite(gains[0]) and np.isnan(gains[1])


def test_one_point_is_no_line():
    with pytest.raises(UserError, match="at least two"):
        above_frontier(Point(0.7, 0.4), LINE[:1])
