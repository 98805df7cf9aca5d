"""The book's own parts: numbers in prose, its configuration, its entries."""

import re
from dataclasses import fields
from types import SimpleNamespace

import pytest
import yaml
from book_extensions import extension
from island_results import CLAIM, where

from vlm_sae_lib import paths
from vlm_sae_lib.claims.islands import ask
from vlm_sae_lib.files import write_json
from vlm_sae_lib.profiles import PROFILES, Profile


@pytest.fixture
def role():
    return extension("results_role")


@pytest.fixture(scope="module")
def inventory():
    return extension("inventory")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))
    entry = {"value": 0.7249, "ci_low": 0.7, "ci_high": 0.751, "n": 12345}
    rows = {"mean": entry, "none": entry | {"value": None}, "loss": entry | {"value": -0.031}}
    write_json(paths.published_results() / "03_toy.json", {"results": rows})


def test_a_number_in_prose_is_the_published_one(role, results):
    assert role.text_of("03_toy/mean") == "0.72"
    assert role.text_of("03_toy/mean:interval") == "0.72 (0.70 to 0.75)"
    assert role.text_of("03_toy/mean:n") == "12,345"
    assert role.text_of("03_toy/none") == "–"
    assert role.text_of("03_toy/loss") == "−0.03"


def test_a_count_in_prose_says_what_is_counted_and_of_how_many(role):
    name = "naming/Matryoshka ×4 at block_5/its top pictures/precision"
    assert re.fullmatch(r"\d+ of 512 latents", role.text_of(f"{name}:counted"))


@pytest.mark.parametrize("reference", ["04_toy/mean", "03_toy/median", "03_toy/mean:p", "mean"])
def test_a_number_that_no_run_made_is_refused(role, results, reference):
    with pytest.raises(KeyError):
        role.text_of(reference)


def test_a_notebooks_page_in_another_edition_reads_that_profiles_run(role, results, monkeypatch):
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    write_json(paths.results("light") / "03_toy.json", {"results": {"mean": {"value": 0.51}}})
    assert role.text_of("03_toy/mean", "notebooks/03_toy", "light") == "0.51"
    assert role.text_of("03_toy/mean", "notebooks/03_toy", "pocket") == "0.72"
    assert role.text_of("03_toy/mean", "book/experiments/layers", "light") == "0.72"
    with pytest.raises(KeyError):  # never another profile's number instead
        role.text_of("03_toy/loss", "notebooks/03_toy", "light")


def test_every_setting_of_every_profile_is_in_the_table(inventory):
    rows = [row for field in fields(Profile) for row in inventory.settings(Profile, field)]
    names = [row.name for row in rows]
    for field in fields(Profile):
        assert field.name in names or any(name.startswith(f"{field.name}.") for name in names), field.name
    assert all(len(row.values) == len(PROFILES) for row in rows)
    tower = next(row for row in rows if row.name == "tower")
    assert tower.values == tuple(profile.tower for profile in PROFILES.values()) and "tower" in tower.meaning
    lines = inventory.table(rows)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert all(name in lines[0] for name in PROFILES)


def test_values_in_the_table_are_told_as_they_are(inventory):
    assert [inventory.shown(value) for value in (None, (), True, 4096, 2e-3, (1, 0.5))] == [
        "–", "–", "yes", "4,096", "0.002", "1, 0.5",
    ]  # fmt: skip
    assert inventory.shown((("a", "hf:x/y"), ("b", "<z>"))) == "a: hf:x/y<br>b: &lt;z&gt;"


def test_what_can_be_loaded_is_read_from_the_library(inventory):
    from vlm_sae_lib.vlms.families import FAMILIES

    said = {name: "\n".join(lines()) for name, lines in inventory.KNOWN.items()}
    assert all(f"`{family}`" in said["vlms"] for family in FAMILIES)
    assert "`hf:" in said["towers"] and "`open_clip:" in said["towers"]
    assert "`imagenet:" in said["pictures"]
    for library in ("SAELens", "dictionary_learning", "sparsify", "saev", "overcomplete", "ViT-Prisma"):
        assert library in said["saes"]


