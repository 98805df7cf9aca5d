"""A local server, a browser that reaches nothing else, and what it finds on a page."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PATIENCE = 90_000  # milliseconds: a busy machine is no fault of the page
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Visit:
    """An open page and what went wrong on it so far."""

    page: Page
    origin: str
    console_errors: list[str] = field(default_factory=list)
    outside_requests: list[str] = field(default_factory=list)
    failed_requests: list[str] = field(default_factory=list)

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
    """A fresh browser context in which every request to anywhere but ``origin`` is stopped and recorded."""

    def __init__(self, browser: Browser, origin: str, viewport: dict = WIDE):
        self.context = browser.new_context(viewport=viewport)
        self.context.set_default_timeout(PATIENCE)
        self.visit = Visit(self.context.new_page(), origin)
        self.context.route("**/*", self._route)
        page, visit = self.visit.page, self.visit
        page.on("console", self._console)
        page.on("pageerror", lambda error: visit.console_errors.append(str(error)))
        page.on("response", self._response)

    def _route(self, route) -> None:
        if route.request.url.startswith((self.visit.origin, "data:", "blob:")):
            route.continue_()
        else:
            self.visit.outside_requests.append(route.request.url)
            route.abort()

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
    """What a page is like, wide and on a phone."""

    headings: list[str]
    console_errors: list[str]
    outside_requests: list[str]
    failed_requests: list[str]
    images_without_alt: list[str]
    sideways: dict[int, int]  # width of the window → width of the page
    links: list[str]  # to this site, without their anchors
    formulas: tuple[int, int]  # in the source, and drawn
    widgets: tuple[int, int]  # in the source, and drawn


def facts_of(browser: Browser, origin: str, path: str) -> Facts:
    sideways = {}
    with visiting(browser, origin, PHONE) as visit:
        sideways[PHONE["width"]] = visit.open(path).evaluate("document.documentElement.scrollWidth")
    with visiting(browser, origin, WIDE) as visit:
        page = visit.open(path)
        sideways[WIDE["width"]] = page.evaluate("document.documentElement.scrollWidth")
        return Facts(
            headings=page.locator("h1:visible").all_inner_texts(),
            console_errors=visit.console_errors,
            outside_requests=visit.outside_requests,
            failed_requests=visit.failed_requests,
            images_without_alt=page.evaluate(
                """[...document.images].filter(i => !i.hidden && !(i.getAttribute('alt') || '').trim())
                    .map(i => i.outerHTML.slice(0, 150))"""
            ),
            sideways=sideways,
            links=page.evaluate(
                "[...document.links].filter(a => a.origin === location.origin).map(a => decodeURI(a.pathname))"
            ),
            formulas=(page.locator(".math").count(), page.locator(".math mjx-container").count()),
            widgets=(
                page.locator("script[type='application/vnd.jupyter.widget-view+json']").count(),
                page.locator(".widget-subarea > .jupyter-widgets").count(),
            ),
        )
