"""What a page need not load is not asked for.

Sphinx, the theme and MyST-NB link on every page what some page needs. Here a page loses the scripts and styles of which
its body has no use, and its pictures below the first wait until they are near. Once all pages are written, Font Awesome
is cut down to the icons that they show, rules of the theme's style and glyphs of its two fonts, and the style loses the
components of Bootstrap that no page has.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

from vlm_sae_lib.publishing import notebooks

WIDGET = "application/vnd.jupyter.widget-view+json"
USES = {
    "tex-svg.js": 'class="math',
    "window.MathJax": 'class="math',
    "embed.js": WIDGET,
    "offline.js": WIDGET,
    "mystnb.": 'class="cell',
    "sphinx-design.min.css": 'class="sd-',
    "design-tabs.js": "sd-tab",
    "clipboard.min.js": 'class="highlight',
    "copybutton.js": 'class="highlight',
    "copybutton.css": 'class="highlight',
    "togglebutton.js": "dropdown admonition",
    "togglebutton.css": "dropdown admonition",
}
"""By a part of a script's or a style's name: what must stand in the body of a page that needs it."""

STYLE = Path("_static/styles/pydata-sphinx-theme.css")
FONTS = Path("_static/vendor/fontawesome/webfonts")
ICON = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}')
"""A rule of the theme's style that gives icons their glyph: ``.fa-bars:before{content:"\\f0c9"}``."""
RULE = re.compile(r"([^{}@;]+)\{[^{}]*\}")
COMPONENT = re.compile(
    r"\.((?:accordion|carousel|list-group|modal|offcanvas|pagination|placeholder|popover|progress|spinner|toast)"
    r"(?![a-zA-Z])[\w-]*)"
)
"""A part of Bootstrap by its classes, which the theme brings and of which a page of a book has rarely a use."""
WHOLE_FONT = re.compile(
    r'src:url\(\.\./vendor/fontawesome/webfonts/([\w-]+)\.woff2\) format\("woff2"\),url\([^)]*\) format\("\w+"\)'
)
GLYPH = re.compile(r'"(?:\\([0-9a-f]{4})|([\ue000-\uf8ff]))"')
SVG_SIZE = re.compile(r'<svg [^>]*?\bwidth="(\d+)" height="(\d+)"')
IMAGE = re.compile(r'<img [^>]*?src="([^"]*?_images/([^"/]+))"[^>]*>')


def trim(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Before a page is written: what its body has no use for goes, and later pictures wait."""
    body = context.get("body", "")
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context[kind] if needed(file, body)]
    sources = {name: Path(app.srcdir) / source for source, name in app.builder.images.items()}
    context["body"] = patient(body, sources)


def needed(file: Any, body: str) -> bool:
    """Whether a page with this body uses a script or a style, which Sphinx may spell as an object or as a tag."""
    named = f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', {}).get('body', '')}"
    return all(sign in body for part, sign in USES.items() if part in named)


def patient(body: str, sources: dict[str, Path]) -> str:
    """Each picture but the first waits until it is near, and all have their size, so that nothing jumps then."""
    seen = 0

    def one(found: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        more = "" if seen == 1 or "loading=" in found[0] else ' loading="lazy" decoding="async"'
        source = sources.get(found[2])
        if source is not None and not re.search(r"\b(width|style)=", found[0]):
            more += sized(source)
        return found[0].replace("<img ", f"<img{more} ", 1)

    return IMAGE.sub(one, body)


def sized(picture: Path) -> str:
    """The size of a picture as attributes, in pixels; none for an SVG that does not say its own."""
    if picture.suffix == ".svg":
        size = SVG_SIZE.match(picture.read_text(encoding="utf-8"))
        return f' width="{size[1]}" height="{size[2]}"' if size else ""
    with Image.open(picture) as image:
        return f' width="{image.width}" height="{image.height}"'


def finish(app: Sphinx, failed: Exception | None) -> None:
    """After the last page: only the icons that are shown, and no source maps of the theme's scripts."""
    site = Path(app.outdir)
    if failed or not (site / STYLE).exists():
        return
    for unused in {*site.glob("_static/**/*.map"), *site.glob("_static/scripts/fontawesome.js*")}:
        unused.unlink()
    shutil.rmtree(site / "_static" / "locales", ignore_errors=True)  # of the theme, in other languages than the book's
    if not any(WIDGET in path.read_text(encoding="utf-8") for path in site.glob("notebooks/*.html")):
        shutil.rmtree(site / "vendor" / "html-manager", ignore_errors=True)
    for download in site.glob("_sources/notebooks/*.ipynb"):  # to be run; executed it stands on its page
        notebooks.write(download, notebooks.stripped(notebooks.read(download)))
    told = "\n".join(path.read_text(encoding="utf-8") for path in told_of_icons(site))
    style = with_icons((site / STYLE).read_text(encoding="utf-8"), set(re.findall(r"fa-[\w-]+", told)))
    style = with_components(style, set(re.findall(r"[\w-]+", " ".join(re.findall(r'class="([^"]*)"', told)))))
    (site / STYLE).write_text(with_fonts(style), encoding="utf-8")
    others = "".join(path.read_text(encoding="utf-8") for path in site.glob("_static/**/*.css"))
    letters = {int(code, 16) if code else ord(letter) for code, letter in GLYPH.findall(style + others)}
    (site / "_static" / "fonts").mkdir(exist_ok=True)
    for font in (site / FONTS).glob("*.ttf"):
        cut(font, letters, site / "_static" / "fonts" / f"{font.stem}.woff")
    for font in (site / FONTS).iterdir():
        font.unlink()


def told_of_icons(site: Path) -> Iterator[Path]:
    """The files in which an icon can be asked for."""
    for pattern in ("*.html", "book/**/*.html", "notebooks/**/*.html", "_static/**/*.js"):
        yield from site.glob(pattern)


def with_icons(style: str, asked: set[str]) -> str:
    """The style without the glyphs of icons that nobody asks for."""
    return ICON.sub(lambda rule: rule[0] if asked & set(re.findall(r"\.(fa-[\w-]+):before", rule[0])) else "", style)


def with_components(style: str, classes: set[str]) -> str:
    """The style without the rules of Bootstrap's components of which no page has any class."""
    shown = tuple({found[1].partition("-")[0] for name in classes if (found := COMPONENT.match(f".{name}"))})

    def unused(selector: str) -> bool:
        found = COMPONENT.search(selector)
        said_of_another = found is None or ":" in selector[: found.start()]  # ``p:not(.toast)``
        return not said_of_another and not found[1].startswith(shown)

    return RULE.sub(lambda rule: "" if all(map(unused, rule[1].split(","))) else rule[0], style)


def with_fonts(style: str) -> str:
    """The style with the cut fonts in the place of the whole ones."""
    return WHOLE_FONT.sub(r'src:url(../fonts/\1.woff) format("woff")', style)


def cut(font: Path, letters: set[int], into: Path) -> None:
    """A font with these letters alone, where it has them."""
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True, name_IDs=["*"])
    whole = subset.load_font(str(font), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=letters & set(whole.getBestCmap()))
    cutter.subset(whole)
    subset.save_font(whole, str(into), options)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", trim, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