def test_every_page_of_the_contents_exists_and_every_page_is_in_the_contents():
    toc = yaml.safe_load((paths.root() / "_toc.yml").read_text())
    files = {toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])}
    for file in files:
        assert any((paths.root() / f"{file}{ending}").exists() for ending in (".md", ".ipynb")), file
    assert {f"book/{path.stem}" for path in (paths.root() / "book").glob("*.md")} <= files


def test_every_citation_has_an_entry_and_every_entry_is_complete():
    entries = dict(re.findall(r"@\w+\{([^,]+),(.*?)\n\}", (paths.root() / "book" / "references.bib").read_text(), re.S))
    assert len(entries) > 10
    for key, body in entries.items():
        assert all(f"  {field} = " in body for field in ("title", "author", "year")), key
    pages = [*(paths.root() / "book").glob("*.md"), *paths.notebooks().glob("*.ipynb")]
    cited = [keys for page in pages for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", page.read_text())]
    assert {key for keys in cited for key in keys.split(",")} <= set(entries)


def test_the_public_address_stands_in_one_place():
    config = (paths.root() / "_config.yml").read_text()
    address = yaml.safe_load(config)["repository"]["url"]
    assert config.count(address) == 1
    assert address not in (paths.root() / "README.md").read_text()
    for module in paths.PACKAGE.rglob("*.py"):
        assert address not in module.read_text(encoding="utf-8"), module


OF_FORMS = {
    "analysis_plan", "architecture", "benchmarks", "cite", "glossary", "paper_index", "real_models", "recipes",
    "references", "store",
}  # fmt: skip
"""Pages whose numbers are bars, settings, versions and the paper's tables; no results stand in their prose."""
TYPED = {
    "agreement": {"0.7": "the paper's bin"}, "captioning": {"12.7 %": "the summaries' number"},
    "layers": {".8": "a setting"}, "origins": {".8": "a setting"},
    "recovery": {".7": "a bar", "16,384": "another benchmark's"}, "similarity": {"22 %": "the paper's"},
    "uniqueness": {"12,288": "the paper's"},
}  # fmt: skip
"""By page the numbers that are none of ours, and what they are."""
BLOCK, ROLE, LINK = r"^(`{3,}|:{3,})\{.*?^\1\s*$", r"\{[\w:-]+\}`[^`]*`|`[^`]*`", r"(\[arXiv [\d.]+)?\]\([^)]*\)"
NUMBER = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d*\.\d+|\d+(?= ?%))(?: ?%)?")
PROSE = [path for folder in ("", "experiments") for path in sorted((paths.root() / "book" / folder).glob("*.md"))
         if path.stem not in OF_FORMS]  # fmt: skip


def typed(text: str) -> set[str]:
    """What looks like a measured number in a page's own prose; "95 %" of an interval is none."""
    prose = re.sub(ROLE + "|" + LINK, "", re.sub(BLOCK, "", text, flags=re.M | re.S))
    return set(NUMBER.findall(prose)) - {"95 %"}


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.stem)
def test_only_published_numbers_stand_in_prose(page):
    """Figures of ours come from a role or a directive; what looks like a measured number was typed."""
    assert typed(page.read_text(encoding="utf-8")) == set(TYPED.get(page.stem, ()))


def test_a_typed_number_is_seen_and_a_computed_one_is_none():
    assert typed("In 3.5 % of 4,000 it is .25, at 95 %.") == {"3.5 %", "4,000", ".25"}
    assert typed("{result}`a/0.5` and `0.5`, [1.5](x.html#2.5), K = 20, x2.5\n```{table}\n0.5\n```\n") == {"1.5"}


