"""Commands that are killed: at every step on the disk, and 25 times at any moment; the same command then ends alike."""

import shutil
import time

import pytest
from crashes import CRASHED, content, crashed_at, forked, moments, steps_of
from PIL import Image
from stages import command, write_stores
from tiny_towers import noise, toy_tower

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations import collect_together

KILLS = 25


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Pictures (one cut off), a store, embeddings, and an SAE."""
    folder = tmp_path_factory.mktemp("there")
    (folder / "photos").mkdir()
    for i, picture in enumerate(noise(6)):
        picture.save(folder / "photos" / f"{i:02d}.png")
    whole = (folder / "photos" / "03.png").read_bytes()
    (folder / "photos" / "03.png").write_bytes(whole[: len(whole) // 3])
    Image.new("RGB", (30, 50)).save(folder / "photos" / "dark.jpg")
    return write_stores(folder)


def collect(there, out):
    tower = toy_tower()
    stores = {("block_0", "all"): out / "tokens", ("block_2", "cls"): out / "cls"}
    collect_together(tower, there / "photos", stores, batch_size=2, pictures_per_shard=3)


def stage(name, *more):
    """A stage's call on the stores that are there."""

    def call(there, out):
        assert main([*command(name, there, out), *more]) == 0

    return call


COMMANDS = {
    "collect": collect, "train": stage("train"), "replace": stage("train", "--seed=1"), "export": stage("export"),
    "export to shards": stage("export", "--as=saev"), "score": stage("score"), "atlas": stage("atlas"),
}  # fmt: skip

QUICK = ("export", "export to shards")
"""What is tried at every step in `make test`, too."""


@pytest.fixture
def begun(there, tmp_path):
    """A folder of its own, and a command's work towards a target in it: for "replace" another SAE lies there."""

    def made(name, place):
        (folder := tmp_path / str(place)).mkdir()
        if name == "replace":
            shutil.copytree(there / "sae", folder / "out")
        return folder, lambda: COMMANDS[name](there, folder / "out")

    return made


@pytest.fixture
def undisturbed(begun):
    """What a command leaves that nobody stops: every file of its folder, by its hash."""

    def run(name):
        folder, work = begun(name, "undisturbed")
        start = time.monotonic()
        assert forked(work) == 0
        return content(folder), time.monotonic() - start

    return run


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.faults)
                                  for name in COMMANDS])  # fmt: skip
def test_a_crash_at_any_step_on_the_disk_loses_nothing_but_time(name, there, begun, undisturbed, tried):
    expected, _ = undisturbed(name)
    folder, work = begun(name, "counted")
    steps = steps_of(work, folder)
    assert content(folder) == expected and steps > 5
    expected_sae = content(folder / "out")
    for step in range(steps):
        folder, work = begun(name, step)
        assert crashed_at(step, work, folder) == CRASHED
        if name == "replace":  # one or the other, never a part
            assert content(folder / "out") in ({}, content(there / "sae"), expected_sae), step
        assert forked(work) == 0, step
        assert content(folder) == expected, step
        tried("crashes at a step on the disk")


@pytest.mark.faults
@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_any_moment_loses_nothing_but_time(name, begun, undisturbed, tried):
    expected, seconds = undisturbed(name)
    for kill, moment in enumerate(moments(seconds, KILLS, seed=KILLS)):
        folder, work = begun(name, f"kill{kill}")
        forked(work, after=moment)
        assert forked(work) == 0, moment
        assert content(folder) == expected, moment
        tried("kills at any moment")
