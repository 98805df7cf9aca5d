"""The switch between the editions that lie side by side in a built site, written into the head of every page.

The site's root is the published edition, and a folder of it that is a site too is another one. Only links are written,
to what is there: a page that the other edition lacks leads to its first page, and an edition without another beside it
has no switch. Nothing but the standard library is needed, as an edition may have been built on another machine.
"""

import html
import re
from pathlib import Path
from posixpath import relpath

from vlm_sae_lib import files

PUBLISHED = "pocket"
SIGN = "objects.inv"
"""Every site that Sphinx builds has it at its root."""
FIRST = "index.html"
PLACE = re.compile(rb"<!-- editions -->.*?<!-- /editions -->", re.S)
"""Where ``book/_templates/editions.html`` leaves room for it."""


def editions(site: Path) -> dict[str, Path]:
    """The editions in a site, each with its folder; the published one first."""
    found = {PUBLISHED: site} if (site / SIGN).exists() else {}
    others = sorted(site.iterdir()) if site.is_dir() else []
    return found | {folder.name: folder for folder in others if (folder / SIGN).exists()}


def write_switch(site: Path) -> list[str]:
    """Put the switch on every page of every edition, or take it away where there is one alone; the editions' names."""
    there = editions(site)
    for name, folder in there.items():
        for page in sorted(folder.rglob("*.html")):
            if any(other in page.parents for other in there.values() if folder in other.parents):
                continue  # another edition's, within this one's folder
            before = page.read_bytes()

            def place(_: re.Match[bytes], page: Path = page, name: str = name) -> bytes:
                return _place(page, name, site, there)

            after = PLACE.sub(place, before)
            if after != before:
                files.write_bytes(page, after)
    return list(there)


def _place(page: Path, name: str, site: Path, there: dict[str, Path]) -> bytes:
    entries = []
    for other, folder in there.items() if len(there) > 1 else ():
        word = html.escape(other)
        if other == name:
            entries.append(f'<li><span aria-current="true">{word}</span></li>')
            continue
        same = folder / page.relative_to(there[name])
        target = same if same.exists() else folder / FIRST
        link = relpath(target.relative_to(site).as_posix(), page.parent.relative_to(site).as_posix())
        entries.append(f'<li><a href="{html.escape(link)}" title="This page in the {word} edition">{word}</a></li>')
    switch = f'<nav class="editions" aria-label="Edition of this book"><ul>{"".join(entries)}</ul></nav>'
    return b"<!-- editions -->" + (switch.encode() if entries else b"") + b"<!-- /editions -->"
