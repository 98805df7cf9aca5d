"""The GitHub workflows: what actionlint says of them, and that what they run is there and they may do little."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib import paths
from vlm_sae_lib.profiles import PROFILES

FOLDER = paths.root() / ".github" / "workflows"
NAMES = ("pages", "tests", "weekly")
MAY_WRITE = {("pages", "publish"): {"pages": "write", "id-token": "write"}}
SHELL = {"sudo", "git", "echo"}
"""What a step may call beside make, the command line and scripts of the repository."""

each_workflow = pytest.mark.parametrize("name", NAMES)


def workflow(name: str) -> dict:
    return yaml.load((FOLDER / f"{name}.yml").read_text(), yaml.BaseLoader)  # else `on` would be read as true


def jobs(name: str) -> list[tuple[str, dict]]:
    return list(workflow(name)["jobs"].items())


def lines_run(job: dict) -> list[str]:
    """The lines of a job's `run:` steps, once for each value that its matrix puts into them."""
    matrix = job.get("strategy", {}).get("matrix", {})
    found = []
    for values in itertools.product(*matrix.values()):
        for step in job["steps"]:
            text = step.get("run", "")
            for key, value in zip(matrix, values, strict=True):
                text = text.replace(f"${{{{ matrix.{key} }}}}", value)
            found += text.splitlines()
    return list(dict.fromkeys(found))


def make_targets() -> set[str]:
    return set(re.findall(r"^\.PHONY: (.*)$", (paths.root() / "Makefile").read_text(), re.M)[0].split())


def fault(line: str) -> str | None:
    """Why a line cannot be run in a checkout, or None."""
    command, *arguments = shlex.split(line)
    if command == "make":
        return None if arguments and set(arguments) <= make_targets() else f"make has no target {arguments}"
    if Path(command).name == "python":
        if arguments[:2] != ["-m", "vlm_sae_lib"]:
            return f"{arguments} is not the command line"
        try:
            cli.make_parser().parse_args(arguments[2:])
        except SystemExit:
            return f"{arguments[2:]} is no call of the command line"
        return None
    if command in SHELL or os.access(paths.root() / command, os.X_OK):
        return None
    return f"there is no {command}"


def actionlint(*files: Path) -> subprocess.CompletedProcess:
    """Run it without the linters of shell and Python that it would call where they happen to be installed.

    It knows what an action takes by the action's major version, not by its commit: it is shown the version beside it.
    """
    beside = Path(sys.executable).parent / "actionlint"
    program = str(beside) if beside.exists() else shutil.which("actionlint")
    assert program, "actionlint is missing: it comes with requirements.txt, so run make setup"
    with tempfile.TemporaryDirectory() as folder:
        shown = [Path(folder) / file.name for file in files]
        for file, copy in zip(files, shown, strict=True):
            copy.write_text(re.sub(r"@[0-9a-f]{40} # (v\d+)\S*", r"@\1", file.read_text()))
        command = [program, "-shellcheck=", "-pyflakes=", "-no-color", *map(str, shown)]
        return subprocess.run(command, capture_output=True, text=True, cwd=paths.root())


def test_there_are_these_workflows_and_no_other():
    assert sorted(path.stem for path in FOLDER.iterdir()) == list(NAMES)


def test_actionlint_finds_nothing():
    done = actionlint(*(FOLDER / f"{name}.yml" for name in NAMES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("steps.deployment.outputs", "steps.missing.outputs"),
        ("needs: [pocket, light]", "needs: [pocket, dark]"),
        ("github.run_id }}-${{ github.run_attempt", "github.run_number_of_it }}-${{ github.run_attempt"),
        ("          path: _build/html\n      # This", "          folder: _build/html\n      # This"),
        ("runs-on: ubuntu-latest", "runs-on:"),
    ],
)
def test_actionlint_sees_what_is_wrong(tmp_path, right, wrong):
    text = (FOLDER / "pages.yml").read_text()
    assert right in text
    (tmp_path / "pages.yml").write_text(text.replace(right, wrong, 1))
    assert actionlint(tmp_path / "pages.yml").returncode == 1


@each_workflow
def test_every_line_that_is_run_is_there_to_be_run(name):
    lines = [line for _, job in jobs(name) for line in lines_run(job)]
    assert lines
    assert [found for line in lines if (found := fault(line))] == []


@pytest.mark.parametrize(
    "line", ["make nonsense", "make", "python -m vlm_sae_lib nonsense", "python -m pip", ".ci/nonsense", "curl x"]
)
def test_a_line_that_cannot_be_run_is_seen(line, capsys):
    assert fault(line)


@each_workflow
def test_a_job_may_read_and_only_the_one_that_publishes_may_write(name):
    assert workflow(name)["permissions"] == {"contents": "read"}
    for job, body in jobs(name):
        granted = body.get("permissions", {"contents": "read"})
        assert granted == {"contents": "read"} | MAY_WRITE.get((name, job), {}), job
    assert "secrets." not in (FOLDER / f"{name}.yml").read_text()


