"""Temporary files: those of a killed process go with the next write into their place, those at work stay."""

import os

import pytest
from crashes import CRASHED, content, crashed_at, forked, steps_of

from vlm_sae_lib.files import UNFINISHED, unfinished, whole_folder, write_bytes


def one_file(folder):
    write_bytes(folder / "one", b"new" * 100)


def whole(folder):
    with whole_folder(folder / "some") as made:
        write_bytes(made / "a", b"a")
        write_bytes(made / "b", b"b")


@pytest.mark.parametrize("work", [one_file, whole])
def test_what_a_killed_process_leaves_goes_with_the_next_write(work, tmp_path):
    (tmp_path / "undisturbed").mkdir()
    assert forked(lambda: work(tmp_path / "undisturbed")) == 0
    (tmp_path / "counted").mkdir()
    left = 0
    for step in range(steps_of(lambda: work(tmp_path / "counted"), tmp_path)):
        (folder := tmp_path / f"step{step}").mkdir()
        assert crashed_at(step, lambda folder=folder: work(folder), folder) == CRASHED
        left += any(path.name.endswith(UNFINISHED) for path in folder.rglob("*"))
        if (folder / "one").exists():
            assert (folder / "one").read_bytes() == b"new" * 100, "half a file under its final name"
        assert forked(lambda folder=folder: work(folder)) == 0
        assert content(folder) == content(tmp_path / "undisturbed"), step
    assert left, "no crash left anything: this test tests nothing"


def test_what_another_process_is_writing_stays(tmp_path):
    with unfinished(tmp_path / "theirs") as theirs:
        theirs.write_bytes(b"half")
        assert forked(lambda: write_bytes(tmp_path / "ours", b"whole")) == 0
        assert theirs.read_bytes() == b"half"
        os.replace(theirs, tmp_path / "theirs")
    assert content(tmp_path).keys() == {"ours", "theirs"}


def test_files_that_are_not_ours_stay(tmp_path):
    for name in (".hidden", f"some{UNFINISHED}", ".one.abc"):
        (tmp_path / name).write_text("somebody's")
    (tmp_path / f".link{UNFINISHED}").symlink_to(tmp_path / ".hidden")
    assert forked(lambda: write_bytes(tmp_path / "one", b"1")) == 0
    assert content(tmp_path).keys() == {".hidden", f"some{UNFINISHED}", ".one.abc", f".link{UNFINISHED}", "one"}
