"""The code of ``book/recipes.md``, as it stands on the page."""

import re

from vlm_sae_lib import paths

PAGE = paths.root() / "book" / "recipes.md"


def blocks(language: str) -> dict[str, list[str]]:
    """The page's code blocks of a language, by the first word of the heading above them."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]:
        for code in re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.M | re.S):
            found.setdefault(re.split(r"\W", section, maxsplit=1)[0], []).append(code)
    return found
