"""Every second belongs to one part: the one named last, or the innermost step of the workbench."""

import configparser
import re

import IPython
import pytest
from IPython.core.interactiveshell import InteractiveShell

from vlm_sae_lib import paths
from vlm_sae_lib.publishing.stopwatch import STEPS, Stopwatch
from vlm_sae_lib.records import provenance
from vlm_sae_lib.workbench import Workbench


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


class Bench:
    """Steps that take 1 s; an autoencoder asks for activations first. The others are not called here."""

    def __init__(self, clock: Clock):
        self.clock = clock
        for name in {m for methods in STEPS.values() for m in methods} - {"activations", "saes"}:
            setattr(self, name, None)

    def activations(self, split: str) -> str:
        self.clock.time += 1
        return split

    def saes(self, *, fails: bool = False) -> None:
        self.clock.time += 1
        self.activations("train")
        if fails:
            raise KeyError("no such SAE")


def test_each_second_counts_once_and_in_the_innermost_step():
    clock = Clock()
    bench = Bench(clock)
    watch = Stopwatch(bench, "first", now=clock)
    clock.time += 2
    assert bench.activations("test") == "test"
    watch.part("scoring")
    clock.time += 3
    bench.saes()
    with pytest.raises(KeyError):
        bench.saes(fails=True)
    clock.time += 5
    watch.part("first")
    clock.time += 7
    expected = {"first": 9, "collecting activations": 3, "scoring": 8, "training and loading autoencoders": 2}
    assert watch.seconds == expected and list(watch.seconds) == list(expected)
    assert sum(watch.seconds.values()) == clock.time
    rows = re.findall(r'<th scope="row">([^<]*)</th><td>([^<]*)</td>', watch.table())
    assert rows[:2] == [("first", "9.0 s"), ("collecting activations", "3.0 s")]
    assert "This took 22.0 s" in watch.table() and watch._repr_html_() == watch.table()


def test_a_workbench_has_the_steps_and_no_result_depends_on_the_stopwatch():
    assert all(callable(getattr(Workbench, method)) for methods in STEPS.values() for method in methods)
    for module in ("vlm_sae_lib.workbench", "vlm_sae_lib.experiments.running", "vlm_sae_lib.publishing.runner"):
        assert "vlm_sae_lib.publishing.stopwatch" not in provenance.reachable(module)


def test_pauses_between_the_cells_of_a_notebook_do_not_count(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    shell.run_cell("from vlm_sae_lib import Stopwatch")
    shell.run_cell("ticks = [0.0]; clock = Stopwatch(now=lambda: ticks[0])")
    shell.run_cell("get_ipython().events.register('post_run_cell', lambda _: ticks.append(ticks.pop() + 1000))")
    shell.run_cell("ticks[0] += 2; clock.part('working')")
    shell.run_cell("ticks[0] += 3")
    shell.run_cell("found = clock.seconds")
    assert shell.user_ns["found"] == {"getting ready": 2.0, "working": 3.0}


def test_tables_of_two_runs_are_alike_to_nbval():
    clock = Clock()
    watch = Stopwatch(first="training", now=clock)
    rules = configparser.ConfigParser()
    rules.read(paths.PACKAGE.parent / "tests" / "nbval_sanitize.cfg")
    tables = set()
    for passed in (0.0, 7.04, 1234.5):
        clock.time += passed
        table = watch.table()
        for rule in rules.sections():
            table = re.sub(rules[rule]["regex"], rules[rule]["replace"], table)
        tables.add(table)
    (table,) = tables
    assert table.count("DURATION") == 2 and "training" in table
