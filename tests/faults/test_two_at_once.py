"""Two processes on one target: the second says who holds it and leaves it alone; a killed one holds nothing."""

import os
import signal
from contextlib import contextmanager

import pytest
from crashes import content, forked, told_by
from stages import STAGES, command, write_stores
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import paths
from vlm_sae_lib.__main__ import main
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import running
from vlm_sae_lib.pretraining import islands, train
from vlm_sae_lib.reserving import reserved


@contextmanager
def holder(target):
    """The number of a process that holds a target while the block lasts, and is killed then."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        with reserved(target):
            os.write(telling, b"!")
            signal.pause()
    os.read(told, 1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("stores"))


@pytest.mark.parametrize("stage", STAGES)
def test_the_second_says_who_is_there_and_leaves_it_alone(stage, stores, tmp_path, tried):
    out = tmp_path / "deep" / "out"
    with holder(out) as first:
        before = content(tmp_path)
        code, told = told_by(lambda: main(command(stage, stores, out)))
        assert code == 2 and told.count("\n") == 1 and "Traceback" not in told
        assert f"{out} is being written by process {first} (" in told and "pytest" in told
        assert content(tmp_path) == before
    assert told_by(lambda: main(command(stage, stores, out)))[0] == 0
    assert not list(tmp_path.rglob("*.reserved"))
    tried("second runs on a target that is held")


def test_another_name_of_the_same_place_is_the_same_target(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    taken = pytest.raises(UserError, match="link is being written by process")
    with holder(tmp_path / "real"), taken, reserved(tmp_path / "link"):
        pass
    with reserved(tmp_path / "link"), reserved(tmp_path / "other"):
        pass


def test_folders_made_for_a_target_go_with_it_unless_something_is_in_them(tmp_path):
    with reserved(tmp_path / "a" / "b" / "c"):
        pass
    assert not list(tmp_path.iterdir())
    with reserved(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "note").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "note"]


@pytest.mark.parametrize("stage", STAGES)
def test_of_two_at_the_same_moment_one_does_it_whole(stage, stores, tmp_path, tried):
    assert told_by(lambda: main(command(stage, stores, tmp_path / "alone" / "out")))[0] == 0
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(forked(lambda: os._exit(main(command(stage, stores, tmp_path / "shared" / "out")))))
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(codes) <= {0, 2} and 0 in codes
    assert content(tmp_path / "shared") == content(tmp_path / "alone")
    tried("runs begun together", 3)


def test_notebooks_that_another_process_runs_are_left_alone(tmp_path, monkeypatch):
    write_checkout(tmp_path, {"01_first": toy_notebook("01_first"), "02_second": toy_notebook("02_second")})
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    target = paths.runs("pocket") / "notebooks" / "02_second.ipynb"
    with holder(target) as first:
        before = content(tmp_path)
        code, told = told_by(lambda: main(["run"]))
        assert code == 2 and f"{target} is being written by process {first}" in told
        assert content(tmp_path) == before


def test_an_experiment_that_another_process_runs_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    monkeypatch.setattr(running, "run_one", lambda *_: pytest.fail("it was run"))
    with holder(paths.results("pocket") / "towers.json") as first:
        code, told = told_by(lambda: main(["run", "--only", "experiments"]))
    assert code == 2 and f"towers.json is being written by process {first}" in told


def test_the_site_that_another_process_builds_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "site", lambda: tmp_path / "_build" / "html")
    with holder(paths.site()) as first:
        code, told = told_by(lambda: main(["book"]))
    assert code == 2 and f"html is being written by process {first}" in told


@pytest.mark.parametrize("trainer", [train, islands])
def test_models_that_another_process_trains_are_left_alone(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "pocket", lambda: tmp_path / "pocket")
    monkeypatch.setattr(paths, "islands", lambda: tmp_path / "islands")
    target, call = {
        train: (tmp_path / "pocket" / "clip", ["--only", "clip"]),
        islands: (tmp_path / "islands" / "twin" / "clip", ["twin"]),
    }[trainer]
    with holder(target) as first, pytest.raises(SystemExit) as ended:
        trainer.main(call)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and f"{target} is being written by process {first}" in told
