"""Two editions in one site: some of the real pages, with the published notebooks standing in for another's runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from vlm_sae_lib import paths
from vlm_sae_lib.publishing import edition_switch, notebooks
from vlm_sae_lib.terms import PUBLISHABLE

from .browsing import PHONE, STEERING, facts_of, pages_in_toc, serve, visiting

PAGES = [*pages_in_toc(), "search.html"]
CHAPTERS = [STEERING, "book/live.html", "book/real_models.html", "book/references.html"]
BOTH = ["book/intro.html", *CHAPTERS, "search.html"]
"""What the other edition holds here: a whole one takes as long as the book, and its pages are of these kinds."""
LABEL = "Edition of this book"


@pytest.fixture(scope="session")
def both(site: Path, tmp_path_factory) -> Path:
    """A copy of the built site with a `light` edition of fewer chapters built beside it."""
    root = tmp_path_factory.mktemp("both")
    for name in ("book", "notebooks", "data", "benchmarks"):
        (root / name).symlink_to(paths.root() / name)
    chapters = [{"file": page.removesuffix(".html")} for page in CHAPTERS]
    write_yaml(root / "_toc.yml", {"format": "jb-book", "root": "book/intro", "chapters": chapters})
    configuration = yaml.safe_load((paths.root() / "_config.yml").read_text())
    configuration["sphinx"]["config"]["suppress_warnings"] = ["myst.xref_missing", "ref"]  # of the other chapters
    write_yaml(root / "_config.yml", configuration)
    others = set(edition_switch.editions(site).values()) - {site}
    shutil.copytree(site, root / "_build" / "html",
                    ignore=lambda folder, names: [name for name in names if Path(folder) / name in others])  # fmt: skip
    for published in sorted(paths.notebooks().glob("[0-9]*.ipynb")):
        notebooks.write(root / "runs" / "light" / "notebooks" / published.name, as_run(notebooks.read(published)))
    environment = os.environ | {"VLM_SAE_ROOT": str(root), "VLM_SAE_RUNS": str(root / "runs")}
    command = [sys.executable, "-m", "vlm_sae_lib", "book", "--edition", "light"]
    done = subprocess.run(command, env=environment, cwd=paths.PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "_build" / "html"


def write_yaml(path: Path, content: dict) -> None:
    path.write_text(yaml.safe_dump(content))


def as_run(notebook: notebooks.NotebookNode) -> notebooks.NotebookNode:
    """A published notebook as its run left it: each figure says that it may be published, which publishing drops."""
    for output in (output for cell in notebooks.code_cells(notebook) for output in cell.outputs):
        if "data" in output:
            output.metadata[PUBLISHABLE] = True
    return notebook


@pytest.fixture(scope="session")
def served(both: Path) -> Iterator[str]:
    yield from serve(both)


def test_the_built_site_has_the_switch_only_beside_another_edition(site):
    pages = [page for page in PAGES if LABEL in (site / page).read_text()]
    assert pages == (PAGES if len(edition_switch.editions(site)) > 1 else [])


@pytest.mark.parametrize("page", BOTH)
def test_every_page_of_both_editions_has_the_switch(both, page):
    depth = page.count("/")
    assert f'href="{"../" * depth}light/{page}"' in (both / page).read_text()
    other = (both / "light" / page).read_text()
    assert f'href="{"../" * (depth + 1)}{page}"' in other
    assert "<strong>light edition</strong>" in other
    assert LABEL in (both / page).read_text() and LABEL in other


@pytest.mark.parametrize("page", [f"light/{STEERING}", "light/book/real_models.html", "light/book/live.html", STEERING])
def test_a_page_with_the_switch_is_whole(browser, served, both, page):
    facts = facts_of(browser, served, page)
    assert facts.console_errors == facts.outside_requests == facts.failed_requests == []
    assert all(width <= window for window, width in facts.sideways.items()), facts.sideways
    assert {link for link in facts.links if not (both / link.lstrip("/")).exists()} == set()
    assert facts.widgets[0] == facts.widgets[1]


def test_the_runtime_of_the_live_model_lies_in_a_site_once(both):
    assert [path.relative_to(both).as_posix() for path in both.rglob("onnxruntime-web")] == ["vendor/onnxruntime-web"]
    assert any((both / "vendor" / "onnxruntime-web").glob("*.wasm"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_switch_changes_the_edition_on_a_phone(browser, served, scheme):
    with visiting(browser, served, PHONE) as visit:
        visit.page.emulate_media(color_scheme=scheme)
        page = visit.open(STEERING)
        for current, other, path in (("pocket", "light", f"light/{STEERING}"), ("light", "pocket", STEERING)):
            switch = page.get_by_role("navigation", name=LABEL)
            box = switch.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
            assert switch.locator("[aria-current]").inner_text() == current
            switch.get_by_role("link", name=other, exact=True).click()
            page.wait_for_url(f"{served}/{path}")
        colours = [page.locator(place).first.evaluate("e => getComputedStyle(e).color") for place in
                   (".editions a", ".editions [aria-current]")]  # fmt: skip
        backdrop = page.locator(".bd-header-article").first.evaluate("e => getComputedStyle(e).backgroundColor")
        assert all(contrast(colour, backdrop) >= 4.5 for colour in colours), (colours, backdrop)
        assert visit.console_errors == visit.outside_requests == []


def test_the_switch_needs_no_script(browser, served):
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{served}/book/real_models.html")
    page.get_by_role("navigation", name=LABEL).get_by_role("link", name="light", exact=True).click()
    page.wait_for_url(f"{served}/light/book/real_models.html")
    context.close()


def contrast(colour: str, backdrop: str) -> float:
    """WCAG 2's contrast ratio of two opaque colours as a browser spells them, ``rgb(r, g, b)``."""
    lights = sorted(map(_luminance, (colour, backdrop)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
