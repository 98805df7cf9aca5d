"""What a result was made from: every module that its code can reach, and nothing that cannot change it."""

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records import provenance


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library: ``leaf`` is reached from ``trunk`` by a lazy import, ``aside`` by nobody."""
    package = tmp_path / "vlm_sae_lib"
    (package / "room").mkdir(parents=True)
    (package / "trunk.py").write_text("def run():\n    from vlm_sae_lib.room import leaf\n    return leaf.VALUE\n")
    (package / "room" / "__init__.py").write_text("")
    (package / "room" / "leaf.py").write_text('"""A leaf."""\n# why\nVALUE = 1\n')
    (package / "aside.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(paths, "PACKAGE", package)
    provenance.reachable.cache_clear()
    yield package
    provenance.reachable.cache_clear()


def test_a_module_reaches_what_it_imports_also_lazily(library):
    assert provenance.reachable("vlm_sae_lib.trunk") == ("vlm_sae_lib.room.leaf", "vlm_sae_lib.trunk")


@pytest.mark.parametrize(
    "file, text, moves",
    [
        ("room/leaf.py", '"""A leaf."""\n# why\nVALUE = 2\n', True),
        ("room/leaf.py", '"""Another sentence,\nover two lines."""\n\n\nVALUE = 1\n', False),
        ("aside.py", "VALUE = 2\n", False),
    ],
)
def test_only_what_can_change_a_result_changes_the_hash(library, file, text, moves):
    before = provenance.code_hash("vlm_sae_lib.trunk")
    (library / file).write_text(text)
    assert (provenance.code_hash("vlm_sae_lib.trunk") != before) is moves


def test_a_string_that_is_used_counts(library):
    (library / "room" / "leaf.py").write_text('VALUE = "one"\n')
    before = provenance.code_hash("vlm_sae_lib.trunk")
    (library / "room" / "leaf.py").write_text('VALUE = "two"\n')
    assert provenance.code_hash("vlm_sae_lib.trunk") != before


def test_what_is_left_out_counts_no_more(library):
    """A lazy import that cannot change the result in question, such as a reader of files that it does not read."""
    assert provenance.reachable("vlm_sae_lib.trunk", ("vlm_sae_lib.room.leaf",)) == ("vlm_sae_lib.trunk",)
    before = provenance.code_hash("vlm_sae_lib.trunk", ("vlm_sae_lib.room.leaf",))
    (library / "room" / "leaf.py").write_text("VALUE = 2\n")
    assert provenance.code_hash("vlm_sae_lib.trunk", ("vlm_sae_lib.room.leaf",)) == before


def test_no_reader_of_foreign_files_names_a_trained_sae():
    reached = provenance.reachable("vlm_sae_lib.sae.training", ("vlm_sae_lib.sae.files.formats",))
    assert "vlm_sae_lib.sae.kernels.products" in reached and not [name for name in reached if ".foreign" in name]


def test_a_module_that_is_not_there(library):
    with pytest.raises(ModuleNotFoundError):
        provenance.code_hash("vlm_sae_lib.branch")


def test_the_real_closure_holds_what_an_experiment_computes_with_and_not_what_draws_it():
    reached = provenance.reachable("vlm_sae_lib.experiments.uniqueness")
    needed = ("scores.uniqueness", "sae.training.losses", "pocket.drawing")
    assert {f"vlm_sae_lib.{name}" for name in needed} <= set(reached)
    assert not [name for name in reached if name.startswith(("vlm_sae_lib.show.", "vlm_sae_lib.claims."))]
    assert "vlm_sae_lib.experiments.registry" not in reached, "a new experiment would make every other stale"


def test_another_setting_has_another_hash():
    assert provenance.settings_hash(load_profile("pocket")) != provenance.settings_hash(load_profile("pocket", k=11))


def test_what_no_experiment_needs_is_there_and_is_left_out():
    from vlm_sae_lib.experiments import running
    from vlm_sae_lib.experiments.registry import NAMES, module

    everything = set().union(*(provenance.reachable(module(name)) for name in NAMES))
    assert set(running.FOR_OTHERS) <= everything, "a name that nothing reaches hides nothing"
    for name in NAMES:
        assert not set(running.FOR_OTHERS) & set(provenance.reachable(module(name), running.FOR_OTHERS))
