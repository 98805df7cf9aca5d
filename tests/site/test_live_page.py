"""The live page in a browser: links, keys, a failed load, hostile text, phones, the dark, assistive technology."""

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from vlm_sae_lib import paths
from vlm_sae_lib.live import latents

from .browsing import PHONE, findings, visiting
from .test_live_model import settle

LIVE = "live/index.html"
CAVE = "#picture=ruby-dotshell,meadow,medium,1&latent=18&strength=2"
MEGABYTES = 30


@pytest.fixture(scope="module")
def model(browser, origin):
    """The page with its model, loaded once for all tests that ask it for an answer."""
    with visiting(browser, origin) as visit:
        visit.open(LIVE + CAVE).get_by_role("button", name=re.compile("Load the model")).click()
        settle(visit.page, 0)
        yield visit


@pytest.fixture
def loaded(model):
    """That page in the state of a link, which is opened anew; the model is kept."""

    def load(state: str = CAVE) -> Page:
        away = "#question=" + "where+" * 9
        for link in (away, state):
            act(model.page, lambda link=link: model.page.evaluate("(hash) => { location.hash = hash }", link))
        return model.page

    yield load
    assert model.console_errors == model.outside_requests == model.failed_requests == []


def said(page: Page) -> str:
    return page.get_by_role("status", name="answer", exact=True).inner_text()


def settled(page: Page) -> int:
    return int(page.locator("html").get_attribute("data-settled"))


def act(page: Page, action) -> str:
    """Do something, wait for the model, and tell what it says then."""
    before = settled(page)
    action()
    settle(page, before)
    return said(page)


def test_a_link_brings_a_state_back(visit):
    page = visit.open(LIVE + CAVE)
    page.get_by_role("button", name=re.compile("Load the model")).click()
    settle(page, 0)
    assert "cave" in said(page) and "meadow" in page.locator("#before").inner_text()
    assert page.locator("#species").input_value() == "ruby-dotshell"
    assert page.get_by_role("radio", name=re.compile("cave .* 18")).is_checked()
    assert page.evaluate("location.hash") == CAVE
    with_another = "#picture=nobody,cave,3&latent=2&strength=-1.5&question=where+is+it%3F&keep=yes&direction=4"
    act(page, lambda: page.evaluate("(hash) => { location.hash = hash }", with_another))
    assert page.locator("#habitat").input_value() == "cave" and page.locator("#view").input_value() == "2"
    assert page.get_by_label("keep what the autoencoder misses").is_checked()
    assert page.locator("#question").input_value() == "where is it?"
    assert page.evaluate("location.hash") == with_another


def test_a_link_that_tells_less_leaves_nothing_of_the_last_one(loaded):
    page = loaded(CAVE.replace("ruby-dotshell", "blank"))
    act(page, lambda: page.evaluate("location.hash = '#question=where+is+it%3F'"))
    expect(page.get_by_role("radio", checked=True)).to_have_count(0)
    expect(page.locator("#stated")).to_have_text("take a latent from the list first")
    assert page.evaluate("location.hash") == "#picture=ruby-dotshell,meadow,medium,1&question=where+is+it%3F"


@pytest.mark.parametrize(
    "state",
    ["#latent=99999&strength=2", "#picture=<img src=x onerror=alert(1)>&latent=-3", "#strength=1e999&latent=NaN",
     "#picture=roundbeetle.mauve.spotted", "#%%%&&==", "#question=" + "a%20" * 500],
)  # fmt: skip
def test_a_link_to_what_is_not_there_does_no_harm(loaded, state):
    page = loaded(state)
    assert said(page)
    assert page.locator("img[src=x]").count() == 0


def prepared_states() -> list[str]:
    return re.findall(r"\{live\}`[^`<]+<([^`>]+)>`", (paths.root() / "book" / "live.md").read_text(encoding="utf-8"))


EXPECTED = {"83": {"1": "yellow", "-1": ""}, "343": {"1": "daisy"}, "18": {"2": "cave"}, "2": {"4": ""}}


@pytest.mark.parametrize("state", prepared_states())
def test_a_state_of_the_chapter_shows_what_is_said_there(loaded, state):
    page = loaded(f"#{state}")
    before, control = (page.locator(place).inner_text() for place in ("#before", "#control"))
    latent, strength = (re.search(rf"{name}=([^&]+)", state)[1] for name in ("latent", "strength"))
    answer = said(page)
    assert answer != before
    assert EXPECTED[latent][strength] in answer
    if (latent, strength) in (("83", "1"), ("343", "1")):
        assert control == before
    if (latent, strength) == ("18", "2"):
        assert "beetle" in before and "beetle" not in answer
    if (latent, strength) == ("83", "-1"):
        assert before == "yellow" and answer in {"red", "orange", "green", "blue", "purple", "pink", "white"}
        slider = page.get_by_role("slider", name="steering strength")
        held = act(page, lambda: slider.evaluate("r => { r.value = -1; r.dispatchEvent(new Event('input')) }"))
        assert held == before and "held at 0" in page.locator("#stated").inner_text()


