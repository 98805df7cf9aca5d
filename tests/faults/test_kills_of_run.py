"""``run`` in miniature, killed at every step on the disk and at any moment, and started again."""

import shutil
import time

import pytest
from crashes import CRASHED, content, crashed_at, forked, moments, steps_of
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib.publishing.runner import Run, run

KILLS = 25
BOOKS = {name: toy_notebook(name, "print(6 * 7)") for name in ("01_first", "02_second")}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A new checkout with two notebooks that were never run, by its number."""
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)

    def made(name):
        root = write_checkout(tmp_path / str(name), BOOKS)
        monkeypatch.setenv("VLM_SAE_ROOT", str(root))
        return root

    return made


def run_all():
    run(Run(), lambda _: None)


def published(root):
    """What readers see, by its hash."""
    return {folder: content(root / folder) for folder in ("notebooks", "data")}


def each_whole(root, before, after):
    """Whether every published file is the one of before, or the one that a whole run leaves; nothing lies beside."""
    files = {**published(root)["notebooks"], **published(root)["data"]}
    shown = {name: hash for name, hash in files.items() if not name.rpartition("/")[2].startswith(".")}
    old, new = ({**there["notebooks"], **there["data"]} for there in (before, after))
    return all(hash in (old.get(name), new.get(name)) for name, hash in shown.items())


def rests(root):
    return sorted(path.name for path in root.rglob("*") if path.name.endswith((".unfinished", ".reserved")))


@pytest.fixture
def undisturbed(checkout):
    root = checkout("undisturbed")
    before, start = published(root), time.monotonic()
    assert forked(run_all) == 0
    return before, published(root), time.monotonic() - start


@pytest.mark.faults
def test_notebooks_whose_run_crashes_anywhere_are_untouched_or_complete(checkout, undisturbed, tried):
    before, after, _ = undisturbed
    steps = steps_of(run_all, root := checkout("counted"))
    assert published(root) == after and steps > 20
    for step in range(steps):
        root = checkout(step)
        assert crashed_at(step, run_all, root) == CRASHED
        assert each_whole(root, before, after), step
        assert forked(run_all) == 0, step
        assert published(root) == after and not rests(root), step
        shutil.rmtree(root)
        tried("crashes at a step on the disk")


@pytest.mark.faults
def test_notebooks_whose_run_is_killed_at_any_moment_are_untouched_or_complete(checkout, undisturbed, tried):
    before, after, seconds = undisturbed
    for kill, moment in enumerate(moments(seconds, KILLS, seed=KILLS)):
        root = checkout(f"kill{kill}")
        forked(run_all, after=moment)
        assert each_whole(root, before, after), moment
        assert forked(run_all) == 0, moment
        assert published(root) == after and not rests(root), moment
        shutil.rmtree(root)
        tried("kills at any moment")
