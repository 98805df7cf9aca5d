"""Without Ray, and with what it cannot do, one sentence."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture
def answering():
    """A server of the kind that stands at the head of a cluster; a dict says with what it turns calls away."""
    grpc = pytest.importorskip("grpc", reason="Ray's client is not installed: make cluster")
    turned_away = {}

    class Head(grpc.GenericRpcHandler):
        def service(self, call):
            def answer(request, context):
                if "code" in turned_away:
                    context.abort(turned_away["code"], "no")
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Head()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", turned_away, grpc.StatusCode
    server.stop(None).wait()


def test_a_token_is_sent_where_it_is_asked_for(answering, tmp_path, monkeypatch):
    address, turned_away, codes = answering

    def mode(joined, **environment):
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        connection._take_its_mode(joined)
        return os.environ.pop("RAY_AUTH_MODE", None)

    assert mode(address) is None  # no token is at hand
    assert mode(address, RAY_AUTH_TOKEN="secret") == "disabled"
    turned_away["code"] = codes.UNAUTHENTICATED
    assert mode(address, RAY_AUTH_TOKEN="secret") == "token"
    assert mode(address, RAY_AUTH_TOKEN="secret", RAY_AUTH_MODE="disabled") == "disabled"  # said by the reader
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    assert mode(address) == mode("auto", RAY_ADDRESS=address) == mode("ray://127.0.0.1:9") == "token"
    assert mode("127.0.0.1:9") is None and mode("auto") is None  # nobody is there
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(address)
    assert mode("auto") == "token"
    turned_away["code"] = codes.UNIMPLEMENTED
    assert mode("auto") == "disabled"
