"""The explorer and the panel: what they show is what the model says, and it works without a kernel."""

import io
import json
import os
import re
import shutil

import pytest
from PIL import Image
from tiny_vlm import PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.show.explorer import Neuron, explorer_data, explorer_html
from vlm_sae_lib.show.panel import steering_panel
from vlm_sae_lib.steering.intervention import steered
from vlm_sae_lib.steering.learned import Direction, Learned

MULTIPLES = (0, 0.5, 2)


@pytest.fixture(scope="module")
def neurons():
    tops = tiny_pictures(3, seed=9)
    return [Neuron(3, "beetle <b>", 30.0, tops), Neuron(4, "red", 20.0, tops[:1])]


@pytest.fixture(scope="module")
def pictures():
    return dict(zip(["a finch", "a 'white' page"], tiny_pictures(4)[2:], strict=True))


@pytest.fixture(scope="module")
def data(pictures, neurons):
    return explorer_data(shared_vlm(), TinySae(), pictures, neurons, MULTIPLES, PROMPTS[:2], max_new_tokens=6)


def test_data_is_what_the_steered_model_says(data, pictures, neurons):
    vlm, sae = shared_vlm(), TinySae()
    for n, neuron in enumerate(neurons):
        for p, image in enumerate(pictures.values()):
            for s, multiple in enumerate(data["multiples"]):
                with steered(vlm, sae, {} if multiple is None else {neuron.latent: multiple * neuron.maximum}):
                    expected = [vlm.answer(image, prompt, max_new_tokens=6) for prompt in PROMPTS[:2]]
                assert [data["texts"][i] for i in data["captions"][n][p][s]] == expected
    assert len(data["texts"]) > 4 and data["multiples"] == [0, None, 0.5, 2]
    assert json.loads(json.dumps(data)) == data


def pushed(scale=3.0):
    change = Direction(shared_vlm().dim)
    change.vector.data[:] = scale
    return Neuron(3, "beetle", 30.0, change=change)


def test_a_learned_change_stands_beside_the_latents_and_starts_from_the_bare_model(pictures, neurons):
    """Section 5 of issue 14: the best edit found, with the paper's beside it."""
    vlm, learned = shared_vlm(), pushed()
    data = explorer_data(vlm, TinySae(), pictures, [neurons[0], learned, neurons[1]], MULTIPLES, PROMPTS[:1],
                         max_new_tokens=6)  # fmt: skip
    alone = explorer_data(vlm, TinySae(), pictures, [neurons[1]], MULTIPLES, PROMPTS[:1], max_new_tokens=6)
    assert [n["label"] for n in data["neurons"]] == ["beetle <b> (latent 3)", "beetle (learned)", "red (latent 4)"]
    for p, image in enumerate(pictures.values()):
        for s, multiple in enumerate([0, *MULTIPLES]):
            with vlm.edited(Learned(learned.change, multiple).edit):
                expected = vlm.answer(image, PROMPTS[0], max_new_tokens=6)
            assert data["texts"][data["captions"][1][p][s][0]] == expected
            of_red = (each["texts"][each["captions"][n][p][s][0]] for each, n in ((data, 2), (alone, 0)))
            assert next(of_red) == next(of_red)
    assert "2 × what was learned" in explorer_html(data)


def test_the_panel_applies_a_learned_change(pictures):
    vlm, learned = shared_vlm(), pushed()
    panel = steering_panel(vlm, TinySae(), pictures, [learned], prompts=PROMPTS[:1], max_new_tokens=6)
    panel.strength.value = 2.0
    with vlm.edited(Learned(learned.change, 2.0).edit):
        said = vlm.answer(pictures[panel.picture.value], PROMPTS[0], max_new_tokens=6)
    assert f"<b>{said}</b>" in panel.text.value and "2 × what was learned" in panel.text.value


def test_the_fragment_is_self_contained_deterministic_and_named(data):
    fragment = explorer_html(data)
    assert fragment == explorer_html(json.loads(json.dumps(data)))
    assert not re.search(r"""(src|href)=["'](?!data:)""", fragment) and "http" not in fragment.replace(
        "http://www.w3", ""
    )
    assert re.search(r'<label for="([\w-]+)">steering strength</label>\s*<input id="\1"', fragment)
    assert re.search(r'<label for="([\w-]+)">neuron</label><select id="\1"', fragment)
    assert '<output role="status" aria-label="caption"' in fragment
    assert all('alt="' in tag for tag in re.findall(r"<img [^>]*>", fragment))
    assert "beetle &lt;b&gt;" in fragment and "<table>" in fragment  # reads without its script


def test_texts_of_the_model_cannot_leave_the_json(data):
    evil = {**data, "texts": ["</script><script>window.hacked = 1</script>" for _ in data["texts"]]}
    fragment = explorer_html(evil)
    inline = re.search(r'class="se-data">(.*?)</script>', fragment, re.S).group(1)
    assert "<" not in inline and json.loads(inline)["texts"] == evil["texts"]
    assert fragment.count("<script") == 2


def test_an_explorer_of_nothing_is_refused(pictures, neurons):
    for empty in ({}, neurons), (pictures, []):
        with pytest.raises(ValueError, match="at least one"):
            explorer_data(shared_vlm(), TinySae(), *empty)


