"""The files whose tests take longest begin, so that at the end no worker waits for another one."""

import pytest

LONGEST = (
    "tests/profiles/test_public.py", "tests/experiments/test_keeping_the_rest.py", "tests/pretraining/test_islands.py",
    "tests/experiments/test_monoloss.py", "tests/experiments/test_probing.py", "tests/experiments/test_origins.py",
)  # fmt: skip
"""As ``--durations`` tells; `make test` asks pytest-xdist to keep the order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
