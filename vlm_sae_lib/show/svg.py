"""A figure as SVG whose colours a page can change: light and dark, with the pictures in it as they are.

Every colour of the book's style becomes a CSS variable with the colour itself behind it. Where nobody sets the
variables, as in Jupyter, on Colab and in a file, a figure looks as it was drawn, on its own white ground.
"""

import base64
import html
import io
import re
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from PIL import Image

from vlm_sae_lib.show.style import THEME

SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "vlm-sae", "svg.image_inline": True,
            "figure.constrained_layout.use": False}  # fmt: skip
NO_DATES = {"Date": None, "Creator": None, "Format": None, "Type": None}
FONTS = "var(--pst-font-family-base, system-ui, 'DejaVu Sans', Arial, sans-serif)"
RASTER = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
SHRUNK = re.compile(r'(transform="matrix\(([\d.]+)[^"]*") style="image-rendering:[^"]*"')
LINE = re.compile(r'<text style="([^"]*)" transform="translate\([^"]*\)">([^<]+)')
"""One line of a label of several, which matplotlib sets apart from the others, each where it begins."""
PIXELS_PER_POINT = 4 / 3


def to_svg(figure: Figure) -> str:
    """The figure as one ``<svg>`` element; the same figure gives the same characters."""
    buffer = io.StringIO()
    # printing leaves a figure that has no layout with the one that is usual, and a complaint when it is printed again
    with rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.04, metadata=NO_DATES)
    drawn = buffer.getvalue()
    drawn = _pixels(_lean(drawn[drawn.index("<svg") :]))
    return _themed(SHRUNK.sub(_smooth, RASTER.sub(_smaller, LINE.sub(_as_wide, drawn))))


def has_pictures(drawn: str) -> bool:
    """Whether an SVG holds rasters, which make it heavy."""
    return "<image" in drawn


def dark_by_itself(drawn: str, **colours: str) -> str:
    """The SVG as a file of its own: shown as a picture, it takes its colours from the page's colour scheme.

    ``colours`` are others in the dark, as ``ground``. None is transparent: where a browser or a printer asks the system
    for its scheme and not the page, light ink would lie on white.
    """
    colours = dict(THEME.values()) | colours
    dark = "".join(f"--plot-{name}:{dark};" for name, dark in colours.items())
    rule = f"<style>@media (prefers-color-scheme: dark){{svg{{{dark}}}}}</style>"
    return drawn.replace(">", f">{rule}", 1)


def _lean(drawn: str) -> str:
    """Without what nothing refers to: comments, ids, turns by nothing, digits beyond a hundredth of a point."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", drawn))
    drawn = re.sub(r"<!--.*?-->", "", drawn, flags=re.S)
    drawn = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawn)
    drawn = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", drawn)
    drawn = re.sub(r"<[^>]*>", _rounded, drawn)  # never the words between
    return re.sub(r">\s*\n\s*<", "><", drawn)


def _rounded(tag: re.Match) -> str:
    numbers = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])
    return re.sub(r' d="([^"]*)"', lambda path: f' d="{" ".join(path[1].split())}"', numbers)


def _pixels(drawn: str) -> str:
    """Sizes in CSS pixels, so that a page scales the figure by its width alone."""
    width, height = (float(size) for size in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)[0])
    size = f'width="{width * PIXELS_PER_POINT:.0f}" height="{height * PIXELS_PER_POINT:.0f}"'
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'{size} font-family="{FONTS}"', drawn, count=1)


def _themed(drawn: str) -> str:
    drawn = re.sub(r"font-family: [^;\"]*;? ?", "", drawn)

    def themed(found: re.Match) -> str:
        name, _ = THEME.get(found[0].lower(), (None, None))
        return f"var(--plot-{name}, {found[0]})" if name else found[0]

    return re.sub(r"#[0-9a-fA-F]{6}\b", themed, drawn)


def _as_wide(found: re.Match) -> str:
    """A line as wide as it was laid out, in whatever font it is shown: else lines would not stand one below another."""
    size = float(re.findall(r"font-size: ([\d.]+)px", found[1])[0])
    bold = "font-weight: 700" in found[1]
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    width = TextPath((0, 0), html.unescape(found[2]), size=size, prop=font).get_extents().width
    return found[0].replace("<text", f'<text textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"', 1)


def _smooth(found: re.Match) -> str:
    """A raster keeps hard pixels where it is enlarged, not where it is shrunk."""
    return found[0] if float(found[2]) * PIXELS_PER_POINT > 1 else found[1]


def _smaller(found: re.Match) -> str:
    """The same pixels as WebP without loss, where that takes less room."""
    png = base64.b64decode(found[1])
    picture = Image.open(io.BytesIO(png))
    buffer = io.BytesIO()
    opaque = picture.mode != "RGBA" or picture.getchannel("A").getextrema() == (255, 255)
    (picture.convert("RGB") if opaque else picture).save(buffer, "WEBP", lossless=True, quality=100, method=4)
    kind, data = min(("webp", buffer.getvalue()), ("png", png), key=lambda one: len(one[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
