"""What the code itself may not say: no file is run, no script makes markup of text, each download is held to a sum."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from vlm_sae_lib import paths

ROOT = paths.root()
CODE = sorted([*(ROOT / "vlm_sae_lib").rglob("*.py"), *(ROOT / "book" / "_ext").glob("*.py"),
               *(ROOT / "benchmarks").rglob("*.py")])  # fmt: skip
SCRIPTS = sorted(path for folder in ("vlm_sae_lib", "book") for path in (ROOT / folder).rglob("*.*js")
                 if "vendor_root" not in path.parts)  # fmt: skip
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
            or (last == "from_pretrained" and ".Auto" in f".{name}" and not says("trust_remote_code", False))
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
        "AutoModel.from_pretrained(a)", "transformers.AutoConfig.from_pretrained(a, revision=b)",
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
