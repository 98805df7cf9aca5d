"""Where a notebook's time goes: named parts, each second counted once.

No result's code imports this module, so that what is measured, and how, makes no stored result out of date.
"""

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import perf_counter
from typing import Any

STEPS = {
    "collecting activations": ("activations", "activations_at", "embeddings"),
    "training and loading autoencoders": ("saes", "sae", "shown"),
    "loading models": ("tower", "scoring_tower", "vlm"),
}
"""What a workbench does for whoever asks, by the name of its part."""


class Stopwatch:
    """Counts from its making on; pauses between a notebook's cells do not count.

    Time belongs to the part that :meth:`part` named last. What the workbench does meanwhile belongs to the parts in
    ``STEPS``, the innermost where one step needs another.

    Args:
        bench: a ``Workbench``; its methods in ``STEPS`` are watched from now on, those of other workbenches are not.
        first: the name of the first part.
    """

    def __init__(self, bench: Any = None, first: str = "getting ready", *, now: Callable[[], float] = perf_counter):
        self._now, self._since = now, now()
        self._open = [first]
        self._seconds: dict[str, float] = {first: 0.0}
        for step, methods in STEPS.items():
            for method in methods if bench is not None else ():
                setattr(bench, method, self._watched(step, getattr(bench, method)))
        self._leave_out_pauses()

    def part(self, name: str) -> None:
        """From here on, until the next call, time belongs to ``name``."""
        self._count()
        self._open[0] = name
        self._seconds.setdefault(name, 0.0)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds so far by part, in the order in which the parts began."""
        self._count()
        return dict(self._seconds)

    def table(self) -> str:
        """Parts and seconds as a folded HTML table; its summary tells their sum."""
        found = self.seconds
        rows = "".join(f'<tr><th scope="row">{html.escape(name)}</th><td>{taken:.1f} s</td></tr>'
                       for name, taken in found.items())  # fmt: skip
        return (
            f"<details><summary>This took {sum(found.values()):.1f} s: where the time went</summary><table>"
            f'<thead><tr><th scope="col">part</th><th scope="col">time</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></details>"
        )

    def _repr_html_(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"{sum(self.seconds.values()):.1f} s"

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._count()
        self._open.append(name)
        self._seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _watched(self, name: str, method: Callable) -> Callable:
        @wraps(method)
        def watched(*arguments: Any, **options: Any) -> Any:
            with self._step(name):
                return method(*arguments, **options)

        return watched

    def _count(self) -> None:
        now = self._now()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now

    def _leave_out_pauses(self) -> None:
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if shell is not None:
            shell.events.register("post_run_cell", lambda *_: self._count())
            shell.events.register("pre_run_cell", lambda *_: setattr(self, "_since", self._now()))
