"""Editions of the book: another profile's notebooks in a copy of its source, and the switch between built editions."""

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_output
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import paths
from vlm_sae_lib.commands import book
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.publishing import colab, edition_switch, editions, notebooks

CHECKOUT = paths.PACKAGE.parent
NAMES = ("01_toy", "02_toy")
LIGHT = load_profile("light")


def executed(notebook, profile="light"):
    """As papermill leaves it: an injected cell, counts, a line printed per cell, a warning on stderr."""
    repository = colab.Repository("https://github.com/somebody/a-book", "main")
    notebook = colab.headed(nbformat.from_dict(notebook), "toy", repository)
    place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in notebooks.tags(cell))
    injected = nbformat.v4.new_code_cell(f'profile = "{profile}"', metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(place + 1, injected)
    notebook.metadata["papermill"] = {"duration": 3.2}
    for count, cell in enumerate(notebooks.code_cells(notebook), start=1):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text=f"line {count} of {profile}\n")]
    cell.outputs.append(new_output("stream", name="stderr", text="a library is deprecated\n"))
    return notebook


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with two notebooks, both run under `light`."""
    root = tmp_path / "checkout"
    monkeypatch.setenv("VLM_SAE_ROOT", str(write_checkout(root, {name: toy_notebook(name) for name in NAMES})))
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (root / "_config.yml").write_text("title: A book\n" + (root / "_config.yml").read_text())
    (root / "book").mkdir()
    (root / "book" / "intro.md").write_text("# Intro\n")
    for name in NAMES:
        path = paths.runs("light") / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        notebooks.write(path, executed(toy_notebook(name)))
    return root


def run_of(name: str) -> Path:
    return paths.runs("light") / "notebooks" / f"{name}.ipynb"


# The source of another edition


def test_the_source_holds_the_profiles_runs_and_says_so(checkout):
    before = {path: path.read_bytes() for path in (checkout / "notebooks").iterdir()}
    folder = editions.write_source("light")
    for name in NAMES:
        shown = notebooks.read(folder / "notebooks" / f"{name}.ipynb")
        assert notebooks.problems(shown) == []
        assert notebooks.parameters(shown) == {"profile": "'light'", "seed": "3"}
        outputs = [output.text for cell in notebooks.code_cells(shown) for output in cell.outputs]
        assert outputs and all("of light" in text for text in outputs)
    configuration = yaml.safe_load((folder / "_config.yml").read_text())
    assert configuration["title"] == "A book (light edition)"
    assert configuration["repository"]["url"] == "https://github.com/somebody/a-book"
    assert configuration["sphinx"]["config"]["edition"] == "light"
    assert (folder / "book" / "intro.md").exists() and (folder / "_toc.yml").exists()
    assert folder.is_relative_to(paths.site().parent)
    assert {path: path.read_bytes() for path in (checkout / "notebooks").iterdir()} == before


def test_the_source_is_made_anew(checkout):
    folder = editions.write_source("light")
    (folder / "book" / "old.md").write_text("# No longer in the book\n")
    assert not (editions.write_source("light") / "book" / "old.md").exists()


def test_the_line_on_each_page_names_what_was_run_on_what():
    line = editions.announcement(LIGHT)
    assert "<strong>light edition</strong>" in line and "pocket world" in line
    for spec in (LIGHT.tower, LIGHT.scoring_towers[0][1], LIGHT.vlm):
        name, _, commit = spec.rpartition("/")[2].partition("@")
        assert name in line and commit and commit not in line
    assert LIGHT.test_pictures.partition(":")[0] in line


def test_other_options_of_the_theme_stay():
    before = {"title": "A", "sphinx": {"config": {"html_theme_options": {"a": 1}, "language": "en"}}}
    after = editions.configured(before, LIGHT)["sphinx"]["config"]
    assert after["html_theme_options"]["a"] == 1 and after["language"] == "en"


def test_a_comment_beside_the_profile_stays():
    source = toy_notebook("01_toy", parameters='profile = "pocket"  # or another: é\nseed = 3')
    run = executed(source)
    shown = editions.as_run(run, run, "light")
    cell = next(cell for cell in shown.cells if "parameters" in notebooks.tags(cell))
    assert cell.source == 'profile = "light"  # or another: é\nseed = 3'


def refused(edition="light") -> str:
    with pytest.raises(UserError) as complaint:
        editions.write_source(edition)
    assert not editions.source_folder(edition).exists()
    return str(complaint.value)


def test_a_notebook_that_was_not_run_is_named(checkout):
    run_of("02_toy").unlink()
    message = refused()
    assert "02_toy" in message and "run --profile light" in message and "more" not in message


def test_a_run_that_broke_off_is_not_shown(checkout):
    broken = executed(toy_notebook("01_toy"))
    last = notebooks.code_cells(broken)[-1]
    last.execution_count, last.outputs = None, [new_output("error", ename="MemoryError", evalue="", traceback=[])]
    notebooks.write(run_of("01_toy"), broken)
    assert "01_toy" in (message := refused()) and "(and 1 more)" in message


def test_a_run_of_other_code_is_not_shown(checkout):
    notebooks.write(run_of("01_toy"), executed(toy_notebook("01_toy", "print(2)")))
    assert "01_toy: its code has changed since it was run" in refused()


def test_an_edition_of_no_profile_is_refused(checkout):
    assert "nonsense" in refused("nonsense") and "light" in refused("nonsense")


# The switch


class Switch(HTMLParser):
    """What a page's switch says: the links by their words, and the word that is current."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.current, self.label, self._open = {}, None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "nav" and attrs.get("class") == "editions":
            self.label = attrs.get("aria-label")
        if self.label and tag in ("a", "span"):
            self._open = attrs

    def handle_data(self, data):
        if self._open and "href" in self._open:
            self.links[data] = self._open["href"]
        elif self._open and self._open.get("aria-current"):
            self.current = data
        self._open = None


