"""``make pocket`` in miniature, killed at every step on the disk and at any moment, and started again."""

import shutil
import time
from functools import partial

import pytest
from crashes import CRASHED, content, crashed_at, forked, moments, steps_of
from tiny_pretraining import train_there

KILLS = 25
ALONE = ("clip", "self_supervised", "llava")


def made(place):
    """Models and pictures by their hashes, half-trained models by their names: pickled again, equal state has other
    bytes.
    """
    return {name: hash if not name.endswith(".pt") else "there" for name, hash in content(place).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All models, trained by nobody's disturbance, and the seconds that took."""
    folder, start = tmp_path_factory.mktemp("trained"), time.monotonic()
    assert forked(lambda: train_there(folder)) == 0
    return folder, made(folder), time.monotonic() - start


@pytest.mark.faults
@pytest.mark.parametrize("model", ALONE)
def test_the_training_of_a_pocket_model_that_crashes_anywhere_ends_in_the_same_bytes(model, trained, tmp_path, tried):
    folder, whole, _ = trained

    def begun(name):
        """A place for the training, with the CLIP where the model stands on it."""
        (place := tmp_path / str(name)).mkdir()
        if model == "llava":
            shutil.copytree(folder / "pocket" / "clip", place / "pocket" / "clip")
        return place

    place = begun("counted")
    steps = steps_of(partial(train_there, place, [model]), place)
    expected = made(place)
    assert expected.items() <= whole.items() and steps > 20
    for step in range(steps):
        place = begun(step)
        assert crashed_at(step, partial(train_there, place, [model]), place) == CRASHED
        assert forked(partial(train_there, place, [model])) == 0, step
        assert made(place) == expected, step
        shutil.rmtree(place)
        tried("crashes at a step on the disk")


@pytest.mark.faults
def test_the_training_of_the_pocket_models_that_is_killed_ends_in_the_same_bytes(trained, tmp_path, tried):
    _, whole, seconds = trained
    for kill, moment in enumerate(moments(seconds, KILLS, seed=KILLS)):
        place = tmp_path / str(kill)
        forked(partial(train_there, place), after=moment)
        assert forked(partial(train_there, place)) == 0, moment
        assert made(place) == whole, moment
        shutil.rmtree(place)
        tried("kills at any moment")
