"""The built site, and a browser that reaches nothing else."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from vlm_sae_lib import paths

from .browsing import BROWSERS, FLAGS, Facts, Visit, facts_of, serve, visiting


@pytest.fixture(scope="session")
def site() -> Path:
    if not (paths.site() / "index.html").exists():
        pytest.fail(f"there is no site at {paths.site()}: build it with `make book` or `python -m vlm_sae_lib book`")
    return paths.site()


@pytest.fixture(scope="session")
def origin(site: Path) -> Iterator[str]:
    yield from serve(site)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if os.environ.get("BROWSER") == "skip":
        pytest.skip("BROWSER=skip")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(f"none of {', '.join(BROWSERS)} was found: install Debian's package chromium, or set BROWSER=skip")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Visit]:
    with visiting(browser, origin) as visit:
        yield visit


@pytest.fixture(scope="session")
def facts(browser: Browser, origin: str) -> Callable[[str], Facts]:
    seen: dict[str, Facts] = {}

    def look(path: str) -> Facts:
        if path not in seen:
            seen[path] = facts_of(browser, origin, path)
        return seen[path]

    return look
