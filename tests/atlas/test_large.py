"""An atlas of 65,536 latents and 50,000 pictures: it is written in minutes, opens at once and is searched at once."""

import shutil
import statistics
import time

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from stores import make_store

from vlm_sae_lib.atlas.own import own_atlas
from vlm_sae_lib.pocket.world import PocketPictures
from vlm_sae_lib.sae.artefact import SparseAutoencoder

from ..site.browsing import FLAGS, serve, visiting

LATENTS, N, DIM = 65_536, 50_000, 24
ABOUT_20_FIRE = 3.43  # of as many normal values as there are latents, so many are larger
MIB = 2**20

pytestmark = pytest.mark.long


class Plain(PocketPictures):
    """The pocket world's truth, and one colour for a picture: nothing is painted."""

    def picture(self, image_id, size=64, *, empty=False):
        return Image.new("RGB", (size, size), tuple(np.random.default_rng(image_id).integers(0, 255, 3).tolist()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    pictures = Plain(N, 3)
    decoder = torch.nn.functional.normalize(
        torch.randn(LATENTS, DIM, generator=torch.Generator().manual_seed(0)), dim=1
    )
    sae = SparseAutoencoder(
        kind="matryoshka_batch_top_k", w_enc=decoder.T, b_enc=torch.zeros(LATENTS), w_dec=decoder,
        b_dec=torch.zeros(DIM), k=20, threshold=torch.tensor(ABOUT_20_FIRE), group_sizes=(4096, 8192, 16384, 36864),
    )  # fmt: skip
    cuts = range(10_000, N, 10_000)
    activations, embeddings = (
        make_store(where / name, rng.normal(size=(N, dim)), np.arange(N), fingerprint=pictures.fingerprint, cuts=cuts)
        for name, dim in (("activations", DIM), ("embeddings", 8))
    )
    started = time.perf_counter()
    out = own_atlas(where / "atlas", sae, activations, [embeddings], pictures, name="large", title="large")
    print(f"written in {time.perf_counter() - started:.0f} s, {len(list(out.rglob('*')))} files")
    return out


@pytest.fixture
def page(folder):
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        for origin in serve(folder):
            with visiting(browser, origin, {"width": 1440, "height": 900}) as visit:
                # The browser itself is warm; for a file of the server alone it would ask for a favicon.ico, too.
                visit.page.goto("data:text/html,<link rel=icon href='data:,'>")
                yield visit
        browser.close()


def test_the_first_view_comes_at_once_and_is_small(page):
    sizes = []
    page.page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    started = time.perf_counter()
    page.page.goto(f"{page.origin}/index.html")
    expect(page.page.locator("body[data-shown]")).to_be_attached(timeout=20_000)
    seconds = time.perf_counter() - started
    page.page.wait_for_load_state("networkidle")
    print(f"first view in {seconds:.2f} s, {sum(sizes) / MIB:.2f} MiB")
    assert seconds < 2 and sum(sizes) < 3_000_000
    assert page.page.locator(".row[data-place]").count() < 60
    assert page.console_errors == page.failed_requests == []


SEARCH = """async (words) => {
  const [box, count] = [document.getElementById("search"), document.getElementById("count")];
  const changed = new Promise((resolve) => new MutationObserver((_, own) => { own.disconnect(); resolve(); })
    .observe(count, { childList: true, characterData: true, subtree: true }));
  const started = performance.now();
  box.value = words;
  box.dispatchEvent(new Event("input"));
  await changed;
  await new Promise(requestAnimationFrame);
  return performance.now() - started;
}"""


def test_search_sorting_and_the_end_of_the_list_are_quick(page):
    page.page.goto(f"{page.origin}/index.html")
    expect(page.page.locator("body[data-shown]")).to_be_attached(timeout=20_000)
    taken = [page.page.evaluate(SEARCH, words) for words in ("red", "ruby", "cave", "beetle", "re", "r")]
    print("search, ms:", [round(one) for one in taken])
    assert statistics.median(taken) < 100
    page.page.locator("#search").fill("")
    page.page.get_by_role("button", name="MS", exact=True).click()
    expect(page.page.locator("[aria-sort=descending]")).to_be_attached()
    page.page.locator("#grid").focus()
    page.page.keyboard.press("End")
    expect(page.page.locator(f"#row-{LATENTS - 1}")).to_be_visible()
    page.page.keyboard.press("Enter")
    expect(page.page.locator("#first-title")).to_be_focused(timeout=20_000)
    page.page.wait_for_load_state("networkidle")
    assert page.console_errors == page.failed_requests == []
