"""``run`` on Ray: notebooks and experiments side by side, a task each."""

from collections.abc import Callable, Iterator, Sequence

from vlm_sae_lib.cluster.connection import LOST, library
from vlm_sae_lib.taking_turns import begun


def each(do: Callable[[str], float], names: Sequence[str], say: Callable[[str], None]) -> Iterator[tuple[str, float]]:
    """As ``in_turn``, but by the workers of the cluster that is joined, as many at once as it has cores.

    What two of them need, the first makes, and the other waits for it and loads it: so it is between processes of one
    machine, and so it is here, where the machines share a folder whose locks they all see.

    Raises:
        UserError: as ``do``; and what else it raises.
    """
    ray = library()
    task = ray.remote(do).options(max_retries=LOST)
    waiting = {task.remote(name): name for name in names}
    for name in names:
        say(begun(name))
    while waiting:
        (done,), _ = ray.wait(list(waiting))
        yield waiting.pop(done), ray.get(done)
