"""What a page need not load is not asked for.

Sphinx, the theme and MyST-NB link on every page what some page needs. Here a page loses the scripts and styles of which
its body has no use, and its pictures below the first wait until they are near. Once all pages are written, Font Awesome
is cut down to the icons that they show, rules of the theme's style and glyphs of its two fonts; styles lose the rules
of which no page can have the class, as most of Bootstrap, and pages the room between their lines and the marks of code
that have no colour of their own. Only notebooks are there to be downloaded as they were written.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

from vlm_sae_lib.publishing import notebooks
from vlm_sae_lib.publishing.edition_switch import PUBLISHED

WIDGET = "application/vnd.jupyter.widget-view+json"
USES = {
    "mathjax/startup.js": 'class="math',
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
RUNTIME = Path("vendor/onnxruntime-web")
"""Of the live model."""
FONTS = Path("_static/vendor/fontawesome/webfonts")
ICON = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}')
"""A rule of the theme's style that gives icons their glyph: ``.fa-bars:before{content:"\\f0c9"}``."""
RULE = re.compile(r"([^{}@;]+)\{[^{}]*\}")
STYLES = (STYLE, Path("_static/sphinx-design.min.css"), Path("_static/mystnb.*.css"))
"""Of libraries that bring far more than a book shows."""
CLASS = re.compile(r"\.(-?[a-zA-Z_][\w-]*)")
WORD = re.compile(r"[\w-]+")
CODE_STYLE = Path("_static/pygments.css")
CODE = re.compile(r'<div class="highlight"><pre>.*?</pre></div>', re.S)
KEPT = re.compile(r"(<(pre|textarea|script|style)\b.*?</\2>)", re.S)
"""What of a page means something by its white space."""
WHOLE_FONT = re.compile(
    r'src:url\(\.\./vendor/fontawesome/webfonts/([\w-]+)\.woff2\) format\("woff2"\),url\([^)]*\) format\("\w+"\)'
)
STRIPE = re.compile(r'<tr class="row-(?:odd|even)">')
"""A row of a table as docutils marks it; the theme stripes tables without that."""
GLYPH = re.compile(r'"(?:\\([0-9a-f]{4})|([\ue000-\uf8ff]))"')
SVG_SIZE = re.compile(r'<svg [^>]*?\bwidth="(\d+)" height="(\d+)"')
IMAGE = re.compile(r'<img [^>]*?src="([^"]*?_images/([^"/]+))"[^>]*>')


