"""The first use of each of the glossary's words on a page leads to the glossary, and so shows what it means.

What an author marked by ``{term}`` stays; this finds the rest, in prose and in what directives print of results.
A word is looked for as the glossary writes it, and as its plural; ``ALSO`` holds other forms. ``NOT`` are words that
mean something else as well, so that only an author can tell: these are linked where they are marked.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from docutils import nodes
from reach import GLOSSARY
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ALSO = {
    "Holm's correction": ("corrected for", "after Holm", "Holm"), "Student's t interval": ("Student's t",),
    "confidence interval": ("intervals?",), "island": ("islands",), "dead": ("dead latents?",), "fires": ("fires?",),
    "frozen decoder": ("decoder never learns", "decoder that never learned", "frozen part"),
    "rank correlation": ("Spearman's",), "monosemanticity score": ("MonoSemanticity score",),
    "steering": ("steers?",), "Wilson's interval": ("Wilson's", "Wilson"), "bootstrap": ("drawing the pictures anew",),
    "Jaccard index": ("Jaccard’s", "Jaccard's"),
    "LCA depth": ("depth in the tree of life", "depth in the tree"), "neuron": ("raw neurons?",),
}  # fmt: skip
"""Other forms of a word, as patterns."""
NOT = {"dead", "profile", "store", "strength", "training"}
ELSEWHERE = (
    nodes.title, nodes.rubric, nodes.term, nodes.literal, nodes.literal_block, nodes.doctest_block, nodes.raw,
    nodes.math, nodes.math_block, nodes.reference, nodes.label, nodes.comment, nodes.image, nodes.footnote_reference,
    addnodes.pending_xref, addnodes.download_reference, addnodes.toctree,
)  # fmt: skip
"""Where a link would break something, or stands already."""
BLOCK = re.compile(r"^```\{glossary\}\n(.*?)^```", re.M | re.S)


def entries_of(glossary: str) -> list[list[str]]:
    """The terms of each entry: words that share a definition."""
    block = BLOCK.search(glossary)
    entries = (block[1] if block else "").split("\n\n")
    return [[line.strip() for line in entry.splitlines() if line[:1].strip()] for entry in entries]


def words_of(entries: list[list[str]]) -> dict[str, str]:
    """By pattern, the longest first, the term of the glossary that it leads to."""
    found = {}
    for term in (term for terms in entries for term in terms):
        own = () if term in NOT else (re.escape(term) + ("s?" if term[-1].isalpha() else ""),)
        found |= dict.fromkeys((*own, *ALSO.get(term, ())), term)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def pattern_of(words: dict[str, str]) -> re.Pattern[str]:
    """Any of the words, with a large letter too where it begins a sentence, and across the end of a line."""
    broken = (word.replace("\\ ", " ").replace(" ", r"\s+") for word in words)
    each = (f"[{word[0].upper()}{word[0]}]{word[1:]}" if word[:1].islower() else word for word in broken)
    return re.compile(rf"(?<![\w’'-])(?:{'|'.join(f'({one})' for one in each)})(?![\w’'-])")


class Words(SphinxTransform):
    """Links each word where a page first uses it: in what stands open first, and only then in what is folded."""

    default_priority = 400

    def apply(self, **kwargs: object) -> None:
        glossary = Path(self.env.doc2path(GLOSSARY))
        if self.env.docname == GLOSSARY or GLOSSARY not in self.env.found_docs:
            return
        self.env.note_dependency(str(glossary))
        self.env.note_dependency(__file__)  # a page that was read before would keep what was found then
        entries = entries_of(glossary.read_text(encoding="utf-8"))
        first = {term.lower(): terms[0] for terms in entries for term in terms}
        words, seen = words_of(entries), set[str]()
        pattern, meant = pattern_of(words), [(term, first[term.lower()]) for term in words.values()]
        join_lines(self.document)
        for folded in (False, True):
            for text in list(texts_of(self.document, folded=folded)):
                if isinstance(text, addnodes.pending_xref):
                    seen.add(first.get(text["reftarget"].lower(), ""))
                else:
                    link(text, pattern, meant, seen)


def join_lines(document: nodes.Element) -> None:
    """Make one text of those that only the end of a line parts: a word may stand on both sides of it."""
    for block in list(document.findall(nodes.TextElement)):
        runs = [(kind, list(run)) for kind, run in groupby(block.children, key=lambda child: type(child) is nodes.Text)]
        if any(is_text and len(run) > 1 for is_text, run in runs):
            block.children = []
            for is_text, run in runs:
                block += nodes.Text("".join(one.astext() for one in run)) if is_text else run


def texts_of(document: nodes.document, *, folded: bool) -> Iterator[nodes.Element]:
    """The texts that may hold a word, and the links that an author made, in the order of the page."""
    for node in document.findall():
        marked = isinstance(node, addnodes.pending_xref) and node.get("reftype") == "term"
        free = isinstance(node, nodes.Text) and not inside(node, ELSEWHERE) and not beside_html(node)
        if (marked or free) and is_folded(node) == folded:
            yield node


def link(text: nodes.Text, pattern: re.Pattern[str], meant: list[tuple[str, str]], seen: set[str]) -> None:
    """Put a link in the place of each word of a text whose entry was not seen before.

    Args:
        meant: by the pattern's group, the term and the first one of its entry.
        seen: the first terms of the entries that have been met; those of this text are added.
    """
    parts: list[nodes.Node] = []
    whole, done = text.astext(), 0
    for found in pattern.finditer(whole):
        term, entry = meant[(found.lastindex or 1) - 1]
        if entry not in seen:
            seen.add(entry)
            parts += [nodes.Text(whole[done : found.start()]), reference(term, found[0])]
            done = found.end()
    if parts:
        text.parent.replace(text, [*parts, nodes.Text(whole[done:])])


def reference(term: str, words: str) -> addnodes.pending_xref:
    inner = nodes.inline("", words, classes=["xref", "std", "std-term"])
    return addnodes.pending_xref("", inner, refdomain="std", reftype="term", reftarget=term, refexplicit=True,
                                 refwarn=True)  # fmt: skip


def inside(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    return any(isinstance(above, kinds) for above in ancestors(node))


def beside_html(node: nodes.Node) -> bool:
    """Whether HTML was written by hand around it, which may be a link already."""
    return any(isinstance(other, nodes.raw) for other in node.parent.children)


def is_folded(node: nodes.Node) -> bool:
    """Whether it stands in what a reader must open first."""
    return any(isinstance(above, nodes.container) and above.get("design_component") == "dropdown"
               for above in ancestors(node))  # fmt: skip


def ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    while (node := node.parent) is not None:
        yield node


def setup(app: Sphinx) -> dict:
    app.add_transform(Words)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
