"""The README's picture: the explorer of the book's first page, as the built book shows it.

``python -m tests.site.cover_picture`` takes it anew; the picture holds what it was taken from.
"""

import hashlib
import io
import re
import shutil
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import sync_playwright

from vlm_sae_lib import paths
from vlm_sae_lib.files import write_bytes

from .browsing import BROWSERS, FLAGS, serve, visiting

PAGE = "book/intro.html"
EXPLORER = re.compile(r'<section class="cover-explorer".*?</section>', re.S)
MADE_FROM = "made from"


def made_from(site: Path) -> str:
    """Hash of the explorer as it stands in the page."""
    return hashlib.sha256(EXPLORER.findall((site / PAGE).read_text(encoding="utf-8"))[0].encode()).hexdigest()


def main() -> None:
    site, kept = paths.site(), PngInfo()
    kept.add_text(MADE_FROM, made_from(site))
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        for origin in serve(site):
            with visiting(browser, origin) as visit:
                shot = visit.open(PAGE).locator(".cover-explorer").screenshot()
        browser.close()
    buffer = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").save(buffer, "PNG", optimize=True, pnginfo=kept)
    write_bytes(paths.cover(), buffer.getvalue())
    print(f"written: {paths.cover()}, {len(buffer.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
