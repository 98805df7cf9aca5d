"""Synthetic activations: sums of known directions, trees, siblings that exclude one another, shared factors."""

import numpy as np
import pytest

from vlm_sae_lib.experiments import synthetic
from vlm_sae_lib.experiments.synthetic import World

LIKE = np.random.default_rng(0).normal(2, 0.5, size=(300, 48))


@pytest.fixture(scope="module")
def world():
    return World.draw(LIKE, 3)


@pytest.fixture(scope="module")
def sample(world):
    return world.sample(6000, 1)


def test_it_is_seeded_and_another_seed_is_another_world(world):
    again = World.draw(LIKE, 3)
    assert (again.sample(50, 7).activations == world.sample(50, 7).activations).all()
    assert (again.sample(50, 7).activations != again.sample(50, 8).activations).any()
    assert np.abs(World.draw(LIKE, 4).directions - world.directions).max() > 0.1


def test_activations_have_the_mean_and_the_variance_of_the_tower_s(sample):
    assert sample.activations.mean(axis=0) == pytest.approx(LIKE.mean(axis=0), abs=0.05)
    assert sample.activations.var(axis=0).sum() == pytest.approx(LIKE.var(axis=0).sum(), rel=0.05)


def test_a_child_fires_only_where_its_parent_does_and_at_most_one_of_siblings(world, sample):
    children = np.flatnonzero(world.parent >= 0)
    assert len(children) == synthetic.TREES * (synthetic.IN_TREE - 1)
    assert not (sample.fires[:, children] & ~sample.fires[:, world.parent[children]]).any()
    assert (world.parent[children] < children).all(), "a parent is more frequent than its child"
    for parent in np.unique(world.parent[children]):
        siblings = np.flatnonzero(world.parent == parent)
        assert len(siblings) == synthetic.CHILDREN and sample.fires[:, siblings].sum(axis=1).max() == 1
        assert (sample.fires[:, siblings].sum(axis=0) > 0).all()


def test_roots_fire_as_often_as_a_power_of_their_rank_and_every_feature_fires(world, sample):
    rates, roots = sample.fires.mean(axis=0), np.flatnonzero(world.parent < 0)
    asked = synthetic.MOST / (roots + 1) ** synthetic.EXPONENT
    assert np.abs(rates[roots] - asked).max() < 5 * np.sqrt(0.25 / 6000)
    assert (rates[world.parent >= 0] < (synthetic.MOST / np.arange(1, 513) ** 0.5)[world.parent >= 0] + 0.02).all()
    assert rates.min() > 0


def test_features_that_share_a_factor_fire_together_and_without_factors_they_do_not(world, sample):
    """The sign of two roots' correlation is that of their loadings' product."""
    roots = np.flatnonzero(world.parent < 0)[:40]
    shared = (world.loadings @ world.loadings.T)[np.ix_(roots, roots)][np.triu_indices(40, 1)]
    seen = np.corrcoef(sample.fires[:, roots].T)[np.triu_indices(40, 1)]
    assert np.corrcoef(shared, seen)[0, 1] > 0.7
    assert np.abs(seen[np.abs(shared) < 0.01]).mean() < 0.02 < np.abs(seen[np.abs(shared) > 0.2]).mean()


def test_every_row_is_the_centre_and_the_sum_of_the_directions_that_fire(monkeypatch):
    monkeypatch.setattr(synthetic, "FEATURES", 30)
    monkeypatch.setattr(synthetic, "TREES", 1)
    world = World.draw(LIKE, 0)
    assert np.linalg.norm(world.directions, axis=1) == pytest.approx(np.ones(30))
    sample = world.sample(200, 1)
    sums = (sample.activations - world.centre) / world.scale
    magnitudes = np.linalg.lstsq(world.directions.T, sums.T)[0].T
    assert (np.abs(magnitudes[~sample.fires]) < 1e-9).all() and (magnitudes[sample.fires] > 0).all()
    assert np.abs(magnitudes @ world.directions - sums).max() < 1e-9
