"""Text from elsewhere, a name or what a model says, stays text on every page; and no code is read from any file.

Names of species, latents, autoencoders, prompts and captions may hold anything. Each place of the library, the book's
extensions and the pages' scripts that makes HTML is tried with what would be markup, or stands in a list that is held.
"""

import ast
import base64
import html as escaping
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from book_extensions import extension
from random_saes import make_sae
from toy_card import PICTURES, PLACE, card, scores

from vlm_sae_lib import paths
from vlm_sae_lib.publishing.figures import PageFigure
from vlm_sae_lib.publishing.sae_card import model_card
from vlm_sae_lib.publishing.stopwatch import Stopwatch
from vlm_sae_lib.quoting import LONGEST, in_markdown, quoted
from vlm_sae_lib.scorecard.page import html
from vlm_sae_lib.show.explorer import explorer_html, without_pictures
from vlm_sae_lib.show.svg import to_svg
from vlm_sae_lib.show.tables import table_html
from vlm_sae_lib.show.tiles import tile_uri
from vlm_sae_lib.terms import INAT2021, Credit

EVIL = (
    "<script>evil()</script>", '"><img src=x onerror=evil()>', "</script><script>evil()</script>", "' onload='evil()",
    "</style><b onclick=evil()>", "<!--", "&lt;script&gt;", "]]>", "`<b>`{raw}`html`", "| a | b", "a\n\n<script>",
)  # fmt: skip
each_evil = pytest.mark.parametrize("evil", EVIL)
ROOT = paths.root()
CODE = sorted([*(ROOT / "vlm_sae_lib").rglob("*.py"), *(ROOT / "book" / "_ext").glob("*.py"),
               *(ROOT / "benchmarks").rglob("*.py")])  # fmt: skip
SCRIPTS = sorted(path for folder in ("vlm_sae_lib", "book") for path in (ROOT / folder).rglob("*.*js")
                 if "vendor_root" not in path.parts)  # fmt: skip


class Elements(HTMLParser):
    """Which elements a fragment has, and whether one of them does something: it must not be for the text's sake."""

    def __init__(self, fragment: str):
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.handlers += [
            f"{tag} {name}={value}" for name, value in attrs
            if name.startswith("on") or (name in ("src", "href") and "javascript:" in str(value).lower())
        ]  # fmt: skip

    def handle_comment(self, data):
        self.names.append("comment")

    def handle_data(self, data):
        if self.names and self.names[-1] == "script":
            self.scripts.append(data)


@cache
def harmless(made) -> Elements:
    return Elements(made("harmless"))


def same_elements(made, evil: str) -> None:
    """``made(text)`` has with hostile text the elements that it has with a harmless one, none of which does a thing."""
    plain, hostile = harmless(made), Elements(made(evil))
    if made in DRAWN:  # as many elements as there are lines
        assert set(hostile.names) == set(plain.names)
    else:
        assert hostile.names == plain.names
    assert hostile.handlers == plain.handlers == []


# --- pages of the library -------------------------------------------------------------------------------------------


def scorecard_page(text: str) -> str:
    """Every text of a scorecard, as somebody else's JSON may hold it."""
    own = card()
    measures = tuple(replace(one, title=text, meaning=text, counted=text, group=text) for one in own.measures)
    some = replace(scores("own", 0.5), name=text, what=text)
    missing = {own.measures[0].name: replace(some.values[own.measures[0].name], value=None, why=text)}
    some = replace(some, values={**some.values, **missing})
    evil = replace(own, facts=own.facts | {"hash": text, "trained_with": text}, code=text, notes=(text,), subject=some,
                   place={name: text for name in PLACE}, pictures={name: text for name in PICTURES} | {"n": 9},
                   rivals=(some,), against=(some,), measures=measures)  # fmt: skip
    return html(evil, about=text)


def explorer_data(text: str) -> dict:
    shown = {"src": "data:," + text, "terms": text, "instead": None}
    return {"prompts": [text, text], "multiples": [None, 1.0], "texts": [text], "captions": [[[[0, 0], [0, 0]]]],
            "pictures": [{"label": text, **shown}],
            "neurons": [{"label": text, "name": text, "unit": text, "tops": [shown]}]}  # fmt: skip


def explorer(text: str) -> str:
    return explorer_html(explorer_data(text))


def published_explorer(text: str) -> str:
    return without_pictures(explorer(text))[0]


def table(text: str) -> str:
    frame = pd.DataFrame({text: [text, 1.5], "b": [None, text]}, index=pd.Index([text, "x"], name=text))
    return table_html(frame)


def figure(text: str) -> str:
    drawn, axes = plt.subplots()
    axes.set_xlabel(text)
    svg = to_svg(drawn)
    plt.close(drawn)
    return PageFigure("3.1", text, svg, text).html("figures")


def stopwatch(text: str) -> str:
    watch = Stopwatch(first=text, now=iter(range(100)).__next__)
    watch.part(text + "2")
    return watch.table()