@each_workflow
def test_actions_are_pinned_by_their_commit_with_the_version_beside_it(name):
    """A tag can be moved, a commit cannot; one action has one commit in all workflows."""
    used = [step["uses"] for _, job in jobs(name) for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", action) for action in used), used
    lines = re.findall(r"uses: (\S+)(.*)", (FOLDER / f"{name}.yml").read_text())
    assert [action for action, _ in lines] == used
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", version) for _, version in lines), lines
    texts = [path.read_text() for path in FOLDER.glob("*.yml")]
    everywhere = {action for text in texts for action in re.findall(r"uses: (\S+ # \S+)", text)}
    assert len(everywhere) == len({action.partition("@")[0] for action in everywhere})


@each_workflow
def test_every_job_ends_and_no_two_runs_meet(name):
    assert workflow(name)["concurrency"]["group"]
    assert all(int(job["timeout-minutes"]) <= 120 for _, job in jobs(name))


def test_tests_run_on_every_python_that_the_package_allows():
    job = workflow("tests")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert 'requires-python = ">=3.11"' in (paths.root() / "pyproject.toml").read_text()


def caches(job: dict) -> dict[str, dict[str, tuple[int, dict]]]:
    """A job's steps that restore and save caches, by what is kept (a key's first word), each with its place."""
    found: dict[str, dict[str, tuple[int, dict]]] = {}
    for place, step in enumerate(job["steps"]):
        if step.get("uses", "").startswith("actions/cache"):
            key = step["with"]["key"]
            if named := re.match(r"\${{ steps\.(\w+)\.outputs\.cache-primary-key }}", key):
                key = next(other for other in job["steps"] if other.get("id") == named[1])["with"]["key"]
            found.setdefault(key.partition("-")[0], {})[step["uses"].partition("@")[0].rpartition("/")[2]] = place, step
    return found


def test_what_a_light_run_leaves_is_kept_also_when_it_fails():
    """A cache is found only under the very paths that it was saved with, and is never written twice under one name."""
    job = workflow("pages")["jobs"]["light"]
    run = next(place for place, step in enumerate(job["steps"]) if step.get("run") == "make light")
    kept = {what: steps for what, steps in caches(job).items() if what != "edition"}
    for what, steps in kept.items():
        assert set(steps) == {"restore", "save"}, f"{what}: one step for both saves only where all has passed"
        (before, restore), (after, save) = steps["restore"], steps["save"]
        assert before < run < after
        assert save["if"].startswith("${{ !cancelled() && steps."), what
        assert restore["with"]["path"] == save["with"]["path"], what
        prefix, whole = restore["with"]["restore-keys"], save["with"]["key"]
        if whole == f"${{{{ steps.{restore['id']}.outputs.cache-primary-key }}}}":
            whole = restore["with"]["key"]
            assert whole.removeprefix(prefix) == "${{ github.run_id }}-${{ github.run_attempt }}"
        else:  # the key is what lies there
            assert whole.startswith(f"${{{{ steps.{restore['id']}.outputs.cache-primary-key }}}}${{{{ steps.")
            assert restore["with"]["key"] == prefix
        assert "env.PROFILE" in prefix
    everything = "\n".join(steps["save"][1]["with"]["path"] for steps in kept.values()).split("\n")
    assert {"~/.cache/huggingface/hub", "runs/pictures", "runs/${{ env.PROFILE }}"} == set(filter(None, everything))


def test_a_light_run_out_of_time_leaves_its_job_time_to_keep_what_it_made():
    job = workflow("pages")["jobs"]["light"]
    own = next(int(step["timeout-minutes"]) for step in job["steps"] if step.get("run") == "make light")
    assert own + 15 <= int(job["timeout-minutes"]), "a job that is out of time is cancelled, and saves nothing"


def test_artefacts_made_by_other_code_are_not_taken_up():
    """Their names tell of weights, pictures and settings, and not of the code that reads and collects them."""
    key = caches(workflow("pages")["jobs"]["light"])["run"]["restore"][1]["with"]["restore-keys"]
    patterns = re.findall(r"'([^']*)'", key)
    covered = {path.relative_to(paths.root()).parts[1] for pattern in patterns for path in paths.root().glob(pattern)}
    assert covered == {"profiles", "pictures", "hooks.py", "vlms", "towers", "activations", "sae"}


def test_an_edition_is_published_again_only_under_the_rule_it_was_made_under(monkeypatch):
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    body = workflow("pages")
    profile = body["env"]["PROFILE"]
    assert profile in PROFILES and f"--edition {profile}" in (paths.root() / "Makefile").read_text()
    saved = caches(body["jobs"]["light"])["edition"]["save"][1]
    restored = caches(body["jobs"]["publish"])["edition"]["restore"][1]
    assert "if" not in saved, "one that was not built whole is not kept"
    assert saved["with"]["path"] == restored["with"]["path"] == f"_build/html/{profile}"
    assert saved["with"]["key"] == restored["with"]["key"]
    prefix = restored["with"]["restore-keys"]
    assert saved["with"]["key"].removeprefix(prefix) == "${{ github.run_id }}-${{ github.run_attempt }}"
    rule = re.findall(r"'([^']*)'", prefix)
    assert {"vlm_sae_lib/publishing/withholding.py", "vlm_sae_lib/terms.py"} < set(rule)
    assert all((paths.root() / file).is_file() for file in rule)


def test_a_light_run_that_fails_blocks_nothing():
    """The light job may fail; publishing waits for it, but asks only for the pocket edition."""
    found = workflow("pages")["jobs"]
    assert found["light"]["continue-on-error"] == "true"
    assert set(found["publish"]["needs"]) == {"pocket", "light"}
    assert found["publish"]["if"] == "${{ !cancelled() && needs.pocket.result == 'success' }}"
