"""An SVG of a figure as it is published: it looks as in its notebook, in far fewer characters.

What nobody can see at twice the size goes: places finer than a tenth of a point, shades finer than a few of 256. What
is said many times is said once: a style that several marks have becomes a class, called after what it says, so that
two figures in one page never mean different things by one name.
"""

import base64
import io
import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
from PIL import Image

LEVELS = 6
"""Of 256: by how much a picture's pixels may be off. Its edges stay as sharp as they are."""
QUALITY = 90
"""Of WebP with loss, out of 100: it blurs the colours of small drawings, and is good enough for most photographs."""
LARGE = 2**20
"""Pixels of a picture that is worth a few seconds of the build."""
RASTER = re.compile(r"data:image/\w+;base64,\s*([A-Za-z0-9+/=\s]+)")
PARTS = re.compile(r"<defs>.*?</defs>|<style.*?</style>|<[^>]*>|[^<]+", re.S)
PATH = re.compile(r' d="([^"]*)"')
STEP = re.compile(r"([MLQC])([^MLQCz]*)|z")
PLACE = re.compile(r'(?<= )([xy][12]?)="(-?\d+\.\d+)"')
STYLE = re.compile(r' style="([^"]*)"')
TENTHS = 10


def light(drawn: str) -> str:
    """The SVG that ``show.svg.to_svg`` gives, lighter; what is light already stays as it is."""
    drawn = RASTER.sub(_lighter_picture, drawn)
    drawn = "".join(_without_bare_groups(_part(part) for part in PARTS.findall(drawn)))
    return _with_classes(drawn)


def _part(part: str) -> str:
    """A tag with its places in tenths; words, styles, and marks that are drawn many times, as they are."""
    if not part.startswith("<") or part.startswith(("<defs>", "<style")):
        return part
    part = part.replace(" xlink:href=", " href=").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    return PLACE.sub(lambda place: f'{place[1]}="{_said(_tenths(place[2]))}"', PATH.sub(_path, part))


def _tenths(number: str) -> int:
    return round(float(number) * TENTHS)


def _said(tenths: int) -> str:
    """``-5`` as ``-.5``."""
    whole, rest = divmod(abs(tenths), TENTHS)
    return "-" * (tenths < 0) + (f"{whole or ''}.{rest}" if rest else str(whole))


def _path(found: re.Match[str]) -> str:
    """A path by the way from each place to the next; the places are those in tenths, so that no error adds up."""
    if re.search(r"[^MLQCz\d\s.,-]", found[1]):  # written by somebody else
        return found[0]
    drawn, last, start, here = [], "", (0, 0), (0, 0)
    for step in STEP.finditer(found[1]):
        if step[0] == "z":
            drawn.append("z")
            here, last = start, "z"
            continue
        numbers = [_tenths(number) for number in re.split(r"[\s,]+", step[2].strip())]
        places = list(zip(numbers[::2], numbers[1::2], strict=True))
        if step[1] == "M":
            drawn.append(f"M{_listed(places[:1])}")
            start = here = places[0]
            places, last = places[1:], "M"
        per = {"M": 1, "L": 1, "Q": 2, "C": 3}[step[1]]
        for at in range(0, len(places), per):
            own = places[at : at + per]
            ways = [(x - here[0], y - here[1]) for x, y in own]
            here = own[-1]
            letter = "l" if step[1] == "M" else step[1].lower()
            if letter == "l" and 0 in ways[0]:  # straight along an axis
                letter, text = ("v", _said(ways[0][1])) if ways[0][0] == 0 else ("h", _said(ways[0][0]))
            else:
                text = _listed(ways)
            joined = text if text.startswith("-") else f" {text}"
            drawn.append(joined if letter == last else letter + text)
            last = letter
    return f' d="{"".join(drawn)}"'


def _listed(places: list[tuple[int, int]]) -> str:
    text = " ".join(_said(number) for place in places for number in place)
    return text.replace(" -", "-")


def _without_bare_groups(parts: Iterator[str]) -> Iterator[str]:
    """Without the groups that say nothing of what is in them."""
    said: list[bool] = []
    for part in parts:
        if part.startswith("<g ") and part.endswith("/>"):  # nothing is in it: a mark at NaN
            continue
        if part.startswith("<g") and part[2] in " >":
            said.append(part != "<g>")
            if not said[-1]:
                continue
        elif part == "</g>" and not said.pop():
            continue
        yield part


def _with_classes(drawn: str) -> str:
    """A style that several marks have, told once."""
    shared = {style: f"p{sha256(style.encode()).hexdigest()[:6]}"
              for style, times in Counter(STYLE.findall(drawn)).items() if times > 1}  # fmt: skip
    if not shared:
        return drawn

    def named(found: re.Match[str]) -> str:
        return f' class="{shared[found[1]]}"' if found[1] in shared else found[0]

    rules = "".join(f".{name}{{{_close(style)}}}" for style, name in shared.items())
    return STYLE.sub(named, drawn).replace(">", f"><style>{rules}</style>", 1)


def _close(style: str) -> str:
    return re.sub(r"([:;,]) ", r"\1", style).rstrip("; ")


def _lighter_picture(found: re.Match[str]) -> str:
    """A picture as WebP where that is less: no pixel is off by more than ``LEVELS``, or of a photograph one in 100."""
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as opened:
        if opened.mode != "RGB":  # a transparent one is rare, and stays
            return found[0]
        picture = opened.copy()
    pixels = np.asarray(picture, dtype=np.int16)
    step = 2 * LEVELS
    rounded = np.clip((pixels + LEVELS) // step * step, 0, 255).astype(np.uint8)
    data = _webp(Image.fromarray(rounded), lossless=True, quality=100)
    with_loss = _webp(picture, quality=QUALITY)
    with Image.open(io.BytesIO(with_loss)) as seen:
        if np.percentile(np.abs(pixels - np.asarray(seen.convert("RGB"))), 99) <= LEVELS:
            data = min(data, with_loss, key=len)
    lighter = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return min(lighter, found[0], key=len)


def _webp(picture: Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    method = 6 if picture.width * picture.height > LARGE else 4  # six: a third less, in fifty times the time
    picture.save(buffer, "WEBP", method=method, **how)
    return buffer.getvalue()
