"""Commands that are killed: at every step on the disk, and 25 times at any moment; the same command then ends alike."""

import time

import numpy as np
import pytest
from crashes import CRASHED, content, crashed_at, forked, moments, steps_of
from PIL import Image
from stores import make_store
from tiny_towers import noise, toy_tower

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations import collect_together

KILLS = 25
SAE = ("--steps=24", "--k=2", "--batch-size=16", "--expansion=2")


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
    draw = np.random.default_rng(0)
    for name, width in (("store", 6), ("embeddings", 4)):
        make_store(folder / name, draw.standard_normal((60, width)), np.arange(60))
    train(folder, folder / "sae")
    return folder


def collect(there, out):
    tower = toy_tower()
    stores = {("block_0", "all"): out / "tokens", ("block_2", "cls"): out / "cls"}
    collect_together(tower, there / "photos", stores, batch_size=2, pictures_per_shard=3)


def train(there, out):
    assert main(["train", f"--activations={there / 'store'}", f"--out={out}", *SAE]) == 0


def export(there, out):
    assert main(["export", f"--activations={there / 'store'}", f"--out={out}"]) == 0


def export_shards(there, out):
    assert main(["export", f"--activations={there / 'store'}", "--as=saev", f"--out={out}"]) == 0


def score(there, out):
    stores = (f"--activations={there / 'store'}", f"--embeddings={there / 'embeddings'}")
    assert main(["score", f"--sae={there / 'sae'}", *stores, "--resamples=5", f"--out={out}"]) == 0


def atlas(there, out):
    stores = (f"--activations={there / 'store'}", f"--embeddings={there / 'embeddings'}")
    assert main(["atlas", f"--sae={there / 'sae'}", *stores, f"--out={out}"]) == 0


COMMANDS = (collect, train, export, export_shards, score, atlas)


def done(command, there, folder):
    """The command's work towards one target in a folder of its own."""
    return lambda: command(there, folder / "out")


@pytest.fixture
def undisturbed(there, tmp_path):
    """What a command leaves that nobody stops: every file of its folder, by its hash."""

    def run(command):
        (folder := tmp_path / "undisturbed").mkdir()
        start = time.monotonic()
        assert forked(done(command, there, folder)) == 0
        return content(folder), time.monotonic() - start

    return run


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_a_crash_at_any_step_on_the_disk_loses_nothing_but_time(command, there, tmp_path, undisturbed, tried):
    expected, _ = undisturbed(command)
    (folder := tmp_path / "counted").mkdir()
    steps = steps_of(done(command, there, folder), folder)
    assert content(folder) == expected and steps > 5
    for step in range(steps):
        (folder := tmp_path / f"step{step}").mkdir()
        assert crashed_at(step, done(command, there, folder), folder) == CRASHED
        assert forked(done(command, there, folder)) == 0, step
        assert content(folder) == expected, step
        tried("crashes at a step on the disk")


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_a_kill_at_any_moment_loses_nothing_but_time(command, there, tmp_path, undisturbed, tried):
    expected, seconds = undisturbed(command)
    for kill, moment in enumerate(moments(seconds, KILLS, seed=KILLS)):
        (folder := tmp_path / f"kill{kill}").mkdir()
        forked(done(command, there, folder), after=moment)
        assert forked(done(command, there, folder)) == 0, moment
        assert content(folder) == expected, moment
        tried("kills at any moment")