def test_keys_alone_suffice(visit):
    """Load, take a latent, turn it both ways, back to the middle."""
    page = visit.open(LIVE)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=re.compile("Load the model"))).to_be_focused()
    page.keyboard.press("Enter")
    settle(page, 0)
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("18")
    page.keyboard.press("Tab")
    act(page, lambda: page.keyboard.press("Space"))
    page.get_by_role("slider", name="steering strength").focus()
    unsteered = said(page)
    assert act(page, lambda: page.keyboard.press("End")) != unsteered
    assert act(page, lambda: page.keyboard.press("Home")) != unsteered
    for _ in range(32):
        page.keyboard.press("ArrowRight")
    settle(page, settled(page) - 1)
    expect(page.locator("#stated")).to_have_text("unsteered")
    expect(page.get_by_role("status", name="answer", exact=True)).to_have_text(unsteered)
    assert visit.console_errors == []


def test_the_mouse_composes_a_picture_and_turns_a_latent(loaded):
    page = loaded("#")
    assert "red" in said(page) and "beetle" in said(page)
    assert "blue" in act(page, lambda: page.locator("#colour").select_option("blue"))
    expect(page.locator("#lives-nowhere")).to_contain_text("never seen")
    assert "sea" in act(page, lambda: page.locator("#habitat").select_option("sea"))
    act(page, lambda: page.get_by_role("radio").first.check())
    box = page.get_by_role("slider", name="steering strength").bounding_box()
    before = said(page)
    assert act(page, lambda: page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)) != before
    assert page.locator("#answer mark").count() > 0


def test_a_latent_shows_where_it_fires(loaded):
    page = loaded("#picture=ruby-dotshell,cave,medium,1")
    covered = """() => {
        const heat = document.getElementById("heat");
        const data = heat.getContext("2d").getImageData(0, 0, heat.width, heat.height).data;
        return data.filter((_, i) => i % 4 === 3 && data[i] > 0).length;
    }"""
    expect(page.locator("#heat")).to_be_hidden()
    act(page, lambda: page.get_by_role("radio", name=re.compile("cave .* 18")).check())
    told = int(re.search(r"fires on (\d+) of 64", page.locator("#heat-says").inner_text())[1])
    assert page.evaluate(covered) == told > 0


def test_the_latents_that_say_yes_know_the_picture(loaded):
    page = loaded("#picture=ruby-dotshell,cave,medium,1")
    first = page.locator("[data-group='say yes to this picture'] .name").all_inner_texts()
    assert any(name.startswith("cave") for name in first) and not any(name.startswith("sea ") for name in first)


def test_odds_stand_beside_each_other_and_are_shares(loaded):
    page = loaded("#picture=ruby-dotshell,meadow,medium,1&latent=83&strength=1&question=what+colour+is+it%3F")
    rows = {row.locator("th").inner_text(): [float(meter.get_attribute("value") or meter.evaluate("m => m.value"))
                                             for meter in row.locator("meter").all()]
            for row in page.locator("#odds tbody tr").all()}  # fmt: skip
    assert rows["red"][0] > 0.5 > rows["red"][1] and rows["yellow"][1] > 0.5 > rows["yellow"][0]
    assert all(sum(row[side] for row in rows.values()) <= 1.0001 for side in (0, 1))


def test_an_upload_is_read_and_what_is_no_picture_is_refused(loaded, tmp_path):
    page = loaded("#")
    photo = next((paths.root() / "tests" / "data" / "photos").rglob("*.jpg"))
    before = said(page)
    assert act(page, lambda: page.locator("#upload").set_input_files(photo)) != before
    assert "picture=" not in page.evaluate("location.hash")
    (tmp_path / "none.jpg").write_text("<script>alert(1)</script>")
    page.locator("#upload").set_input_files(tmp_path / "none.jpg")
    expect(page.locator("#upload-says")).to_have_text("none.jpg could not be read as a picture.")


def test_it_answers_with_the_network_cut(loaded):
    page = loaded()
    page.context.set_offline(True)
    page.get_by_role("slider", name="steering strength").focus()
    before = said(page)
    assert act(page, lambda: page.keyboard.press("Home")) != before
    page.context.set_offline(False)


