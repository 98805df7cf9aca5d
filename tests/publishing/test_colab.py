"""A notebook opened alone on a simulated Colab: it fetches its library, adds what is missing, replaces nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import colab_image
import nbformat
import pytest
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing import colab, notebooks
from vlm_sae_lib.publishing.colab import Repository

NAMES = sorted(path.stem for path in paths.notebooks().glob("*.ipynb"))
HERE = Repository("https://github.com/somebody/a-book", "main")


@pytest.mark.parametrize("name", NAMES)
def test_a_published_notebook_carries_the_badge_and_first_cell_of_the_one_address(name):
    notebook = notebooks.read(paths.notebooks() / f"{name}.ipynb")
    again = colab.headed(notebooks.read(paths.notebooks() / f"{name}.ipynb"), name, Repository.read())
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in again.cells]
    assert notebooks.code_cells(notebook)[0].metadata["tags"] == ["colab", "hide-input"]


def test_another_address_changes_the_head_and_no_result(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_ROOT", str(write_checkout(tmp_path, {})))
    assert Repository.read() == HERE
    first = colab.headed(toy_notebook("01_toy"), "01_toy", HERE)
    assert "github/somebody/a-book/blob/main/notebooks/01_toy.ipynb" in first.cells[1].source
    fork = colab.headed(first, "01_toy", Repository("https://github.com/else/fork", "trunk"))
    assert len(fork.cells) == len(first.cells) and "else/fork" in fork.cells[1].source
    assert notebooks.source_hash(fork) == notebooks.source_hash(toy_notebook("01_toy"))
    (tmp_path / "_config.yml").write_text("title: no address\n")
    with pytest.raises(UserError, match="names no repository"):
        Repository.read()


def test_away_from_colab_the_first_cell_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    exec(compile(colab.SETUP.format(url="file:///nowhere", branch="main"), "setup", "exec"), {})
    assert Path.cwd() == tmp_path and sys.path == before and not list(tmp_path.iterdir())


@pytest.fixture(scope="module", params=[None, pytest.param("24.1.2", marks=pytest.mark.long)])
def machine(tmp_path_factory, request):
    """A simulated Colab, with this Python's pip or the image's own, and the public repository."""
    root = tmp_path_factory.mktemp("colab")
    try:
        image = colab_image.build(root, request.param)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"there is no pip {request.param} to be had: {error.output}")
    public = root / "public"
    package = public / "vlm_sae_lib"
    (package / "publishing").mkdir(parents=True)
    needed = ("__init__.py", "colab.py", "installing.py")
    for name in ("__init__.py", "paths.py", "errors.py", *(f"publishing/{name}" for name in needed)):
        shutil.copy(paths.PACKAGE / name, package / name)
    (public / "notebooks").mkdir()
    (public / "notebooks" / "01_toy.ipynb").write_text("{}")
    shutil.copy(paths.root() / colab.REQUIREMENTS, public)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "public"]):
        subprocess.run([*git, *command], cwd=public, check=True)
    return image, public


def opened(machine, folder: Path, after: str = "pass"):
    """What a kernel that is Colab's prints after the first cell ran in an empty folder."""
    image, public = machine
    cell = colab.SETUP.format(url="https://nowhere.invalid/x", branch="main")
    told = "import json, os; print(json.dumps([os.getcwd(), sys.path[0]]))"
    environment = image.environment() | {"COMPANION_REPO_URL": public.as_uri()}
    code = f"import google.colab\n{cell}\n{after}\n{told}"
    return subprocess.run([image.python, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def asked(machine, folder: Path, requirements: str, **environment: str):
    """The module that the first cell starts, in a copy of the repository that asks for something else."""
    image, public = machine
    shutil.copytree(public, folder / "fork")
    (folder / "fork" / colab.REQUIREMENTS).write_text(requirements)
    command = [image.python, "-m", "vlm_sae_lib.publishing.colab"]
    environment = image.environment() | environment
    return subprocess.run(command, cwd=folder / "fork", env=environment, capture_output=True, text=True)


def test_on_colabs_image_the_first_cell_adds_what_it_lacks_and_replaces_nothing(machine, tmp_path):
    """Though pyparsing, six, zipp and MarkupSafe lie there twice, and the index has newer ones. It can be run twice."""
    image, _ = machine
    before = image.folders()
    for _ in range(2):
        done = opened(machine, tmp_path, "import vlm_sae_lib.paths; assert 'companion' in vlm_sae_lib.paths.__file__")
        assert done.returncode == 0, done.stderr
        cwd, first = json.loads(done.stdout.splitlines()[-1])
        assert Path(cwd) == tmp_path / "companion" / "notebooks" and Path(first) == tmp_path / "companion"
        after = image.folders()
        assert before <= after
        added = {name.partition("-")[0] for name in after - before}
        assert added == {"bitsandbytes", "ftfy", "jaxtyping", "open_clip_torch", "wadler_lindig"}


@pytest.mark.parametrize(
    ("asked_for", "reasons"),
    [
        ("ipywidgets>=8.1", ["ipywidgets>=8.1", "ipywidgets 7.7.1"]),
        ("torch==2.4.0\nzipp>=1\nsix>=1.17.1", ["torch==2.4.0", "torch 2.11.0+cu128", "six>=1.17.1", "six 1.17.0"]),
        ("needs-a-newer-torch", ["torch>=2.12", "torch==2.11.0+cu128"]),
        ("nobody-has-it>=3", ["No matching distribution found for nobody-has-it>=3"]),
        ("jaxtyping>=0.2.30\n???", ["'???'"]),
    ],
)
def test_what_cannot_be_added_is_one_sentence_with_the_reason(machine, tmp_path, asked_for, reasons):
    image, _ = machine
    colab_image.fill_index(image.index, {"needs-a-newer-torch": ("1.0", ["torch>=2.12"])})
    before = image.folders()
    done = asked(machine, tmp_path, asked_for)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and colab.REQUIREMENTS in done.stderr
    assert all(reason in done.stderr for reason in reasons), done.stderr
    assert image.folders() == before


def test_where_something_cannot_be_added_the_first_cell_stops_behind_that_sentence(machine, tmp_path):
    opened(machine, tmp_path)
    (tmp_path / "companion" / colab.REQUIREMENTS).write_text("nobody-has-it>=3\n")
    done = opened(machine, tmp_path)
    first, last = done.stderr.strip().splitlines()
    assert done.returncode == 1 and "nobody-has-it>=3" in first and last.endswith("the reason stands above.")
    assert not done.stdout  # what follows did not run


def test_an_index_that_is_not_reached_is_the_reason(machine, tmp_path):
    nowhere = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    done = asked(machine, tmp_path, "nobody-has-it", **nowhere)
    assert done.returncode == 2 and "no package index was reached" in done.stderr and "refused" in done.stderr


def test_the_head_is_a_valid_notebook(tmp_path):
    notebook = colab.headed(toy_notebook("01_toy"), "01_toy", HERE)
    nbformat.validate(notebook)
    assert len(notebook.cells[2].source.splitlines()) <= 15