def page(path: Path, text="<header><!-- editions --><!-- /editions --></header>") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def site_of(folder: Path, *pages: str) -> None:
    page(folder / edition_switch.SIGN)
    for name in ("index.html", *pages):
        page(folder / name)


def leads_to(site: Path, where: str, word: str) -> str:
    """The page of the site that a switch's word leads to."""
    target = (site / where).parent / Switch((site / where).read_text()).links[word]
    return Path(os.path.normpath(target)).relative_to(site).as_posix()


def test_the_switch_leads_to_the_same_page_of_the_other_edition(tmp_path):
    site_of(tmp_path, "search.html", "notebooks/01.html", "book/experiments/layers.html")
    site_of(tmp_path / "light", "search.html", "notebooks/01.html", "book/experiments/layers.html")
    assert edition_switch.write_switch(tmp_path) == ["pocket", "light"]
    for name in ("search.html", "notebooks/01.html", "book/experiments/layers.html"):
        assert leads_to(tmp_path, name, "light") == f"light/{name}"
        assert leads_to(tmp_path, f"light/{name}", "pocket") == name
        assert Switch((tmp_path / name).read_text()).current == "pocket"
        assert Switch((tmp_path / "light" / name).read_text()).current == "light"
        assert Switch((tmp_path / name).read_text()).label == "Edition of this book"


def test_a_page_that_the_other_edition_lacks_leads_to_its_first_page(tmp_path):
    site_of(tmp_path, "book/new.html")
    site_of(tmp_path / "light")
    edition_switch.write_switch(tmp_path)
    assert leads_to(tmp_path, "book/new.html", "light") == "light/index.html"


def test_an_edition_alone_has_no_switch_and_loses_the_one_it_had(tmp_path):
    site_of(tmp_path, "notebooks/01.html")
    before = (tmp_path / "notebooks/01.html").read_bytes()
    assert edition_switch.write_switch(tmp_path) == ["pocket"]
    assert (tmp_path / "notebooks/01.html").read_bytes() == before
    site_of(tmp_path / "light", "notebooks/01.html")
    edition_switch.write_switch(tmp_path)
    assert b"<nav" in (tmp_path / "notebooks/01.html").read_bytes()
    shutil.rmtree(tmp_path / "light")
    edition_switch.write_switch(tmp_path)
    assert (tmp_path / "notebooks/01.html").read_bytes() == before


