"""What else lies in a folder of pictures: strange names, links, pipes, closed folders. None stops what reads it."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from crashes import forked
from picture_corpus import PICTURE
from picture_folders import no_files, strange_names
from PIL import Image
from raw_pictures import encoded

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures

NOBODY, NOT_POSSIBLE = 65534, 77


def ended(work, seconds: float) -> int | None:
    """The exit code of a work in a fork, or None where it had to be killed: what hangs in a thread nobody can stop."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(forked(work))
    os.close(reader), os.close(writer)
    deadline = time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(done[1])


def test_what_is_no_file_is_reported_and_stops_nothing(tmp_path, tried):
    expected = no_files(tmp_path)
    PICTURE.save(tmp_path / "fine.png")
    (tmp_path / "folder.jpg").mkdir()
    PICTURE.save(tmp_path / "folder.jpg" / "inside.png")
    (tmp_path / "empty.jpg").mkdir()
    (tmp_path / "around").symlink_to(tmp_path)

    def work() -> None:
        source = load_pictures(f"folder:{tmp_path}")
        assert [source.names[i] for i, _ in source] == ["fine.png", "folder.jpg/inside.png"]
        assert {name: reason for _, name, reason in source.unreadable} == expected
        assert source.fingerprint
        one_by_one = {**expected, "empty.jpg": "a folder, not a picture"}
        listed = load_pictures([tmp_path / name for name in one_by_one])
        assert list(listed) == [] and listed.fingerprint
        assert {name: reason for _, name, reason in listed.unreadable} == one_by_one

    assert ended(work, 120) == 0
    tried("pictures", len(expected) + 3)


def test_any_name_is_one_line(tmp_path, tried):
    names = strange_names(tmp_path, encoded(PICTURE, "PNG"))
    source = load_pictures(tmp_path)
    assert set(source.names) == names and len(source) == len(list(source)) == len(names)
    assert all(len(name.splitlines()) == 1 and name.encode() for name in names)
    tried("pictures", len(names))


@pytest.fixture
def deep_folder():
    """Not pytest's own, which is removed by a recursion."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    subprocess.run(["rm", "-r", folder], check=True)


def test_folders_in_folders_without_end(deep_folder):
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(deep_folder)
        PICTURE.save("fine.png")
        for _ in range(1100):  # deeper than Python recurses
            os.mkdir("d")
            os.chdir("d")
        Path("deep.txt").write_text("text")
    finally:
        os.fchdir(here)
        os.close(here)
    source = load_pictures(deep_folder)
    assert [source.names[i] for i, _ in source] == ["fine.png"]
    assert [reason for _, _, reason in source.unreadable] == ["not a picture"]


def test_what_may_not_be_read_is_reported(tried):
    Image.init()  # the other user may not read Python's own files
    folder = Path(tempfile.mkdtemp())  # pytest's own is closed to others
    folder.chmod(0o755)
    for name in ("open", "closed", "listed"):
        (folder / name).mkdir()
        PICTURE.save(folder / name / "one.png")
    PICTURE.save(folder / "closed.png")
    (folder / "linked.png").symlink_to(folder / "closed" / "one.png")
    load_pictures(folder).fingerprint  # noqa: B018  # whatever it imports
    list(load_pictures(folder))
    for name, mode in (("closed.png", 0), ("closed", 0), ("listed", 0o744)):
        (folder / name).chmod(mode)

    def work() -> None:
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        if not os.access(folder, os.R_OK, effective_ids=True):
            os._exit(NOT_POSSIBLE)
        source = load_pictures(f"folder:{folder}")
        assert [source.names[i] for i, _ in source] == ["open/one.png"]
        names = ("closed", "closed.png", "linked.png", "listed/one.png")
        assert [(name, reason) for _, name, reason in source.unreadable] == [
            (name, "no permission to read it") for name in names]  # fmt: skip
        assert source.fingerprint
        with pytest.raises(Exception, match="cannot be read .Permission denied.: name one that you may read"):
            load_pictures(f"folder:{folder / 'closed'}")
        with pytest.raises(UserError, match="neither a folder nor a source"):
            load_pictures(f"folder:{folder / 'closed' / 'inner'}")

    try:
        if (code := forked(work)) == NOT_POSSIBLE:
            pytest.skip("another user cannot reach temporary folders here")
        assert code == 0
    finally:
        for name in ("closed", "listed"):
            (folder / name).chmod(0o755)
        shutil.rmtree(folder)
    tried("pictures", 5)
