"""The command line: help for every stage, one line and exit code 2 for what the user can mend."""

import os
import subprocess
import sys

import pytest
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib import paths
from vlm_sae_lib.commands import book, run
from vlm_sae_lib.errors import UserError


def complaint(capsys, *arguments: str) -> str:
    """The one line on stderr of a call that must end with exit code 2."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and len(error.splitlines()) == 1 and error.startswith("error: "), error
    return error


@pytest.mark.parametrize("stage", cli.STAGES)
def test_each_stage_has_help_with_an_example(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([stage, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"example:\n  python -m vlm_sae_lib {stage}" in text


def test_help_lists_every_stage(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {stage}" in text for stage in cli.STAGES)


def test_wrong_calls_are_one_line(capsys):
    assert "STAGE" in complaint(capsys)
    assert "'nonsense'" in complaint(capsys, "nonsense")
    assert "--nonsense" in complaint(capsys, "run", "--nonsense")


def raising(error):
    def main(_):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("The folder\n  is empty."), "The folder is empty."),
        (FileNotFoundError(2, "No such file or directory", "/nowhere"), "/nowhere: No such file"),
        (OSError("the disk is gone"), "the disk is gone"),
    ],
)
def test_what_the_user_can_mend_is_one_line(monkeypatch, capsys, error, words):
    monkeypatch.setattr(book, "main", raising(error))
    assert words in complaint(capsys, "book")


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(book, "main", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["book"])


def test_interruption_ends_with_130(monkeypatch):
    monkeypatch.setattr(book, "main", raising(KeyboardInterrupt()))
    assert cli.main(["book"]) == 130


def test_run_refuses_what_does_not_exist(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VLM_SAE_ROOT", str(write_checkout(tmp_path, {"01_toy": toy_notebook("01_toy")})))
    assert "pocket" in complaint(capsys, "run", "--profile", "nonsense")
    assert "01_toy" in complaint(capsys, "run", "--only", "09")
    assert "seed" in complaint(capsys, "run", "--set", "sede=4")


def test_run_refuses_a_value_of_the_wrong_kind_before_it_starts(monkeypatch, capsys, tmp_path):
    toy = toy_notebook("01_toy", parameters='profile = "pocket"\nseed = 0\nchanges = {}')
    monkeypatch.setenv("VLM_SAE_ROOT", str(write_checkout(tmp_path, {"01_toy": toy})))
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    assert "seed='abc' must be a whole number" in complaint(capsys, "run", "--set", "seed=abc")
    assert "shipped='no' must be True or False" in complaint(capsys, "run", "--set", "changes={'shipped': 'no'}")
    assert "NAME=VALUE" in complaint(capsys, "run", "--set", "seed")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--batch-size", "abc", "'abc' must be a whole number of at least 1"),
        ("--batch-size", "0", "'0' must be a whole number of at least 1"),
        ("--seed", "-1", "'-1' must be a whole number of at least 0"),
        ("--device", "gpu", "no device 'gpu' here: leave it out, or name cpu"),
    ],
)
def test_collect_refuses_a_value_of_the_wrong_kind(capsys, tmp_path, option, value, words):
    store = tmp_path / "store"
    given = ("--pictures", "pocket:4", "--tower", "pocket", "--hook-point", "block_4", "--out", str(store))
    assert words in complaint(capsys, "collect", *given, option, value)
    assert not store.exists()


def test_run_returns_1_and_the_traceback_of_a_notebook_that_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VLM_SAE_ROOT", str(write_checkout(tmp_path, {"01_toy": toy_notebook("01_toy", "1 / 0")})))
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    assert cli.main(["run"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_stages_import_no_model_code_for_help():
    code = "import sys, vlm_sae_lib.__main__ as m; m.make_parser(); print({'torch', 'transformers'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "set()"


def test_run_and_book_keep_the_protocol():
    for command in (run, book):
        assert command.HELP and "\n" not in command.HELP and command.EXAMPLE