def test_writing_the_switch_twice_changes_nothing(tmp_path):
    site_of(tmp_path, "a.html")
    site_of(tmp_path / "light", "a.html")
    edition_switch.write_switch(tmp_path)
    once = {path: path.read_bytes() for path in tmp_path.rglob("*.html")}
    edition_switch.write_switch(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.html")} == once


def test_a_folder_that_is_no_edition_is_none(tmp_path):
    site_of(tmp_path, "notebooks/01.html")
    assert list(edition_switch.editions(tmp_path)) == ["pocket"]
    assert edition_switch.editions(tmp_path / "nowhere") == {}


def test_building_the_published_edition_keeps_the_others_and_nothing_else(tmp_path):
    site = tmp_path / "_build" / "html"
    site_of(site, "book/old.html")
    site_of(site / "light", "a.html")
    page(site.parent / ".doctrees" / "a.doctree")
    book.clear(site)
    assert [path.name for path in site.iterdir()] == ["light"]
    assert (site / "light" / "a.html").exists() and not (site.parent / ".doctrees").exists()


def test_the_editions_are_joined_where_no_package_is_installed(tmp_path):
    """As on the machine that publishes: the two were built elsewhere."""
    site = tmp_path / "_build" / "html"
    site_of(site, "a.html")
    site_of(site / "light", "a.html")
    command = [sys.executable, "-S", "-m", "vlm_sae_lib", "book", "--switch-only"]
    environment = {"VLM_SAE_ROOT": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "pocket, light" in done.stdout
    assert leads_to(site, "a.html", "light") == "light/a.html"


# Both, built


def test_two_editions_are_built_side_by_side(checkout, capfd, monkeypatch):
    """With the book's own configuration, templates and extensions, and toy pages."""
    for name in ("_ext", "_static", "_templates", "images"):
        shutil.copytree(
            CHECKOUT / "book" / name, checkout / "book" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    (checkout / "book" / "vendor_root" / "vendor" / "html-manager").mkdir(parents=True)
    (checkout / "book" / "vendor_root" / "vendor" / "html-manager" / "embed.js").write_text("")
    shutil.copyfile(CHECKOUT / "book" / "references.bib", checkout / "book" / "references.bib")
    configuration = yaml.safe_load((CHECKOUT / "_config.yml").read_text())
    for name in ("experiments", "inventory", "benchmark_page", "live"):  # slow to import, and of no use here
        configuration["sphinx"]["config"]["extensions"].remove(name)
        del configuration["sphinx"]["local_extensions"][name]
    (checkout / "_config.yml").write_text(yaml.safe_dump(configuration))
    chapters = "\n".join(f"  - file: notebooks/{name}" for name in NAMES)
    (checkout / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\nchapters:\n{chapters}\n")
    for profile, value in (("pocket", 1), ("light", 2)):
        folder = paths.published_results() if profile == "pocket" else paths.results(profile)
        folder.mkdir(parents=True)
        (folder / "01_toy.json").write_text(json.dumps({"results": {"n": {"value": value}}}))
    (checkout / "book" / "intro.md").write_text("# Intro\n\nThere: {result}`01_toy/n`.\n")
    source = toy_notebook("01_toy")
    source.cells.append(nbformat.v4.new_markdown_cell("Here: {result}`01_toy/n`."))
    notebooks.write(paths.notebooks() / "01_toy.ipynb", executed(source, "pocket"))
    notebooks.write(run_of("01_toy"), executed(source))

    monkeypatch.setattr("vlm_sae_lib.live.publish.publish", Path.mkdir)  # the toy checkout has no model
    monkeypatch.setattr("vlm_sae_lib.atlas.published.publish", lambda *_: None)
    monkeypatch.setattr("vlm_sae_lib.live.latents.latents", lambda: {"latents": []})
    assert book.build("pocket", verbose=False) == 0, capfd.readouterr().err
    alone = (paths.site() / "notebooks" / "01_toy.html").read_text()
    assert "editions" in alone and Switch(alone).label is None and "edition</strong>" not in alone
    assert book.build("light", verbose=False) == 0, capfd.readouterr().err
    assert edition_switch.write_switch(paths.site()) == ["pocket", "light"]
    assert (paths.site() / "live").is_dir() and not (paths.site() / "light" / "live").exists()

    for name in ("book/intro.html", "notebooks/01_toy.html", "notebooks/02_toy.html", "search.html"):
        assert leads_to(paths.site(), name, "light") == f"light/{name}"
        assert leads_to(paths.site(), f"light/{name}", "pocket") == name
        assert "<strong>light edition</strong>" in (paths.site() / "light" / name).read_text(), name
        assert "<strong>light edition</strong>" not in (paths.site() / name).read_text(), name
    light = (paths.site() / "light" / "notebooks" / "01_toy.html").read_text()
    assert "line 1 of light" in light and "of pocket" not in light and "Here: 2." in light
    assert "There: 1." in (paths.site() / "light" / "book" / "intro.html").read_text()
    assert "line 1 of pocket" in (paths.site() / "notebooks" / "01_toy.html").read_text()
    assert "Here: 1." in (paths.site() / "notebooks" / "01_toy.html").read_text()