def tile(text: str) -> str:
    """What stands in the place of a picture; it names the folder, which is a species."""
    uri = tile_uri(Credit(INAT2021, 3, f"00042_A_B_C_D_E_F_{text.replace('/', '-')}"))
    return base64.b64decode(uri.partition(",")[2]).decode() if ";base64," in uri else unquote(uri.partition(",")[2])


PAGES = (scorecard_page, explorer, published_explorer, table, figure, stopwatch, tile)
DRAWN = (figure, tile)


@each_evil
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_text_stays_text_on_a_page(page, evil, tried):
    same_elements(page, evil)
    tried("texts that would be markup")


@each_evil
def test_the_data_of_an_explorer_end_where_they_should(evil):
    data = explorer_data(evil)
    found = re.findall(r'<script type="application/json" class="se-data">(.*?)</script>', explorer_html(data), re.S)
    assert [json.loads(one) for one in found] == [data]


# --- pages of the book ----------------------------------------------------------------------------------------------


def cover(text: str) -> str:
    data = {"concept": text, "multiples": [1.0], "unsteered": text, "steered": [text], "random": [[text]],
            "picture": {"src": "data:," + text, "label": text}}  # fmt: skip
    return extension("cover").explorer(data)


def in_html(lines: list[str]) -> str:
    """Markdown as the book reads it: MyST lets HTML and roles through."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.myst_role import myst_role_plugin

    made = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).use(myst_role_plugin)
    return made.render("\n".join(lines))


def atlas_table(text: str) -> str:
    column = {"name": "a", "title": text, "meaning": text}
    sae = {"key": "a", "title": text, "sentence": text, "latents": 3, "silent": 1, "steering": None, "tree": True,
           "columns": [column]}  # fmt: skip
    page = extension("atlas")
    return in_html(page.saes({"saes": [sae]}, "atlas/")) + in_html(page.columns({"saes": [sae]}))


def leaderboard(text: str) -> str:
    """What somebody enters: its name is a file's, all else is free."""
    entries = [card(0.5, name="a"), card(0.6, name="b", hash="d" * 64)]
    for place, one in enumerate(entries):
        subject = replace(one.subject, what=text)
        entries[place] = replace(one, subject=subject, facts=one.facts | {"trained_with": text},
                                 place={name: text for name in PLACE}, pictures=PICTURES | {"test": text})  # fmt: skip
    return in_html(extension("leaderboard").page(entries, "c" * 64))


def hub_card(text: str) -> str:
    facts = {"provenance": dict.fromkeys(("tower", "hook_point", "tokens", "source", "rows", "weights_hash"), text),
             "config": {"seed": text}}  # fmt: skip
    body = model_card(make_sae("relu", metadata=facts), {text: 0.5})
    return in_html(body.partition("\n---\n")[2].splitlines())


@each_evil
@pytest.mark.parametrize("page", [cover, atlas_table, leaderboard, hub_card], ids=lambda page: page.__name__)
def test_a_text_stays_text_in_the_book(page, evil, tried):
    same_elements(page, evil)
    tried("texts that would be markup")


@each_evil
def test_what_is_quoted_in_markdown_reads_as_it_is(evil):
    shown = Elements(made := in_html([f"before {in_markdown(evil)} after"]))
    assert shown.names == ["p"]
    seen = "".join(re.findall(r">([^<]*)<", made))
    assert escaping.unescape(seen).split() == ["before", *evil.split(), "after"]


def test_what_is_quoted_in_a_sentence_is_printable_and_ends():
    for text in ("\x1b[2J\x07", "a\r\nb\u2028c", "\ud800", "\u202egnp.exe", "x" * 10**6, "\0" * 10**4):
        assert quoted(text).isprintable() and len(quoted(text)) <= LONGEST + 1
    assert quoted("as it is, é 未") == "as it is, é 未"


# --- the pages' scripts ---------------------------------------------------------------------------------------------

MARKUP = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|createContextualFragment|DOMParser|setHTMLUnsafe|eval)\b"
    r"|document\.write|new Function|\bset(Timeout|Interval)\(\s*[\"'`]|javascript:"
)
MARKUP_MEANT: dict[str, str] = {}
"""Scripts that make markup of text, with the reason why they may: none does."""


def test_there_are_scripts():
    assert len(SCRIPTS) > 20


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "book" / "_ext" / "cover.py"], ids=lambda path: path.name)
def test_no_script_makes_markup_of_text(path):
    found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if MARKUP.search(line)]
    assert not found or path.relative_to(ROOT).as_posix() in MARKUP_MEANT, found


