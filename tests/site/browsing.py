"""A local server, a browser that reaches nothing else, and what it finds on a page."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from vlm_sae_lib import paths

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the network is cut
)  # fmt: skip
PATIENCE = 90_000  # milliseconds: a busy machine is no fault of the page
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

STEERING = "notebooks/05_llava_steering.html"


def pages_in_toc() -> list[str]:
    toc = yaml.safe_load((paths.root() / "_toc.yml").read_text())
    files = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    return [f"{file}.html" for file in files]


@dataclass
class Visit:
    """An open page and what went wrong on it so far."""

    page: Page
    origin: str
    console_errors: list[str] = field(default_factory=list)
    outside_requests: list[str] = field(default_factory=list)
    failed_requests: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # of the site, that were asked for

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.origin}/{path}", wait_until="networkidle")
        return self.page


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


def serve(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class visiting:
    """A fresh browser context in which every request to anywhere but ``origin`` is recorded; none gets there."""

    def __init__(self, browser: Browser, origin: str, viewport: dict = WIDE, scheme: str = "light"):
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.context.set_default_timeout(PATIENCE)
        self.visit = Visit(self.context.new_page(), origin)
        page, visit = self.visit.page, self.visit
        page.on("console", self._console)
        page.on("pageerror", lambda error: visit.console_errors.append(str(error)))
        page.on("response", self._response)
        page.on("request", self._request)

    def _request(self, request) -> None:
        if request.url.startswith(f"{self.visit.origin}/"):
            self.visit.files.add(urlsplit(request.url).path.lstrip("/"))
        elif not request.url.startswith(("data:", "blob:")):
            self.visit.outside_requests.append(request.url)

    def _console(self, message) -> None:
        if message.type == "error":
            self.visit.console_errors.append(message.text)

    def _response(self, response) -> None:
        if response.status >= 400:
            self.visit.failed_requests.append(f"{response.status} {response.url}")

    def __enter__(self) -> Visit:
        return self.visit

    def __exit__(self, *_) -> None:
        self.context.close()


@dataclass(frozen=True)
class Facts:
    """What a page is like: wide in the light, then as narrow as a phone in the dark."""

    headings: list[str]
    console_errors: list[str]
    outside_requests: list[str]
    failed_requests: list[str]
    files: set[str]  # of the site, that the page asks for before it is scrolled
    images_without_alt: list[str]
    icons: list[tuple[str, str]]  # class, and the glyph that is drawn for it
    sideways: dict[int, int]  # width of the window → width of the page
    links: list[str]  # to this site, without their anchors
    formulas: tuple[int, int]  # in the source, and drawn
    refused: list[str]  # what of a formula could not be read
    widgets: tuple[int, int]  # in the source, and drawn
    barriers: dict[str, dict[str, list[str]]]  # by scheme: what axe finds serious in our content
    letters: list[tuple[float, str]]  # on a phone the height of each line of text in a drawing, and the text


def facts_of(browser: Browser, origin: str, path: str) -> Facts:
    sideways, barriers, letters = {}, {}, []
    with visiting(browser, origin, WIDE) as visit:
        page = visit.open(path)
        sideways[WIDE["width"]] = page.evaluate("document.documentElement.scrollWidth")
        facts = Facts(
            headings=page.locator("h1:visible").all_inner_texts(),
            console_errors=list(visit.console_errors),
            outside_requests=list(visit.outside_requests),
            failed_requests=list(visit.failed_requests),
            files=set(visit.files),
            images_without_alt=page.evaluate(
                """[...document.images].filter(i => !i.hidden && !(i.getAttribute('alt') || '').trim())
                    .map(i => i.outerHTML.slice(0, 150))"""
            ),
            icons=page.evaluate(
                """[...document.querySelectorAll("[class*='fa-']")].map(i => [i.className,
                    getComputedStyle(i, "::before").content])"""
            ),
            sideways=sideways,
            links=page.evaluate(
                "[...document.links].filter(a => a.origin === location.origin).map(a => decodeURI(a.pathname))"
            ),
            formulas=(page.locator(".math").count(), page.locator(".math mjx-container").count()),
            refused=page.locator("mjx-merror, [data-mml-node='merror']").all_inner_texts(),
            widgets=(
                page.locator("script[type='application/vnd.jupyter.widget-view+json']").count(),
                page.locator(".widget-subarea > .jupyter-widgets").count(),
            ),
            barriers=barriers,
            letters=letters,
        )
        barriers["light"] = findings(page, OURS, ALIKE)  # after the facts: axe asks for files of its own
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(PHONE)
        page.wait_for_timeout(300)  # until colours have changed, and wide tables are known as such
        sideways[PHONE["width"]] = page.evaluate("document.documentElement.scrollWidth")
        barriers["dark"] = findings(page, OURS, ALIKE, SEEN)
        letters += page.evaluate(LETTERS)
    return facts


LETTERS = """async () => {
    const found = [];
    for (const shown of document.querySelectorAll("figure svg, figure img[src$='.svg']")) {
        if (shown.closest("mjx-container")) continue;
        let drawing = shown;
        if (shown.matches("img")) { // the same drawing once more, as wide as it is shown
            drawing = document.createElement("div");
            const text = await (await fetch(shown.src)).text();
            drawing.innerHTML = text.slice(text.indexOf("<svg"));
            document.body.append(drawing);
            drawing.firstChild.style.width = `${shown.getBoundingClientRect().width}px`;
            drawing.firstChild.style.height = "auto";
        }
        for (const text of drawing.querySelectorAll("text")) {
            const { a, b, c, d } = text.getScreenCTM();
            const height = parseFloat(getComputedStyle(text).fontSize) * Math.sqrt(Math.abs(a * d - b * c));
            if (text.textContent.trim()) found.push([height, text.textContent.trim()]);
        }
        if (drawing !== shown) drawing.remove();
    }
    return found;
}"""


SERIOUS = ("serious", "critical")
OURS = "article.bd-article"
ALIKE = (".highlight", "tbody tr:nth-child(n+4)")
"""What a page has so often that to look at each takes most of the time: coloured code, and later rows of tables."""
RULES = {"type": "tag", "values": [
    "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]}  # fmt: skip


SEEN = {"type": "rule", "values": [
    "color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]}  # fmt: skip
"""What another window and other colours can change."""


def findings(
    page: Page,
    within: str = "body",
    but: tuple[str, ...] = (),
    rules: dict = RULES,
    weights: tuple[str, ...] = SERIOUS,
) -> dict[str, list[str]]:
    """By axe's rule and weight: the places on which it finds fault."""
    options = {"resultTypes": ["violations"], "runOnly": rules}
    context = {"include": [[within]], "exclude": [[part] for part in but]}
    found = Axe().run(page, context=context, options=options).response["violations"]
    return {
        f"{rule['id']} ({rule['impact']})": [" ".join(map(str, node["target"])) for node in rule["nodes"]]
        for rule in found
        if rule["impact"] in weights
    }
