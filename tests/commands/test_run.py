"""Which processes ``run`` takes for notebooks and experiments."""

import pytest

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib import side_by_side
from vlm_sae_lib.commands import run
from vlm_sae_lib.experiments import running
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.publishing import runner


def test_processes_of_this_machine_are_none_of_a_cluster(capsys):
    assert cli.main(["run", "--processes", "2", "--only", "experiments", "--engine", "ray"]) == 2
    told = capsys.readouterr().err
    assert "--processes is for this machine" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("cores", "free", "processes"), [(8, 100, 8), (8, 10, 3), (8, 1, 1), (1, 100, 1), (2, None, 2)]
)
def test_as_many_as_cores_and_memory_allow(cores, free, processes, monkeypatch):
    monkeypatch.setattr("vlm_sae_lib.pictures.decoding.cores", lambda: cores)
    monkeypatch.setattr("vlm_sae_lib.machine.devices.free_bytes", lambda device: free and free << 30)
    for profile in ("pocket", "island-fjord"):
        assert run.processes_for(load_profile(profile)) == processes
    assert run.processes_for(load_profile("light")) == 0


@pytest.mark.parametrize(("more", "processes"), [([], 3), (["--processes", "5"], 5)])
def test_experiments_are_run_side_by_side(more, processes, monkeypatch):
    found = []
    monkeypatch.setattr(run, "processes_for", lambda profile: 3)
    monkeypatch.setattr(side_by_side, "side_by_side", lambda number: found.append(number) or "each")
    monkeypatch.setattr(running, "run_experiments", lambda profile, names, each, **rest: found.append((names, each)))
    assert cli.main(["run", "--only", "experiments/layers", *more]) == 0
    assert found == [processes, (("layers",), "each")]


@pytest.mark.parametrize(("more", "processes"), [([], 3), (["--processes", "1"], 1)])
def test_notebooks_are_run_side_by_side(more, processes, monkeypatch):
    found = []
    monkeypatch.setattr(run, "processes_for", lambda profile: 3)
    monkeypatch.setattr(side_by_side, "side_by_side", lambda number: found.append(number) or "each")
    monkeypatch.setattr(runner, "run", lambda plan, say, each: found.append((plan.only, each)))
    assert cli.main(["run", "--only", "03", *more]) == 0
    assert found == [processes, (("03",), "each")]
