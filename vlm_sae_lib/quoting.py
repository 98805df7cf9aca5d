"""What a stranger wrote, as it may stand in a sentence: no line breaks, no commands for a terminal, no end."""

import html
import re

LONGEST = 1000
MARK = re.compile(r"([\\`*{}\[\]|$~^#]|(?<![^\W_])_|_(?![^\W_]))")
"""What means something to Markdown within a line (an underscore not between letters); what means something to HTML is
an entity by then."""


def quoted(text: object, longest: int = LONGEST) -> str:
    """The text with whatever cannot be printed spelled out, halves of characters too, and cut at ``longest``."""
    spelled = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
    told = "".join(spelled)
    return told if len(told) <= longest else f"{told[: longest // 2]}…{told[-(longest // 2) :]}"


def in_markdown(text: object) -> str:
    """The text as Markdown that shows it as it is, on one line: nothing in it is a mark, a role, a link or HTML."""
    told = html.escape(" ".join(str(text).split()), quote=False)
    return MARK.sub(r"\\\1", told)