def test_an_address_in_a_link_is_an_address():
    """``javascript:`` would be one, too."""
    taken = {path.name: re.findall(r"\.(?:href|src) = ([^;]+);", path.read_text(encoding="utf-8")) for path in SCRIPTS}
    given = {name: sorted(set(found)) for name, found in taken.items() if found}
    assert given == {
        "atlas.js": ["atlas.book"],  # its protocol is looked at in the line before
        "desk.js": ["state.link"],  # made from the page's own address
        "steering_explorer.js": ["chosen.tops[i].src", "data.pictures[p].src"],  # of pictures, which run nothing
    }
    text = (ROOT / "vlm_sae_lib/atlas/page/atlas.js").read_text(encoding="utf-8")
    assert '["http:", "https:", "file:"].includes(new URL(atlas.book, location.href).protocol)' in text


# --- what code may not say ------------------------------------------------------------------------------------------


def trees() -> list[tuple[str, ast.AST]]:
    """Every module, and every code cell of every notebook."""
    found = [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in CODE]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for place, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "code":
                lines = [line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!"))]
                found.append((f"{path.name}[{place}]", ast.parse("\n".join(lines) or "pass")))
    return found


def name_of(node: ast.AST) -> str:
    """``torch.load`` of its two nodes; what is no chain of names begins with a dot."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def complaints(tree: ast.AST) -> list[str]:
    """What a module does that could run a stranger's code, or write where a stranger says."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, said = name_of(node.func), {word.arg: word.value for word in node.keywords}

        def says(word: str, value: object, said: dict = said) -> bool:
            return isinstance(given := said.get(word), ast.Constant) and given.value == value

        module, _, last = name.rpartition(".")
        wrong = (
            (name == "torch.load" and not says("weights_only", True))
            or name == "torch.jit.load"
            or (module.split(".")[0] in UNPICKLERS and last in ("load", "loads", "Unpickler", "open"))
            or name in ("pd.read_pickle", "pandas.read_pickle", "np.fromfile")
            or ("trust_remote_code" in said and not says("trust_remote_code", False))
            or ("allow_pickle" in said and not says("allow_pickle", False))
            or (last in ("extractall", "extract") and not says("filter", "data"))
            or (module == "yaml" and last in ("load", "full_load", "unsafe_load", "load_all", "full_load_all"))
            or name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen")
            or says("shell", True)
            or says("verify", False)
            or (last == "_create_unverified_context")
            or name in ("unpack_archive", "shutil.unpack_archive")
        )
        found += [f"line {node.lineno}: {name or last}"] * wrong
    return found


def test_no_code_is_read_from_a_file():
    assert {where: found for where, tree in trees() if (found := complaints(tree))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)", "torch.load(path, weights_only=False)", "pickle.load(file)", "pickle.loads(data)",
        "AutoModel.from_pretrained(a, trust_remote_code=True)", "AutoModel.from_pretrained(a, trust_remote_code=yes)",
        "archive.extractall(folder)", "archive.extractall(folder, filter='fully_trusted')", "yaml.load(text)",
        "yaml.unsafe_load(text)", "eval(text)", "exec(text)", "np.load(path, allow_pickle=True)", "joblib.load(path)",
        "subprocess.run(line, shell=True)", "requests.get(url, verify=False)", "shutil.unpack_archive(path)",
        "pickle.Unpickler(file).load()", "tarfile.open(path).extract(name)", "os.system(line)",
    ],
)  # fmt: skip
def test_a_line_that_could_run_anything_is_seen(line):
    assert complaints(ast.parse(line))


def test_lines_that_run_nothing_pass():
    right = (
        "torch.load(path, weights_only=True)", "archive.extractall(folder, filter='data')", "yaml.safe_load(text)",
        "re.compile(word)", "model.eval()", "ast.literal_eval(text)", "np.load(path)", "json.loads(text)",
    )  # fmt: skip
    assert [line for line in right if complaints(ast.parse(line))] == []


FETCHES = re.compile(r"\burlopen\(|\burlretrieve\(|\brequests\.(get|post)\(|\bhttpx\.|wget|curl ")
DOWNLOADS = {
    # the picture archive: read as a stream, nothing of it kept unless its published checksum fits
    "vlm_sae_lib/pictures/archive.py": "md5",
    # files of the Hugging Face hub: by commit, in its own cache
    "vlm_sae_lib/sae/files/hub.py": "revision=commit",
}
"""Where something is fetched, and the word in that file by which it is held to what was meant."""


def test_every_download_is_held_to_a_checksum_or_a_commit():
    found = set()
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        if FETCHES.search(text) or re.search(r"\bhf_hub_download\(", text):
            found.add(path.relative_to(ROOT).as_posix())
    assert found == set(DOWNLOADS)
    for name, word in DOWNLOADS.items():
        assert word in (ROOT / name).read_text(encoding="utf-8")


def test_nothing_is_told_to_anybody():
    """No telemetry: no address is written to, but the hub that a reader publishes on."""
    sends = re.compile(r"requests\.post|httpx\.post|sendBeacon|XMLHttpRequest|WebSocket|method: *[\"']POST|analytics")
    for path in [*CODE, *SCRIPTS]:
        assert not sends.search(path.read_text(encoding="utf-8")), Path(path).name
