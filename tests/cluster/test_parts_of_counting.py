"""How the pictures of the statistics are cut for a number of workers."""

import pytest

from vlm_sae_lib.cluster.counting import PICTURES, pictures_per_part


@pytest.mark.parametrize("workers", [1, 2, 7, 64])
@pytest.mark.parametrize("pictures", [1, 5, 900, 100_000, 1_281_167])
def test_each_worker_has_as_many_parts_and_at_least_two(pictures, workers):
    size = pictures_per_part(pictures, workers)
    parts = -(-pictures // size)
    assert 1 <= size <= PICTURES and size * parts >= pictures
    if pictures >= 100 * workers:
        assert parts >= 2 * workers and parts % workers == 0


def test_no_more_parts_than_the_size_wants():
    assert -(-100_000 // pictures_per_part(100_000, 2)) == 8
