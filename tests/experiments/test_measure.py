"""What experiments measure alike: several trainings and one alone, and the plan's two populations."""

import numpy as np
from toy_bench import ToyBench

from vlm_sae_lib.experiments import measure
from vlm_sae_lib.records.effects import ENOUGH


def test_pictures_are_drawn_again_only_where_one_training_stands_alone():
    bench = ToyBench(60)
    code = bench.activations("test", "projection").array().numpy()
    alone, (one, two) = (measure.scored_runs(bench, [code] * n, "second CLIP") for n in (1, 2))
    assert len(alone[0].draws) == measure.RESAMPLES and len(one.draws) == 1
    np.testing.assert_array_equal(alone[0].ms, two.ms)
    np.testing.assert_array_equal(alone[0].pictures, one.pictures)


def test_the_second_population_is_called_by_its_number_of_pictures():
    assert f" of at least {measure.AT_LEAST} pictures" == ENOUGH
    assert measure.POPULATIONS == ((2, ""), (measure.AT_LEAST, ENOUGH))