def test_the_strip_of_a_claim_is_drawn_once_more_with_the_same_bytes(tmp_path):
    answers = ask(CLAIM, where(tmp_path, home=0.2, atoll=0.1))
    page = SimpleNamespace(env=SimpleNamespace(srcdir=tmp_path))
    lines = extension("claims_page").Claims.strip(page, answers, 3)
    drawn = tmp_path / lines[0].removeprefix("```{figure} /")
    before = drawn.read_bytes()
    assert lines == extension("claims_page").Claims.strip(page, answers, 3) and drawn.read_bytes() == before
    assert drawn.name == "claim-3.svg" and lines[1].startswith(":alt: Holds on 2 of 2 islands. published island: ")


def test_the_strip_of_a_claim_is_dark_in_the_dark(tmp_path):
    answers = ask(CLAIM, where(tmp_path, home=0.2, twin=0.3, atoll=0.1))
    page = SimpleNamespace(env=SimpleNamespace(srcdir=tmp_path))
    lines = extension("claims_page").Claims.strip(page, answers, 0)
    drawn = (tmp_path / lines[0].removeprefix("```{figure} /")).read_text()
    assert ":class: dark-light plot" in lines, "else the theme lays a white sheet under it"
    assert "prefers-color-scheme: dark" in drawn and "published island" in drawn
    bare = re.sub(r"<style>@media.*?</style>|var\([^)]*\)", "", drawn)
    assert re.findall(r"#[0-9a-f]{6}\b(?!\))", bare) == [], "each colour is one that a page can change"


def test_a_line_of_the_benchmarks_is_what_was_measured():
    page = extension("benchmark_page")
    row = {"work": "w", "ours_median": 0.25, "peer": "p", "theirs_median": 2.5, "theirs": [2.5], "ratio": 10.0,
           "ratio_low": 9.0, "ratio_high": 12.5, "wanted": 8, "facts": {}}  # fmt: skip
    assert page.cells(row) == ["w; beside it *p*", "250 ms", "2.5 s", "10 [9, 12.5] (8 ×)"]
    assert page.goal_is_met(row) is True and page.goal_is_met(row | {"wanted": 11}) is False
    assert page.goal_is_met(row | {"wanted": None}) is None
    alone = row | {"theirs": [], "wanted": None, "facts": {"goal_seconds": 2}}
    assert page.cells(alone) == ["w", "250 ms", "–", "(2 s)"] and page.goal_is_met(alone) is True


def test_the_tables_of_costs_have_a_row_for_each_profile_and_model():
    plans = extension("plans")
    profiles, models = plans.profiles(), plans.models()
    assert [line.split("*")[1] for line in profiles[2:]] == list(PROFILES)
    assert len(models) == 2 + len(plans.SHOWN) and "| llava-1.5-7b-hf | 7.06 × 10⁹ |" in "\n".join(models)
    columns = [line.count("|") for table in (profiles, models) for line in table]
    assert len(set(columns[: len(profiles)])) == len(set(columns[len(profiles) :])) == 1
    assert not re.search(r"\de[+-]", "".join(profiles + models))


def test_the_atlas_is_found_from_any_page_of_any_edition():
    atlas = extension("atlas")
    assert atlas.home("intro", "pocket") == "atlas/index.html"
    assert atlas.home("book/atlas", "pocket") == "../atlas/index.html"
    assert atlas.home("book/experiments/naming", "light") == "../../../atlas/index.html"


def test_the_atlas_tables_tell_every_autoencoder_and_each_column_once():
    atlas = extension("atlas")
    column = {"name": "ms_1", "title": "MS", "meaning": "how alike"}
    sae = {"key": "a b", "title": "A", "sentence": "S.", "latents": 1024, "silent": 3, "tree": True, "steering": None}
    index = {"saes": [sae | {"columns": [column]}, sae | {"columns": [column | {"name": "f1", "title": "F1"}]}]}
    rows = atlas.saes(index, "there")
    assert len(rows) == 4 and 'href="there#sae=a%20b"' in rows[2] and "1,024" in rows[2] and "#tree&amp;sae" in rows[2]
    assert [row.split(" | ")[0] for row in atlas.columns(index)[2:]] == ["| MS", "| F1"]
