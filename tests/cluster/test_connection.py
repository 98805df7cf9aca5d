"""Without Ray, and with what it cannot do, one sentence."""

import sys

import pytest

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib.cluster import connection
from vlm_sae_lib.errors import UserError


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_a_sentence_says_how_to_get_it(no_ray):
    with pytest.raises(UserError, match="requirements-cluster.txt"), connection.connected():
        raise AssertionError("there is no Ray")


def test_the_command_without_ray_writes_nothing(no_ray, tmp_path, capsys):
    arguments = ["collect", "--pictures", "pocket:4:1", "--tower", "pocket", "--hook-point", "block_1"]
    assert cli.main([*arguments, "--out", str(tmp_path / "store"), "--engine", "ray"]) == 2
    assert "which is not installed" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("more", "words"), [
    (["--engine", "spark"], "not known"), (["--address", "auto"], "does nothing without --engine ray"),
    (["--gpus", "1"], "does nothing without --engine ray"), (["--engine", "ray", "--gpus", "-1"], "at least 0"),
])  # fmt: skip
def test_an_engine_that_cannot_be_right(tmp_path, capsys, more, words):
    arguments = ["collect", "--pictures", "pocket:4:1", "--tower", "pocket", "--hook-point", "block_1"]
    try:
        code = cli.main([*arguments, "--out", str(tmp_path / "store"), *more])
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and words in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_cause_is_found_however_it_is_wrapped():
    class Wrapped(Exception):
        cause: BaseException | None = None

    inner, middle, outer = UserError("mend it"), Wrapped(), RuntimeError()
    middle.cause, outer.__cause__ = inner, middle
    assert connection._cause(outer) is inner and connection._cause(RuntimeError()) is None
    circle = RuntimeError()
    circle.__cause__ = Wrapped()
    circle.__cause__.__cause__ = circle
    assert connection._cause(circle) is None