@pytest.mark.parametrize("missing", ["language.onnx", "ort-wasm-simd-threaded.wasm", "ort.wasm.min.mjs", "worker.js"])
def test_a_failed_load_says_so_and_falls_back(visit, missing):
    page = visit.page
    page.route(f"**/{missing}", lambda route: route.abort())
    visit.open(LIVE + CAVE)
    load = page.get_by_role("button", name=re.compile("Load the model"))
    load.click()
    expect(page.locator("#load-status")).to_contain_text("could not be loaded")
    expect(load).to_be_enabled()
    expect(page.locator("main")).to_be_hidden()
    answers_beforehand(page)
    page.unroute(f"**/{missing}")
    load.click()
    settle(page, 0)
    assert "cave" in said(page)


def answers_beforehand(page: Page) -> None:
    strength, caption = page.locator("#b-strength"), page.get_by_role("status", name="caption", exact=True)
    strength.focus()
    page.keyboard.press("Home")
    seen = {caption.inner_text()}
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        seen.add(caption.inner_text())
    assert len(seen) > 1 and all(seen)


def test_a_page_whose_data_are_gone_says_so(visit):
    visit.page.route("**/model.json", lambda route: route.fulfill(status=404, body="no"))
    page = visit.open(LIVE)
    expect(page.locator("#load-status")).to_contain_text("model.json could not be fetched (404)")
    answers_beforehand(page)


def test_what_a_model_says_is_text_and_never_markup(visit):
    """Every word of the vocabulary and every name of a latent is hostile here."""
    evil = '<img src=x onerror="window.caught=1"><script>window.caught=1</script>'

    def poison(route: Route) -> None:
        facts = json.loads((paths.site() / "live" / "model.json").read_text(encoding="utf-8"))
        facts["vocabulary"] = [f"{evil}{i}" for i in range(len(facts["vocabulary"]))]
        for row in facts["named"]:
            row["value"] = evil
        route.fulfill(json=facts)

    visit.page.route("**/model.json", poison)
    page = visit.open(LIVE + CAVE)
    page.locator("#load").click()
    settle(page, 0)
    page.locator("#question").fill(evil)
    act(page, lambda: page.keyboard.press("Enter"))
    assert "<img src=x" in said(page)
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("window.caught") is None
    assert visit.console_errors == []


def test_no_script_of_another_place_would_run(visit):
    page = visit.open(LIVE)
    blocked = page.evaluate(
        """async () => {
            const violated = new Promise((resolve) =>
                document.addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective)));
            const script = document.createElement("script");
            script.textContent = "window.caught = 1";
            document.body.append(script);
            return [await violated, window.caught];
        }"""
    )
    assert blocked == ["script-src-elem", None]


def test_the_page_fetches_what_it_says_and_no_more(visit):
    page, sizes = visit.page, {}
    page.on("response", lambda response: sizes.update({response.url: int(response.headers.get("content-length", 0))}))
    visit.open(LIVE)
    before = sum(sizes.values())
    page.locator("#load").click()
    settle(page, 0)
    model = sum(size for url, size in sizes.items() if url.endswith((".onnx", ".wasm", ".mjs"))) / 1e6
    assert page.locator("#megabytes").inner_text() == f"{model:.0f}"
    assert before < 1e6 and sum(sizes.values()) / 1e6 <= MEGABYTES


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (768, "light"), (1280, "dark"), (1440, "light")])
def test_it_fits_every_window_and_assistive_technology(browser, origin, width, scheme):
    with visiting(browser, origin, PHONE | {"width": width}) as visit:
        visit.page.emulate_media(color_scheme=scheme)
        page = visit.open(LIVE + CAVE)
        assert findings(page) == {}
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#load").click()
        settle(page, 0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert findings(page) == {}
        assert visit.console_errors == visit.failed_requests == []


def test_the_books_choice_of_light_or_dark_holds_here(visit):
    page = visit.page
    page.emulate_media(color_scheme="light")
    visit.open(LIVE)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate("localStorage.setItem('mode', 'dark')")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_every_named_latent_can_be_found(loaded):
    page = loaded("#")
    for row in latents.latents()["latents"][::50]:
        page.get_by_role("searchbox").fill(str(row["latent"]))
        expect(page.get_by_role("radio")).to_have_count(1)
    page.get_by_role("searchbox").fill("unicorn")
    expect(page.locator("#latents")).to_have_text("No latent is called that.")


def test_the_answers_along_the_slider_stand_side_by_side(loaded):
    page = loaded("#picture=ruby-dotshell,meadow,medium,1&latent=83&question=what+colour+is+it%3F")
    page.locator("#along summary").click()
    rows = page.locator("#along tbody tr")
    expect(rows).to_have_count(9)
    answers = {row.locator("button").inner_text(): row.locator("span").first.inner_text() for row in rows.all()}
    assert answers["1 ×"] == "yellow" != answers["0 ×"]
    act(page, lambda: rows.filter(has_text="1 ×").last.locator("button").click())
    assert said(page) in answers.values() and "strength" in page.evaluate("location.hash")
