"""The neuron atlas in a browser with the network cut: search, filter, links, keys, comparing, the tree, two widths and
two schemes, and no finding of axe."""

import re

import pytest
from playwright.sync_api import expect

from vlm_sae_lib.files import read_json

from .browsing import PATIENCE, PHONE, findings, visiting

ATLAS = "atlas/index.html"
DESK = {"width": 1440, "height": 900}
SEEN = ".row[data-place]"
VIEWS = ("", "#sae=main_matryoshka&latent=5&with=9", "#sae=steering&latent=3", "#tree&sae=taxonomy_matryoshka&node=3")
MIB = 2**20


@pytest.fixture
def at_desk(browser, origin):
    with visiting(browser, origin, DESK) as visit:
        yield visit


def shown(visit, view=""):
    """The atlas with this view, once everything that the address asks for is in the page."""
    page = visit.open(ATLAS + view)
    expect(page.locator("body[data-shown]")).to_be_attached(timeout=PATIENCE)
    return page


def sound(visit):
    assert visit.console_errors == visit.outside_requests == visit.failed_requests == []


def count(page):
    return int(re.sub(r"\D.*", "", page.locator("#count").inner_text().replace(",", "")))


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "light"), (DESK, "dark")], ids=["phone-light", "desk-dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_sound_accessible_and_fits(browser, origin, view, viewport, scheme):
    with visiting(browser, origin, viewport, scheme) as visit:
        page = shown(visit, view)
        sound(visit)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert findings(page) == {}


def test_a_policy_forbids_all_but_its_own_files_and_holds(at_desk):
    page = shown(at_desk)
    policy = page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert page.locator("script:not([src]), style, [style*='expression']").count() == 0
    blocked = page.evaluate("""() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1';
        document.body.append(s); return window.broken === undefined; }""")
    assert blocked


def column(site, sae, name):
    return read_json(site / "atlas" / sae / "columns" / f"{name}.json")["values"]


@pytest.fixture(scope="module")
def first(site):
    """The most monosemantic latent of the first autoencoder whose name is true of its sixteen top pictures."""
    sae = read_json(site / "atlas" / "atlas.json")["saes"][0]["key"]
    scores, fires, right = (column(site, sae, name) for name in ("ms_1", "fires", "right"))
    return max((i for i, share in enumerate(right) if share == 1 and fires[i] >= 16), key=lambda i: scores[i])


def test_who_comes_without_a_wish_sees_a_telling_latent(at_desk, first):
    page = shown(at_desk)
    expect(page.locator(".panel-head p")).to_contain_text(f"latent {first}")
    expect(page.locator(".invitation")).to_contain_text("the most monosemantic one whose name is true")
    assert page.locator(".tops li").count() == 16
    assert page.evaluate("[location.hash, document.activeElement.tagName, document.title]") == [
        "", "BODY", page.locator("h1").inner_text()]  # fmt: skip
    assert page.locator("#grid").evaluate("g => g.scrollTop") == 0
    page.locator("#search").fill("beetle")
    expect(page.locator("#count")).to_contain_text(" of ")
    expect(page.locator(".panel-head p")).to_contain_text(f"latent {first}")
    assert "latent" not in page.evaluate("location.hash")
    sound(at_desk)


@pytest.mark.parametrize("searched", [False, True])
def test_the_telling_latent_goes_when_it_is_closed_and_comes_back_with_the_address(at_desk, first, searched):
    page = shown(at_desk)
    if searched:
        page.locator("#search").fill("beetle")
        expect(page.locator("#count")).to_contain_text(" of ")
    page.get_by_role("button", name=f"close latent {first}").click()
    expect(page.locator(".panel")).to_have_count(0)
    expect(page.locator(".invitation")).not_to_contain_text("To begin with")
    page.locator("#search").fill("finch")
    expect(page.locator("#count")).to_contain_text(" of ")
    expect(page.locator(".panel")).to_have_count(0)
    if not searched:
        page.go_back()
        expect(page.locator(".panel-head p")).to_contain_text(f"latent {first}")


def test_another_latent_takes_the_place_of_the_telling_one(at_desk, first):
    page = shown(at_desk)
    page.locator(SEEN).nth(3).click()
    expect(page.locator(".panel-head p")).to_contain_text("latent 3")
    expect(page.locator(".invitation")).to_have_count(0)
    page.go_back()
    expect(page.locator(".panel-head p")).to_contain_text(f"latent {first}")


def test_on_a_phone_the_table_comes_first(browser, origin, first):
    with visiting(browser, origin, PHONE) as visit:
        page = shown(visit)
        grid, panel = (page.locator(place).bounding_box() for place in ("#grid", ".panel"))
        assert grid["y"] + 200 < PHONE["height"] and grid["y"] + grid["height"] <= panel["y"]
        assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize(("missing", "words"), [
    (("right",), "whose name CLIP is sure of"), (("right", "confidence"), "most monosemantic one"), (("ms_1",), None),
])  # fmt: skip
def test_an_atlas_that_knows_less_begins_with_what_it_knows(at_desk, missing, words):
    def without(route):
        index = route.fetch().json()
        for sae in index["saes"]:
            sae["columns"] = [column for column in sae["columns"] if column["name"] not in missing]
        route.fulfill(json=index)

    at_desk.page.route("**/atlas.json", without)
    page = shown(at_desk)
    expect(page.locator(".panel")).to_have_count(0 if words is None else 1)
    told = page.locator(".invitation").inner_text()
    assert ("To begin with" in told) == (words is not None) and (words or "") in told
    sound(at_desk)


@pytest.mark.parametrize(
    "view", ["#sae=nobody&latent=99999", "#sae=steering&latent=512&with=7000", "#latent=-1", "#%%&=="]
)
def test_a_link_to_a_latent_that_is_not_there_shows_the_list(at_desk, view):
    page = shown(at_desk, view)
    expect(page.locator(".panel")).to_have_count(0)
    assert page.locator(SEEN).count() > 5
    sound(at_desk)


def test_search_finds_words_and_numbers(at_desk):
    page = shown(at_desk)
    whole = count(page)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("beetle")
    expect(page.locator("#count")).to_contain_text(" of ")
    assert 0 < count(page) < whole
    assert all("beetle" in row.lower() for row in page.locator(SEEN).all_inner_texts())
    page.locator("#search").fill("17")
    expect(page.locator(f"{SEEN} [role=rowheader]")).to_have_text(["17"])
    page.locator("#search").fill("<script>")
    expect(page.locator("#grid")).to_contain_text("No latent is left")
    sound(at_desk)


def test_a_filter_and_a_sort_stand_in_the_address_and_come_back(at_desk):
    page = shown(at_desk)
    page.locator("#filters summary").click()
    page.get_by_label("fires, at least").fill("10")
    page.get_by_label("fires, at most").fill("20")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="MS", exact=True).click()
    expect(page.locator("[aria-sort=descending]")).to_have_text(re.compile("MS"))
    told = page.locator(SEEN).all_inner_texts()
    rates = [float(re.search(r"([\d.]+) %", row)[1]) for row in told]
    assert rates and all(10 <= rate <= 20 for rate in rates)
    scores = [float(text) for text in page.locator(f"{SEEN} .is-number:nth-child(5)").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    address = page.evaluate("location.hash")
    assert "f.fires=0.1..0.2" in address and "sort=-ms_1" in address
    page.goto("about:blank")
    assert shown(at_desk, address).locator(SEEN).all_inner_texts() == told


def test_a_link_opens_its_latent_and_keys_lead_through(at_desk):
    page = shown(at_desk, "#sae=steering&latent=3")
    expect(page.locator(".panel-head p").first).to_contain_text("latent 3")
    assert page.locator(".tops li").count() == 16
    page.locator("#grid").focus()
    for key in ("Home", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#first-title")).to_be_focused()
    assert "latent=2" in page.evaluate("location.hash")
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_have_count(0)
    expect(page.locator("#grid")).to_be_focused()
    page.go_back()
    expect(page.locator(".panel-head p")).to_contain_text("latent 2")
    sound(at_desk)


def test_two_latents_side_by_side(at_desk):
    page = shown(at_desk, "#sae=main_matryoshka&latent=5")
    page.get_by_role("button", name="compare with latent").first.click()
    expect(page.locator(".panel")).to_have_count(2)
    boxes = [page.locator(".panel").nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.get_by_role("button", name="close latent 5").click()
    expect(page.locator(".panel")).to_have_count(1)
    assert "latent 5" not in page.locator(".panel-head p").inner_text()


def test_steering_is_shown_by_dose(at_desk, site):
    index = read_json(site / "atlas" / "atlas.json")
    sae = next(sae for sae in index["saes"] if sae["key"] == "steering")
    details = read_json(site / "atlas" / "steering" / "latents" / "0000.json")["latents"]
    texts = read_json(site / "atlas" / "steering" / "texts.json")["texts"]
    latent = next(i for i, one in enumerate(details) if "captions" in one["steering"])
    page = shown(at_desk, f"#sae=steering&latent={latent}")
    dose = page.get_by_label("how far it is turned up")
    dose.focus()
    page.keyboard.press("Home")
    expect(page.locator(".answers li")).to_have_text(sae["steering"]["before"])
    page.keyboard.press("ArrowRight")
    said = [texts[place] or "(says nothing)" for place in details[latent]["steering"]["captions"][0]]
    expect(page.locator(".answers li")).to_have_text(said)


def test_a_latent_that_the_live_page_has_leads_there(at_desk, site):
    live = read_json(site / "atlas" / "atlas.json")["live"]
    known = {row["latent"] for row in read_json(site / "live" / "model.json")["named"]}
    assert live["sae"] == "steering" and set(live["latents"]) == known
    details = read_json(site / "atlas" / "steering" / "latents" / "0000.json")["latents"]
    steered = [i for i, one in enumerate(details) if "captions" in one["steering"]]
    latent = next(i for i in steered if i in known)
    page = shown(at_desk, f"#sae=steering&latent={latent}")
    page.get_by_role("link", name="Turn it yourself on the live page").click()
    page.wait_for_url(f"**/live/index.html#*latent={latent}&strength=1*")
    page.go_back()
    page = shown(at_desk, "#sae=main_matryoshka&latent=5")
    expect(page.get_by_role("link", name="Turn it yourself on the live page")).to_have_count(0)


def test_the_tree_leads_to_a_latent(at_desk, site):
    tree = read_json(site / "atlas" / "taxonomy_matryoshka" / "tree.json")
    page = shown(at_desk, "#tree&sae=taxonomy_matryoshka")
    knots = page.locator(".knot")
    assert knots.count() == len(tree["nodes"]["name"])
    place = next(i for i, first in enumerate(tree["latents"]["first"]) if first)
    name, latent = tree["nodes"]["name"][tree["latents"]["node"][place]], tree["latents"]["latent"][place]
    knot = page.get_by_role("button", name=re.compile(rf"^{re.escape(name)}, .*latent {latent}, precision")).first
    knot.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#taxon-title")).to_have_text(name)
    page.locator(".beside .chip").filter(has_text=re.compile(rf"\b{latent}$")).click()
    expect(page.locator(".panel-head p")).to_contain_text(f"latent {latent}")
    sound(at_desk)


def test_levels_light_up(at_desk):
    page = shown(at_desk, "#tree&sae=taxonomy_matryoshka")
    lit = page.locator(".knot.lit").count()
    boxes = page.locator(".levels input")
    for i in range(1, boxes.count()):
        page.locator(".levels input").nth(i).uncheck()
    expect(page.locator(".levels input:checked")).to_have_count(1)
    assert 0 < page.locator(".knot.lit").count() < lit


def test_the_choice_of_the_book_between_light_and_dark_holds_here(at_desk):
    page = shown(at_desk)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.evaluate("localStorage.setItem('mode', 'dark')")
    page.reload(wait_until="networkidle")
    assert page.evaluate(colour) != light


def test_a_page_and_the_whole_are_small(at_desk, site):
    sizes = []
    at_desk.page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    shown(at_desk, "#sae=main_matryoshka&latent=5")
    assert sum(sizes) < 1.5 * MIB
    assert sum(path.stat().st_size for path in (site / "atlas").rglob("*") if path.is_file()) < 6.5 * MIB
