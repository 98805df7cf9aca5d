"""One progress bar for terminals and live notebooks; silent in published outputs, logs and tests."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, description: str, *, total: int | None = None, unit: str = "it") -> tqdm:
    """Wrap an iterable in a bar on stderr that vanishes when done.

    Shown on a terminal and in a live kernel; ``TQDM_DISABLE=1`` (set by the runner and by the notebook tests) and a
    stderr that nobody watches switch it off.
    """
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    options = {} if watched else {"disable": True}
    return tqdm(items, desc=description, total=total, unit=unit, leave=False, **options)
