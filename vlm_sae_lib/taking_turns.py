"""Long pieces of work that need nothing of each other: who does them, and in which order."""

from collections.abc import Callable, Iterator, Sequence

Each = Callable[[Callable[[str], float], Sequence[str], Callable[[str], None]], Iterator[tuple[str, float]]]
"""Takes what is to be done for a name (it returns seconds), the names, and who is told which have begun; gives each
name with its seconds as it ends."""


def in_turn(
    do: Callable[[str], float], names: Sequence[str], say: Callable[[str], None]
) -> Iterator[tuple[str, float]]:
    """One after the other, in this process."""
    for name in names:
        say(begun(name))
        yield name, do(name)


def begun(name: str) -> str:
    return f"{name:<30} running"
