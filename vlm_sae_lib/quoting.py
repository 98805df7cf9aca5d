"""What a stranger wrote, as it may stand in a sentence: no line breaks, no commands for a terminal, no end."""

LONGEST = 1000


def quoted(text: object, longest: int = LONGEST) -> str:
    """The text with whatever cannot be printed spelled out, halves of characters too, and cut at ``longest``."""
    spelled = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
    told = "".join(spelled)
    return told if len(told) <= longest else f"{told[: longest // 2]}…{told[-(longest // 2) :]}"
