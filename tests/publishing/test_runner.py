"""The runner, on a checkout in miniature: order, scratch and publication, failure, skipping, parameters."""

import json
import shutil

import pytest
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.publishing import notebooks, runner
from vlm_sae_lib.publishing.runner import NotebookFailed, Run, run
from vlm_sae_lib.side_by_side import side_by_side

THIS_LIBRARY = "as it is"  # so that these tests pass also while somebody edits the library


def make_checkout(root):
    """Two notebooks: 01_first draws a plot, 02_second has a parameter of its own."""
    first = toy_notebook("01_first", "print('seed', seed)", "import matplotlib.pyplot as plt\nplt.plot([1, 2, seed]);")
    second = toy_notebook("02_second", "print(steps * 2)", parameters='profile = "pocket"\nseed = 1\nsteps = 10')
    return write_checkout(root, {"01_first": first, "02_second": second})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout that was never run."""
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    return make_checkout(tmp_path)


@pytest.fixture(scope="module")
def once_run(tmp_path_factory):
    """A checkout after its first run, and what the runner said. Not to be changed: ``run_checkout`` is a copy."""
    root = make_checkout(tmp_path_factory.mktemp("once"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLM_SAE_ROOT", str(root))
        patch.delenv("VLM_SAE_RUNS", raising=False)
        patch.setattr(runner, "library_hash", lambda: THIS_LIBRARY)
        return root, said_by(Run())


@pytest.fixture
def run_checkout(once_run, tmp_path, monkeypatch):
    shutil.copytree(once_run[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    monkeypatch.setattr(runner, "library_hash", lambda: THIS_LIBRARY)
    return tmp_path


def said_by(plan: Run) -> list[str]:
    lines: list[str] = []
    run(plan, lines.append)
    return lines


def break_second(checkout) -> None:
    path = checkout / "notebooks" / "02_second.ipynb"
    path.write_text(path.read_text().replace("steps * 2", "steps / 0"))


def published(checkout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((checkout / "notebooks").iterdir())}


def test_all_notebooks_run_in_order_and_are_published_with_their_results(once_run, run_checkout):
    root, lines = once_run
    assert [line.split()[0] for line in lines] == ["01_first", "01_first", "02_second", "02_second", "2"]
    assert lines[1].endswith(" s") and str(root / "runs" / "pocket" / "notebooks") in lines[-1]
    for name in ("01_first", "02_second"):
        notebook = notebooks.read(run_checkout / "notebooks" / f"{name}.ipynb")
        assert notebooks.problems(notebook) == []
        assert json.loads((paths.published_results() / f"{name}.json").read_text())["profile"] == "pocket"


def test_two_runs_leave_the_same_bytes(run_checkout):
    before = published(run_checkout)
    said_by(Run(force=True, only=("01",)))
    assert published(run_checkout) == before


def test_side_by_side_they_leave_the_same_bytes(run_checkout, monkeypatch):
    before, told = published(run_checkout), []
    monkeypatch.setattr(runner, "LONGEST", ("02_second",))
    run(Run(force=True), told.append, side_by_side(2))
    assert published(run_checkout) == before
    assert [line.split()[0] for line in told[:2]] == ["02_second", "01_first"] and "2 notebooks in" in told[-1]


def test_it_is_kept_what_a_notebook_took_and_what_it_computed_itself(run_checkout):
    found = [read_json(path) for path in (paths.runs("pocket") / "notebooks").glob("*.made.json")]
    assert len(found) == 2 and all(min(made["processor_seconds"], made["seconds"]) > 0 for made in found)


def test_side_by_side_a_failure_is_told_as_it_is_in_turn(run_checkout, capsys):
    before = published(run_checkout)
    break_second(run_checkout)
    broken = published(run_checkout)
    with pytest.raises(NotebookFailed, match="ZeroDivisionError"):
        run(Run(only=("02",)), print, side_by_side(2))
    assert published(run_checkout) == broken != before


def test_the_longest_are_notebooks():
    assert set(runner.LONGEST) <= {path.stem for path in (paths.PACKAGE.parent / "notebooks").glob("*.ipynb")}


def test_a_second_call_skips_what_was_made_from_the_same_inputs(run_checkout):
    lines = said_by(Run())
    assert len(lines) == 3 and all("up to date" in line for line in lines[:-1])


def test_a_second_call_publishes_again_what_was_put_back(run_checkout):
    path = run_checkout / "notebooks" / "01_first.ipynb"
    before = path.read_bytes()
    notebooks.write(path, notebooks.stripped(notebooks.read(path)))
    assert "up to date" in said_by(Run())[0]
    assert path.read_bytes() == before


def test_changed_prose_is_published_without_running_again(run_checkout):
    path = run_checkout / "notebooks" / "01_first.ipynb"
    path.write_text(path.read_text().replace("Prose.", "Better prose."))
    assert "up to date" in said_by(Run())[0]
    notebook = notebooks.read(path)
    assert "Better prose." in [cell.source for cell in notebook.cells]
    assert notebooks.problems(notebook) == []


def test_code_that_changed_while_it_ran_is_not_published(run_checkout):
    path = run_checkout / "notebooks" / "01_first.ipynb"
    path.write_text(path.read_text().replace("'seed', seed", "seed"))
    before = published(run_checkout)
    with pytest.raises(NotebookFailed, match="01_first: its code has changed"):
        runner.publish(["01_first", "02_second"])
    assert published(run_checkout) == before


def test_changed_inputs_and_lost_outputs_are_no_same_run(run_checkout, monkeypatch):
    source = notebooks.read(run_checkout / "notebooks" / "02_second.ipynb")

    def same(plan=None, source=source):
        return runner._seconds_of_same_run(plan or Run(), "02_second", source) is not None

    assert same()
    assert not same(Run(overrides={"steps": 7}))
    changed = notebooks.read(run_checkout / "notebooks" / "02_second.ipynb")
    notebooks.code_cells(changed)[1].source += "  # other"
    assert not same(source=changed)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "library_hash", lambda: "another library")
        assert not same()
    for lost in (paths.results("pocket") / "02_second.json", paths.runs("pocket") / "notebooks" / "02_second.ipynb"):
        aside = lost.rename(run_checkout / "aside")
        assert not same()
        aside.rename(lost)
    assert same()


def test_a_failure_stops_with_its_traceback_and_publishes_nothing(run_checkout):
    break_second(run_checkout)
    before = published(run_checkout)
    with pytest.raises(NotebookFailed, match="ZeroDivisionError") as failure:
        said_by(Run())
    assert "steps / 0" in str(failure.value) and "02_second failed after" in str(failure.value)
    assert published(run_checkout) == before


def test_a_failure_in_the_first_stops_before_the_second(checkout):
    path = checkout / "notebooks" / "01_first.ipynb"
    path.write_text(path.read_text().replace("'seed', seed", "seed / 0"))
    lines: list[str] = []
    with pytest.raises(NotebookFailed):
        run(Run(), lines.append)
    assert not any("02_second" in line for line in lines)


def test_a_notebook_that_writes_no_results_is_not_published(checkout):
    path = checkout / "notebooks" / "02_second.ipynb"
    path.write_text(path.read_text().replace("write_json(paths", "print(paths"))
    before = published(checkout)
    with pytest.raises(NotebookFailed, match="02_second: it wrote no"):
        said_by(Run())
    assert published(checkout) == before


def test_another_profile_or_value_is_passed_and_not_published(checkout):
    before = published(checkout)
    said_by(Run(profile="colab", overrides={"steps": 7}, only=("02",)))
    executed = notebooks.read(paths.runs("colab") / "notebooks" / "02_second.ipynb")
    assert any("14\n" in output.get("text", "") for cell in notebooks.code_cells(executed) for output in cell.outputs)
    assert json.loads((paths.results("colab") / "02_second.json").read_text())["profile"] == "colab"
    assert published(checkout) == before and not paths.published_results().exists()


def test_a_published_run_passes_no_parameter_and_drops_an_injected_cell(checkout):
    source = notebooks.read(checkout / "notebooks" / "02_second.ipynb")
    assert Run().parameters(source) == {}
    injected = source.cells[1].copy()
    injected.source, injected.metadata = "seed = 99", {"tags": ["injected-parameters"]}
    source.cells.insert(2, injected)
    notebooks.write(checkout / "notebooks" / "02_second.ipynb", source)
    said_by(Run(only=("02",)))
    assert json.loads((paths.results("pocket") / "02_second.json").read_text())["seed"] == 1


def test_an_override_goes_only_where_it_is_known(checkout):
    plan = Run(overrides={"steps": 7})
    first, second = (notebooks.read(path) for path in runner.choose(plan))
    assert plan.parameters(first) == {"profile": "pocket"}
    assert plan.parameters(second) == {"profile": "pocket", "steps": 7}


def test_mistakes_are_told_with_what_would_do(checkout):
    with pytest.raises(UserError, match="'step'.*seed, steps"):
        said_by(Run(overrides={"step": 7}))
    with pytest.raises(UserError, match="'07'.*01_first, 02_second"):
        said_by(Run(only=("07",)))
    with pytest.raises(UserError, match="--profile"):
        said_by(Run(overrides={"profile": "colab"}))
    (checkout / "notebooks" / "01_first.ipynb").write_text("{")
    with pytest.raises(UserError, match="01_first.ipynb is not a Jupyter notebook"):
        said_by(Run())


def test_a_folder_without_notebooks_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="no notebook"):
        said_by(Run())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"seed": "abc"}, "seed='abc' must be a whole number"),
        ({"seed": True}, "seed=True must be a whole number"),
        ({"seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"seed": 2**63}, "below 2"),
        ({"changes": "k=3"}, "changes='k=3' must be a mapping"),
        ({"changes": {3: 4}}, "changes={3: 4} must be a mapping"),
        ({"changes": {"kk": 4}}, "no setting 'kk'"),
        ({"changes": {"steps": "many"}}, "steps='many' must be a whole number"),
        ({"changes": {"steering": {"test": 0}}}, "test=0"),
        ({"changes": {"seed": 4}}, "--set seed=…"),
        ({"changes": {"name": "mine"}}, "--profile"),
    ],
)
def test_values_are_checked_before_a_notebook_starts(checkout, monkeypatch, overrides, message):
    path = checkout / "notebooks" / "01_first.ipynb"
    path.write_text(path.read_text().replace("seed = 3", "seed = 3\\nchanges = {}\\nhalf = 1 / 2"))
    monkeypatch.setattr(runner, "_execute", lambda *_: pytest.fail("a notebook was started"))
    with pytest.raises(UserError, match=message):
        run(Run(overrides=overrides), print)


def test_a_value_that_fits_is_handed_on(checkout, monkeypatch):
    path = checkout / "notebooks" / "01_first.ipynb"
    path.write_text(path.read_text().replace("seed = 3", "seed = 3\\nchanges = {}\\nhalf = 1 / 2"))
    overrides = {"seed": 4, "changes": {"steps": 60, "hook_points": ["block_4"]}, "half": 0.25}
    given = []
    asked = lambda plan, name: given.append(plan.parameters(runner._source(name))) or 0.0  # noqa: E731
    monkeypatch.setattr(runner, "_execute", asked)
    run(Run(overrides=overrides, only=("01",)), print)
    assert given == [{"profile": "pocket", **overrides}]


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "before")
    with runner._kernel_environment():
        assert runner.os.environ["TQDM_DISABLE"] == "1"
        assert runner.os.environ["PYTHONPATH"].startswith(str(paths.PACKAGE.parent))
    assert runner.os.environ["TQDM_DISABLE"] == "before"


def test_a_run_that_broke_off_goes_on_in_another_checkout_behind_the_last_notebook_that_passed(run_checkout, tmp_path):
    """As where what a run has made is kept and laid into the next one's checkout."""
    break_second(run_checkout)
    with pytest.raises(NotebookFailed):
        said_by(Run(force=True))
    elsewhere = shutil.copytree(run_checkout, tmp_path / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLM_SAE_ROOT", str(elsewhere))
        mended = elsewhere / "notebooks" / "02_second.ipynb"
        mended.write_text(mended.read_text().replace("steps / 0", "steps * 2"))
        lines = said_by(Run())
    assert "up to date" in lines[0] and "01_first" in lines[0] and "02_second" in lines[1] and "running" in lines[1]
