"""A short selection of the site's tests in Debian's Firefox, in the light at a desk and in the dark on a phone.

puppeteer-core drives it over WebDriver BiDi, from ``firefox/run.mjs``; what is asked stands in ``firefox/checks.mjs``.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from .browsing import pages_in_toc, serve

pytestmark = pytest.mark.long
HERE = Path(__file__).parent / "firefox"
PAGES = [*pages_in_toc(), "search.html", "atlas/index.html", "live/index.html"]
ASKED = re.findall(r'^  async "([^"]+)"', (HERE / "checks.mjs").read_text(encoding="utf-8"), re.MULTILINE)
WAYS = ("light, 1440 px", "dark, 390 px")
FIREFOX, NODE = ("firefox-esr", "firefox"), 18
Checks = Callable[..., dict[str, str | None]]


def missing() -> str | None:
    """What is not there, and how to get it."""
    if os.environ.get("BROWSER") == "skip":
        return "BROWSER=skip"
    if not any(map(shutil.which, FIREFOX)):
        return "Firefox was not found: apt-get install firefox-esr"
    if not shutil.which("npm") or not shutil.which("node"):
        return f"Node and npm were not found: apt-get install nodejs npm (Node {NODE} or newer)"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(re.findall(r"\d+", version)[0]) < NODE:
        return f"Node {NODE} or newer is needed and this is {version}: install one, from nodejs.org for instance"
    return None


@pytest.fixture(scope="session")
def checks() -> Checks:
    """By name of a check what was found at fault, or None."""
    if why := missing():
        pytest.skip(why)
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        got = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, capture_output=True, text=True)
        if got.returncode:
            pytest.skip(f"npm could not fetch puppeteer-core, try `npm ci` in {HERE}: {got.stderr.strip()[-200:]}")
    firefox = next(filter(None, map(shutil.which, FIREFOX)))

    def run(origin: str, what: str, pages: Iterable[str]) -> dict[str, str | None]:
        command = ["node", "run.mjs", origin, firefox, what, *pages]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return {one["name"]: one["fault"] for one in map(json.loads, done.stdout.splitlines())}

    return run


@pytest.fixture(scope="session")
def faults(checks: Checks, origin: str) -> dict[str, str | None]:
    found = checks(origin, "all", PAGES)
    assert set(found) == {f"{name}, {way}" for name in (*PAGES, *ASKED) for way in WAYS}
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*PAGES, *ASKED])
def test_it_is_well_in_firefox(faults, name, way):
    fault = faults[f"{name}, {way}"]
    assert fault is None, fault


def test_the_checks_see_each_kind_of_fault(checks, tmp_path):
    (tmp_path / "bad.html").write_text(
        """<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><h1>bad</h1>
        <div style="width: 2000px">wide</div><script src="https://example.org/outside.js"></script>
        <script>console.error("a complaint"); fetch("/missing.json"); throw new Error("a mishap")</script>"""
    )
    for origin in serve(tmp_path):
        found = checks(origin, "pages", ["bad.html"])
    assert len(found) == len(WAYS)
    for fault in found.values():
        for part in ("a complaint", "a mishap", "outside: https://example.org", "404 http", "px wide in a window of"):
            assert part in fault, (part, fault)
