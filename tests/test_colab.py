"""A notebook opened alone on a simulated Colab: it fetches its library, adds what is missing, replaces nothing."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import colab, notebooks, paths
from vlm_sae_lib.colab import Repository
from vlm_sae_lib.errors import UserError

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


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A simulated Colab: its own Python with a stub of torch, ``google.colab``, and a public repository."""
    root = tmp_path_factory.mktemp("colab")
    venv.create(root / "python", with_pip=True)
    python = root / "python" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", where], capture_output=True)
    site = Path(found.stdout.decode().strip())
    for name, version in (("torch", "9.9.9+cu999"), ("ipywidgets", "7.7.1"), ("yaml", "6.0"), ("nbformat", "5.10")):
        (site / f"{name}-{version}.dist-info").mkdir()
        (site / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("class NotebookNode: pass\n")
    (site / "nbformat" / "v4.py").write_text("new_code_cell = new_markdown_cell = None\n")
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").write_text("")
    public = root / "public"
    package = public / "vlm_sae_lib"
    package.mkdir(parents=True)
    for name in ("__init__.py", "colab.py", "paths.py", "errors.py"):
        (package / name).write_bytes((paths.PACKAGE / name).read_bytes())
    (public / "notebooks").mkdir()
    (public / "notebooks" / "01_toy.ipynb").write_text("{}")
    (public / "_config.yml").write_text("")
    (public / colab.REQUIREMENTS).write_text("torch>=2.4\nipywidgets>=7.7\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "public"]):
        subprocess.run([*git, *command], cwd=public, check=True)
    return python, public, site


def opened(machine, folder: Path, after: str = "pass"):
    """What a kernel that is Colab's prints after the first cell ran in an empty folder."""
    python, public, _ = machine
    cell = colab.SETUP.format(url="https://nowhere.invalid/x", branch="main")
    told = "import json, os; print(json.dumps([os.getcwd(), sys.path[0]]))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VLM_SAE"))}
    environment["COMPANION_REPO_URL"] = public.as_uri()
    code = f"import google.colab\n{cell}\n{after}\n{told}"
    return subprocess.run([python, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_on_colab_the_first_cell_fetches_the_library_and_can_be_run_twice(machine, tmp_path):
    for _ in range(2):
        done = opened(machine, tmp_path, "import vlm_sae_lib.paths; assert 'companion' in vlm_sae_lib.paths.__file__")
        assert done.returncode == 0, done.stderr
        cwd, first = json.loads(done.stdout.splitlines()[-1])
        assert Path(cwd) == tmp_path / "companion" / "notebooks" and Path(first) == tmp_path / "companion"


def test_what_colab_has_is_never_replaced(machine, tmp_path):
    python, public, site = machine
    shutil.copytree(public, tmp_path / "fork")
    (tmp_path / "fork" / colab.REQUIREMENTS).write_text("torch==2.4.0\n")
    done = subprocess.run([python, "-m", "vlm_sae_lib.colab"], cwd=tmp_path / "fork", capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: What requirements-colab.txt asks for cannot be added")
    assert (site / "torch-9.9.9+cu999.dist-info").is_dir()


def test_colab_is_asked_only_for_lower_bounds_and_never_for_torch():
    lines = [line for line in (paths.root() / colab.REQUIREMENTS).read_text().splitlines() if line and line[0] != "#"]
    assert lines and all(">=" in line and "==" not in line for line in lines)
    assert not [line for line in lines if line.startswith("torch")]
    ours = (paths.root() / "requirements.txt").read_text().splitlines()
    only_there = {line for line in lines if line.startswith("bitsandbytes")}  # 4 bits need a GPU, which Colab lends
    assert set(lines) - only_there <= set(ours), "the two lists of requirements have drifted apart"


def test_the_head_is_a_valid_notebook(tmp_path):
    notebook = colab.headed(toy_notebook("01_toy"), "01_toy", HERE)
    nbformat.validate(notebook)
    assert len(notebook.cells[2].source.splitlines()) <= 15
