"""Ray: whether it is there, started on this machine or joined, and what its workers' errors say."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm_sae_lib.errors import UserError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of each run
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is wrong comes as an exception, and is told once
LOST = 20
"""How often a part is given out again whose machine or process was lost; a part that ends in an error is not."""


def library() -> Any:
    """The module ``ray``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray, which is not installed: run `pip install -r requirements-cluster.txt` "
                        "(in a checkout `make cluster`), on every machine.") from error  # fmt: skip
    return ray


@contextmanager
def connected(address: str | None = None, **options: Any) -> Iterator[Any]:
    """Ray for as long as the block lasts: started on this machine, or joined at ``address``; one that is there stays.

    Args:
        address: ``auto`` (the cluster that this machine belongs to), ``ray://<host>:<port>`` or ``<host>:<port>``.
        options: of ``ray.init``.

    Raises:
        UserError: Ray is not installed, or nobody answers at the address; and what a worker raised.
    """
    if address is not None:
        _take_its_mode(address)  # before Ray is imported, which reads it once
    ray = library()
    if ray.is_initialized():
        with _errors_of_workers(ray):
            yield ray
        return
    quiet = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, **quiet, **options)
    except ImportError as error:
        raise UserError(f"{address} needs Ray's client: run `pip install -r requirements-cluster.txt` (in a checkout "
                        "`make cluster`).") from error  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise UserError(f"No Ray answers at {address}: start it there (`ray start --head`; where it wants a token, "
                        "RAY_AUTH_TOKEN holds it), or leave --address out to run on this machine alone.") from error
    try:
        with _errors_of_workers(ray):
            yield ray
    finally:
        ray.shutdown()


def _take_its_mode(address: str) -> None:
    """A token is sent and asked for where the cluster does so: else the one does not answer the other, without a word.

    Ray itself would do what its environment says, or send none at all.
    """
    at_hand = "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").is_file()
    if "RAY_AUTH_MODE" in os.environ or not at_hand:
        return
    wanted: bool | None = True  # by ray:// a token is only sent, and one that is not asked for does no harm
    if not address.startswith("ray://"):
        wanted = _wants_a_token(_here() if address == "auto" else address)
    if wanted is not None:
        os.environ["RAY_AUTH_MODE"] = "token" if wanted else "disabled"


def _here() -> str:
    """Where the cluster is that this machine belongs to, as Ray notes it; nothing: it belongs to none."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    return os.environ.get("RAY_ADDRESS") or (note.read_text().strip() if note.is_file() else "")


def _wants_a_token(place: str) -> bool | None:
    """Whether a call without a token is turned away at ``host:port``; None: nobody answers there."""
    try:
        import grpc
    except ImportError:  # it comes with ray[client], whose lack is told elsewhere
        return None
    if not place:
        return None
    with grpc.insecure_channel(place) as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=5)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return None
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False


def from_outside(ray: Any) -> bool:
    """Whether this process only sends its calls to a cluster (``ray://``), of which no machine is this one."""
    return bool(ray.util.client.ray.is_connected())


@contextmanager
def _errors_of_workers(ray: Any) -> Iterator[None]:
    """What a worker's own code raised is raised as it was there; the loss of a machine is told in a sentence."""
    try:
        yield
    except Exception as error:
        cause = _cause(error)
        if cause is not None and cause is not error:
            raise cause from error
        if cause is not None or not isinstance(error, ray.exceptions.RayError):
            raise
        lost = type(error).__name__
        raise UserError(f"A part of the work was lost {LOST} times with its machine or process ({lost}): see to the "
                        "machines, and give the same command again.") from error  # fmt: skip


def _cause(error: BaseException | None) -> BaseException | None:
    """What stands at the root of an error, however Ray has wrapped it: the UserError, or what else a worker raised."""
    seen: set[int] = set()
    raised = None
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "cause", None)  # of Ray's own errors, which are of their cause's class too
        raised = inner or raised
        if isinstance(error, UserError) and inner is None:
            return error
        error = inner or error.__cause__
    return raised


def places(ray: Any, gpus: float) -> int:
    """How many parts the cluster works on at once: one a core, or as many as share its GPUs.

    Raises:
        UserError: GPUs are asked for, and the cluster has none or too few; it would be waited for them for ever.
    """
    resources = ray.cluster_resources()
    if not gpus:
        return max(1, int(resources.get("CPU", 1)))
    if (there := resources.get("GPU", 0)) < gpus:
        raise UserError(f"A worker is to take {gpus:g} GPU, and the cluster has {there:g}: start Ray on a machine with "
                        "one, or leave --gpus out.")  # fmt: skip
    return int(there / gpus)