def trim(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Before a page is written: what its body has no use for goes, and later pictures wait."""
    body = context.get("body", "")
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context[kind] if needed(file, body)]
    if context.get("page_source_suffix") != ".ipynb":
        withhold_source(context)
    sources = {name: Path(app.srcdir) / source for source, name in app.builder.images.items()}
    context["body"] = patient(STRIPE.sub("<tr>", body), sources)


def withhold_source(context: dict[str, Any]) -> None:
    """The Markdown of a page is not offered as a download: the link to its repository shows it."""
    for group in context.get("header_buttons", ()):
        buttons = group.get("buttons", [])
        buttons[:] = [button for button in buttons if button.get("label") != "download-source-button"]


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
    """After the last page: nothing lies there that no page uses."""
    site = Path(app.outdir)
    if failed or not (site / STYLE).exists():
        return
    for unused in {*site.glob("_static/**/*.map"), *site.glob("_static/scripts/fontawesome.js*")}:
        unused.unlink()
    shutil.rmtree(site / "_static" / "locales", ignore_errors=True)  # of the theme, in other languages than the book's
    if not any(WIDGET in path.read_text(encoding="utf-8") for path in site.glob("notebooks/*.html")):
        shutil.rmtree(site / "vendor" / "html-manager", ignore_errors=True)
    if app.config.edition != PUBLISHED:  # the live model stands once in a site
        shutil.rmtree(site / RUNTIME, ignore_errors=True)
    shutil.rmtree(site / "_sources" / "book", ignore_errors=True)
    for download in site.glob("_sources/notebooks/*.ipynb"):  # to be run; executed it stands on its page
        notebooks.write(download, notebooks.stripped(notebooks.read(download)))
    lighten_styles(site)
    plain = colourless((site / CODE_STYLE).read_text(encoding="utf-8"))
    for path in pages(site):
        path.write_text(dense(uncoloured(path.read_text(encoding="utf-8"), plain)), encoding="utf-8")


def lighten_styles(site: Path) -> None:
    """Only the icons that are shown, and only rules that something can follow."""
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in site.glob("_static/**/*.js"))
    told = "\n".join(path.read_text(encoding="utf-8") for path in pages(site))
    style = with_icons((site / STYLE).read_text(encoding="utf-8"), set(re.findall(r"fa-[\w-]+", told + scripts)))
    (site / STYLE).write_text(with_fonts(style), encoding="utf-8")
    can_be = possible(told, scripts)
    for path in (path for pattern in STYLES for path in site.glob(str(pattern))):
        path.write_text(with_classes(path.read_text(encoding="utf-8"), can_be), encoding="utf-8")
    styles = "".join(path.read_text(encoding="utf-8") for path in site.glob("_static/**/*.css"))
    letters = {int(code, 16) if code else ord(letter) for code, letter in GLYPH.findall(styles)}
    (site / "_static" / "fonts").mkdir(exist_ok=True)
    for font in (site / FONTS).glob("*.ttf"):
        cut(font, letters, site / "_static" / "fonts" / f"{font.stem}.woff")
    for font in (site / FONTS).iterdir():
        font.unlink()


def pages(site: Path) -> Iterator[Path]:
    for pattern in ("*.html", "book/**/*.html", "notebooks/**/*.html"):
        yield from site.glob(pattern)


def dense(page: str) -> str:
    """The page without what stands before, behind and between its lines, where that is not shown."""
    parts = KEPT.split(page)  # what is not kept as it is, what is, and its tag, in turn
    parts[::3] = [re.sub(r"\s*\n\s*", "\n", part) for part in parts[::3]]
    del parts[2::3]
    return "".join(parts)


def colourless(style: str) -> set[str]:
    """Kinds of words of code that a style of Pygments gives the colour of all code, by their class, whatever the theme.

    White space is one of them: nobody sees its colour.
    """
    of_all = dict(re.findall(r"^(html\S+) \.highlight \{[^}]*?\bcolor: ([^;\s]+)", style, flags=re.M))
    rules: dict[str, set[bool]] = {}
    for theme, kind, rule in re.findall(r"^(html\S+) \.highlight \.(\w+) \{([^}]*)\}", style, flags=re.M):
        rules.setdefault(kind, set()).add(rule.strip() == f"color: {of_all.get(theme)}")
    return {"w"} | {kind for kind, same in rules.items() if same == {True}}


def uncoloured(page: str, plain: set[str]) -> str:
    """The page without marks around words of code that change nothing."""
    mark = re.compile(rf'<span class="(?:{"|".join(sorted(plain))})">([^<]*)</span>')
    return CODE.sub(lambda code: mark.sub(r"\1", code[0]), page)


def with_icons(style: str, asked: set[str]) -> str:
    """The style without the glyphs of icons that nobody asks for."""
    return ICON.sub(lambda rule: rule[0] if asked & set(re.findall(r"\.(fa-[\w-]+):before", rule[0])) else "", style)


def possible(told: str, scripts: str) -> Callable[[str], bool]:
    """Whether anything can have a class: it is a word of pages or scripts, or a script can put together such a word.

    It does so from a beginning that ends with a hyphen or has one within: ``bs-tooltip`` and a side.
    """
    beginnings = set(WORD.findall(scripts))
    words = beginnings | set(WORD.findall(told))

    def can_be(name: str) -> bool:
        begun = (name[:at] for at, letter in enumerate(name) if at and letter == "-")
        return name in words or any(f"{one}-" in beginnings or ("-" in one and one in beginnings) for one in begun)

    return can_be


def with_classes(style: str, can_be: Callable[[str], bool]) -> str:
    """The style without the rules all of whose selectors ask for a class that nothing can have; licences stay."""

    def unused(selector: str) -> bool:
        return not all(can_be(name) for name in CLASS.findall(selector))

    def one(rule: re.Match[str]) -> str:
        selectors = re.sub(r"/\*.*?\*/|\[[^\]]*\]", "", rule[1], flags=re.S)
        while selectors != (outer := re.sub(r"\([^()]*\)", "", selectors)):  # ``p:not(.toast, .x)`` asks for none
            selectors = outer
        if not all(map(unused, selectors.split(","))):
            return rule[0]
        return "".join(re.findall(r"/\*!.*?\*/", rule[1], flags=re.S))

    return RULE.sub(one, style)


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