def test_the_panel_answers_as_its_controls_move(pictures, neurons):
    vlm, sae = shared_vlm(), TinySae()
    panel = steering_panel(vlm, sae, pictures, neurons, prompts=PROMPTS[:1], max_new_tokens=6)
    shown, image = panel.view.value, pictures["a 'white' page"]
    panel.picture.value, panel.neuron.value, panel.strength.value = "a 'white' page", 1, 6.0
    with steered(vlm, sae, {4: 120.0}):
        assert f"<b>{vlm.answer(image, PROMPTS[0], max_new_tokens=6)}</b>" in panel.text.value
    panel.question.value = "what colour is it?"
    with steered(vlm, sae, {4: 120.0}):
        assert f"<b>{vlm.answer(image, panel.question.value, max_new_tokens=6)}</b>" in panel.text.value
    assert "120.00 on every token" in panel.text.value and panel.view.value != shown
    panel.keep_error.value = True
    with steered(vlm, sae, {}, keep_error=True):
        assert vlm.answer(image, PROMPTS[0], max_new_tokens=6) in panel.text.value
    with pytest.raises(UserError, match="no latent 400"):
        steering_panel(vlm, sae, pictures, [Neuron(400, "none", 1.0)])


def test_the_panels_slider_has_unsteered_in_the_middle_and_shows_the_neurons_pictures(pictures, neurons):
    panel = steering_panel(shared_vlm(), TinySae(), pictures, neurons, prompts=PROMPTS[:1], max_new_tokens=6, highest=2)
    stops = [value for _, value in panel.strength.options]
    assert stops == [-1.0, -0.5, 0.0, "unsteered", 0.5, 1.0, 1.5, 2.0] and panel.strength.value == "unsteered"
    assert panel.tops.value.count("<img") == len(neurons[0].top_pictures)


@pytest.mark.parametrize("seven", [False, True], ids=["ipywidgets 8", "ipywidgets 7"])
def test_a_picture_of_ones_own_joins_the_others_and_a_bad_file_gets_one_sentence(pictures, neurons, seven):
    panel = steering_panel(shared_vlm(), TinySae(), pictures, neurons, prompts=PROMPTS[:1], max_new_tokens=6)

    def choose(name, content):
        told = (
            {"metadata": {"name": name}, "content": content}
            if seven
            else {"name": name, "content": memoryview(content)}
        )
        panel.add({name: told} if seven else (told,))

    buffer = io.BytesIO()
    Image.new("L", (30, 50), 200).save(buffer, "PNG")
    before = panel.text.value
    choose("<b>evil</b>.png", b"no picture")
    assert "cannot be used" in panel.complaint.value and "<b>" not in panel.complaint.value
    assert panel.text.value == before and len(panel.picture.options) == len(pictures)
    choose("mine.png", buffer.getvalue())
    assert panel.picture.value == "yours: mine.png" and panel.complaint.value == ""
    assert len(panel.picture.options) == len(pictures) + 1


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    """The fragment alone in a phone-sized browser, opened from a file, with nothing to load from elsewhere."""
    if os.environ.get("BROWSER") == "skip":
        pytest.skip("BROWSER=skip")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.fail("no browser was found: install Debian's package chromium, or set BROWSER=skip")
    from playwright.sync_api import sync_playwright

    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>t</title><main>{explorer_html(data)}</main>")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else page.complaints.append(r.url))
        page.goto(path.as_uri())
        yield page
        browser.close()


def test_keys_move_the_caption_and_mark_what_changed(page, data):
    slider, caption = page.get_by_role("slider", name="steering strength"), page.get_by_role("status", name="caption")

    def said(n, p, s):
        return data["texts"][data["captions"][n][p][s][0]] or "(says nothing)"

    assert caption.inner_text() == said(0, 0, 1)  # unsteered, and what suppresses lies to the left
    slider.focus()
    for step in (2, 3):
        page.keyboard.press("ArrowRight")
        assert caption.inner_text() == said(0, 0, step)
    assert slider.get_attribute("aria-valuetext") == "2 × its maximum = 60.00 on every token"
    before, after = said(0, 0, 1).split(), said(0, 0, 3).split()
    assert set(after) - set(before) <= set(caption.locator("mark").all_inner_texts())
    page.get_by_role("combobox", name="neuron").select_option(index=1)
    assert caption.inner_text() == said(1, 0, 3)
    page.get_by_role("combobox", name="picture").select_option(index=1)
    assert caption.inner_text() == said(1, 1, 3)
    assert page.locator(".se-picture img").get_attribute("alt") == "a 'white' page"
    assert page.locator(".se-tops img:visible").count() == 1
    assert page.locator(".se-which").text_content() == "a 'white' page"
    cells = page.locator("td[data-n]").all_text_contents()
    assert cells[1:] == [data["texts"][data["captions"][n][1][s][0]] for n in (0, 1) for s in (0, 2, 3)]
    slider.fill("1")
    assert caption.inner_text() == said(1, 1, 1) and caption.locator("mark").count() == 0
    assert said(0, 0, 3) != said(0, 0, 1)


def test_the_address_tells_what_is_shown_and_shows_what_it_tells(page, data):
    page.get_by_role("combobox", name="picture").select_option(index=1)
    page.get_by_role("slider", name="steering strength").fill("3")
    page.get_by_role("slider", name="steering strength").dispatch_event("change")
    address = page.url
    assert "strength=2" in address and "#picture=" in address
    page.goto(address.partition("#")[0] + "#picture=nobody&neuron=red&strength=0")
    assert page.get_by_role("slider", name="steering strength").input_value() == "0"
    assert page.get_by_role("combobox", name="neuron").input_value() == data["neurons"][1]["label"]
    page.goto(address)
    assert page.get_by_role("combobox", name="picture").input_value() == "a 'white' page"
    assert page.get_by_role("slider", name="steering strength").input_value() == "3"


def test_a_phone_shows_it_whole_and_nothing_is_fetched_or_broken(page):
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.complaints == []
