"""The built site in a browser, with the network cut: its weight, the way in, the search, the steering page's panel."""

import re

from playwright.sync_api import expect

from vlm_sae_lib.publishing.edition_switch import editions

from .browsing import PHONE, STEERING

LIVE_MODEL = ("live/model/", "vendor/onnxruntime-web/")
"""What alone does not count: the graphs of the live model and what runs them, fetched by who asks for them."""
AT_MOST = 15 * 10**6  # bytes


def test_the_site_is_light_but_for_the_live_model(site):
    """Every file of the published edition, as it lies on the disk: pages, figures, atlas, scripts, downloads."""
    others = [folder for folder in editions(site).values() if folder != site]
    sizes = {
        path.relative_to(site).as_posix(): path.stat().st_size
        for path in site.rglob("*")
        if path.is_file() and not any(folder in path.parents for folder in others)
    }
    apart = {name for name in sizes if name.startswith(LIVE_MODEL)}
    assert all(any(name.startswith(folder) for name in apart) for folder in LIVE_MODEL)
    counted = {name: size for name, size in sizes.items() if name not in apart}
    heaviest = sorted(counted.items(), key=lambda one: -one[1])[:10]
    assert sum(counted.values()) <= AT_MOST, (sum(counted.values()), heaviest)


def test_notebooks_can_be_downloaded_and_pages_of_words_are_shown_by_their_repository(site):
    button = "btn-download-source-button"
    for notebook in site.glob("notebooks/*.html"):
        assert button in notebook.read_text(encoding="utf-8")
        assert (site / "_sources" / "notebooks" / f"{notebook.stem}.ipynb").is_file()
    for page in site.glob("book/**/*.html"):
        told = page.read_text(encoding="utf-8")
        assert button not in told and "btn-source-repository-button" in told, page


def test_the_first_page_is_the_introduction(visit, site):
    visit.open("index.html").wait_for_url("**/book/intro.html")
    icon = re.search(r'rel="icon" href="([^"]+)"', (site / "index.html").read_text(encoding="utf-8"))
    assert icon and (site / icon[1]).is_file(), "a browser would ask for /favicon.ico, which is not there"


def test_search_finds_a_word(visit):
    page = visit.open("search.html?q=latent")
    expect(page.locator("#search-results li a[href*='glossary']").first).to_be_visible()
    assert visit.outside_requests == visit.console_errors == []


def panel(page):
    """The steering panel: its range, its choice of neurons, its caption."""
    return (
        page.get_by_role("slider", name="steering strength", exact=True),
        page.get_by_role("combobox", name="neuron", exact=True),
        page.get_by_role("status", name="caption", exact=True),
    )


def captions_along(page, strength, caption) -> list[str]:
    """The captions met on the way from the weakest to the strongest steering, by the keyboard."""
    strength.focus()
    page.keyboard.press("Home")
    seen = [caption.inner_text()]
    while strength.evaluate("r => Number(r.value) < Number(r.max)"):
        before = strength.input_value()
        page.keyboard.press("ArrowRight")
        assert strength.input_value() != before
        seen.append(caption.inner_text())
    return seen


def test_moving_the_strength_changes_the_caption(visit):
    page = visit.open(STEERING)
    strength, neuron, caption = panel(page)
    assert neuron.locator("option").count() >= 2
    for option in range(neuron.locator("option").count()):
        neuron.select_option(index=option)
        seen = captions_along(page, strength, caption)
        assert len(seen) >= 3 and all(text.strip() for text in seen)
        assert len(set(seen)) >= 2, f"neuron {option} says {seen[0]!r} at every strength"
    assert visit.outside_requests == visit.console_errors == []


def test_choosing_a_neuron_changes_the_caption(visit):
    page = visit.open(STEERING)
    strength, neuron, caption = panel(page)
    strength.focus()
    page.keyboard.press("End")
    seen = set()
    for option in range(neuron.locator("option").count()):
        neuron.select_option(index=option)
        seen.add(caption.inner_text())
    assert len(seen) >= 2


def test_the_panel_works_with_a_mouse_on_a_phone(visit):
    page = visit.open(STEERING)
    page.set_viewport_size(PHONE)
    strength, _, caption = panel(page)
    strength.scroll_into_view_if_needed()
    box = strength.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    weak = caption.inner_text()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert caption.inner_text() != weak
