"""Pictures of every kind that a folder may hold: each is used rightly, or reported by name with its true reason."""

import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from bad_pictures import Wrong, bombs, wrong
from crashes import forked
from picture_corpus import COLOURS, EXACT, GREY, LOSSY, PICTURE, WIDE_GREY, Right, by_vips, grey, right
from PIL import Image
from raw_pictures import encoded
from tiny_towers import toy_pixels
from torchvision import transforms

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.pictures.reading import read
from vlm_sae_lib.terms import KEY

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PIL's own, about metadata
MEGABYTES = 256
NOBODY, NOT_POSSIBLE = 65534, 77


def by_name(files: list) -> dict:
    found = {one.name: one for one in files}
    assert len(found) == len(files)
    return found


@pytest.fixture(scope="module")
def rights() -> dict[str, Right]:
    return by_name(right())


@pytest.fixture(scope="module")
def wrongs() -> dict[str, Wrong]:
    return by_name(wrong())


def fill(folder: Path, files: dict) -> None:
    for name, one in files.items():
        (folder / name).write_bytes(one.data)


def off(found: np.ndarray, expected: np.ndarray, lossy: bool) -> float:
    if found.shape != expected.shape:
        return np.inf
    apart = np.abs(found.astype(int) - expected)
    return apart.mean() if lossy else apart.max()


def test_there_are_hundreds(rights, wrongs):
    assert not rights.keys() & wrongs.keys() and len(rights) + len(wrongs) > 400


def test_what_is_right_is_used_rightly(rights, tmp_path, tried):
    fill(tmp_path, rights)
    source, seen = load_pictures(f"folder:{tmp_path}"), set()
    for image_id, picture in source:
        one = rights[source.names[image_id]]
        seen.add(one.name)
        assert picture.mode == "RGB" and picture.info.keys() <= {KEY}
        assert off(np.asarray(picture), one.truth, one.lossy) <= (LOSSY if one.lossy else EXACT), one.name
    assert source.unreadable == [] and seen == rights.keys()
    tried("pictures", len(rights))


def test_libvips_sees_the_same(rights):
    apart = {}
    for name, one in rights.items():
        if one.seen_by_vips:
            found = np.asarray(read(one.data)[0])
            apart[name] = off(found, by_vips(one.data), lossy=False) - (3 if one.lossy else 1)
    assert len(apart) > 100 and not {name: much for name, much in apart.items() if much > 0}


def test_what_is_wrong_is_reported_by_name_with_its_true_reason(wrongs, tmp_path, tried):
    fill(tmp_path, wrongs)
    source = load_pictures(f"folder:{tmp_path}")
    used = [source.names[image_id] for image_id, _ in source.iterate(transform=toy_pixels)]
    told = {name: reason for _, name, reason in source.unreadable}
    assert used == [] and told.keys() == wrongs.keys()
    assert {name: reason for name, reason in told.items() if not wrongs[name].fits(reason)} == {}
    tried("pictures", len(wrongs))


def test_a_wrong_ending_of_the_name_changes_nothing(rights, tmp_path, tried):
    endings = (".jpg", ".png", ".gif", ".tif", ".webp", ".txt", ".JPEG", "")
    by_content = ("jpeg", "png", "tiff", "gif", "webp")
    kinds = [one for one in rights.values() if one.name.partition("-")[0] in by_content][::9]
    for i, one in enumerate(kinds):
        (tmp_path / f"{one.name}{endings[i % len(endings)]}").write_bytes(one.data)
    source = load_pictures(tmp_path)
    for image_id, picture in source:
        one = rights[source.names[image_id].partition(".")[0]]
        assert off(np.asarray(picture), one.truth, one.lossy) <= (LOSSY if one.lossy else EXACT), one.name
    assert source.unreadable == [] and len(source) == len(kinds) > 9
    tried("pictures", len(kinds))


def no_files(folder: Path) -> dict[str, str]:
    """What has a picture's name and is no file; how each has to be reported."""
    (folder / ".away").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / ".away" / "pipe")
    (folder / "linked-pipe.jpg").symlink_to(folder / ".away" / "pipe")
    (folder / "zeros.jpg").symlink_to("/dev/zero")
    (folder / "null.jpg").symlink_to("/dev/null")
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    (folder / "one.jpg").symlink_to("other.jpg")
    (folder / "other.jpg").symlink_to("one.jpg")
    (folder / "nowhere.jpg").symlink_to("lost.jpg")
    (folder / "file.txt").write_text("text")
    (folder / "below.jpg").symlink_to("file.txt/below.jpg")
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket has few letters
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket.jpg")
    finally:
        os.chdir(here)
    return {
        "pipe.jpg": "a pipe, not a picture", "linked-pipe.jpg": "a pipe, not a picture",
        "zeros.jpg": "a device, not a picture", "null.jpg": "a device, not a picture",
        "itself.jpg": "too many levels of symbolic links", "one.jpg": "too many levels of symbolic links",
        "other.jpg": "too many levels of symbolic links", "nowhere.jpg": "no such file",
        "file.txt": "not a picture", "below.jpg": "not a directory", "socket.jpg": "a socket, not a picture",
    }  # fmt: skip


SCRIPTS = ("über", "naïve façade", "кот", "猫", "ねこ", "고양이", "قط", "חתול", "แมว", "बिल्ली", "🐈‍⬛", "a\u0301",
           "--help", "$(x)", "a'b\"c", "*?", "%s{0}", "  ", "x" * 250, "CON", "a\\b")  # fmt: skip
SHOWN = {b"two\nlines.png": "two\\nlines.png", b"\x1b[31mred\x07.png": "\\x1b[31mred\\x07.png",
         b"\xff\xfe.png": "\\xff\\xfe.png", b"\r.png": "\\r.png", "a\u2028b\x85c.png".encode(): "a\\u2028b\\x85c.png"}


def strange_names(folder: Path, data: bytes) -> set[str]:
    """Files of any name; what they are reported as."""
    for name in SCRIPTS:
        (folder / name).write_bytes(data)
    for name in SHOWN:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(data)
    return {*SCRIPTS, *SHOWN.values()}


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


IN_MEMORY = {
    "1": (Image.fromarray(GREY).convert("1"), np.where(np.asarray(Image.fromarray(GREY).convert("1")), 255, 0)),
    "I;16": (Image.fromarray(WIDE_GREY), GREY),
    "I;16B": (Image.frombytes("I;16B", (64, 48), WIDE_GREY.astype(">u2").tobytes()), GREY),
    "I": (Image.fromarray(WIDE_GREY.astype(np.int32)), GREY),
    "F": (Image.fromarray((GREY / 255).astype(np.float32)), GREY),
    "LA": (Image.fromarray(np.dstack([GREY, GREY // 2])), GREY),
    "RGBA": (Image.fromarray(np.dstack([COLOURS, GREY])), COLOURS),
    "CMYK": (PICTURE.convert("CMYK"), COLOURS),
}


def test_pictures_in_memory_are_what_their_files_are(rights, tmp_path, tried):
    for name, (picture, levels) in IN_MEMORY.items():
        (_, found), = load_pictures([picture])
        assert off(np.asarray(found), levels if levels.ndim == 3 else grey(levels), lossy=False) == 0, name
    fill(tmp_path, rights)
    files = [name for name in sorted(rights) if not name.startswith("metadata-")]  # some PIL does not open
    source = load_pictures([Image.open(tmp_path / name) for name in files])
    for (_, opened), name in zip(source, files, strict=True):
        np.testing.assert_array_equal(opened, read(rights[name].data)[0], err_msg=name)
    with Image.open(tmp_path / "gif") as left:
        pass
    (shut := Image.open(tmp_path / "gif")).close()
    source = load_pictures([left, shut, PICTURE])
    assert [i for i, _ in source] == [2]
    assert [reason for _, _, reason in source.unreadable] == ["its file has been closed: open it again"] * 2
    tried("pictures", len(IN_MEMORY) + 1)


@pytest.mark.faults
def test_a_data_set_of_the_hub_tells_the_same(rights, wrongs, tmp_path, tried):
    from datasets import Dataset
    from datasets import Image as Column

    rows = [*rights.values(), *wrongs.values()]
    cells = [{"bytes": one.data, "path": one.name} for one in rows]
    (tmp_path / "set").mkdir()
    Dataset.from_dict({"image": cells}).cast_column("image", Column()).to_parquet(tmp_path / "set" / "train.parquet")
    source = load_pictures(f"hf-datasets:{tmp_path / 'set'}:train:{len(rows)}")
    used = [image_id for image_id, _ in source.iterate(transform=toy_pixels)]
    assert used == list(range(len(rights)))
    assert all(rows[i].fits(reason) and f"train[{i}]" in name for i, name, reason in source.unreadable)
    assert [i for i, _, _ in source.unreadable] == list(range(len(rights), len(rows)))
    tried("pictures", len(rows))


@pytest.mark.faults
def test_a_collection_over_all_of_them_ends_with_counts(rights, wrongs, tmp_path, capsys, tried):
    (folder := tmp_path / "all").mkdir()
    fill(folder, {**rights, **wrongs})
    told = no_files(folder)
    names = strange_names(folder, encoded(PICTURE, "PNG"))
    used, unreadable = len(rights) + len(names), len(wrongs) + len(told)
    collect = ["collect", f"--pictures=folder:{folder}", "--tower=pocket", "--hook-point=block_1",
               f"--out={tmp_path / 'store'}", "--device=cpu"]  # fmt: skip
    assert main(collect) == 0
    out, error = capsys.readouterr()
    assert f"{used} rows of dimension" in out
    lines = [line for line in error.splitlines() if line.startswith("not read: ")]
    assert f"{unreadable} of {used + unreadable} pictures could not be read and were skipped" in error
    store = ActivationStore.open(tmp_path / "store")
    reported = {bad["name"]: bad["reason"] for bad in store.metadata["unreadable"]}
    assert reported.keys() == {*wrongs, *told} and len(lines) == len(reported)
    assert {f"not read: {name} ({reason})" for name, reason in reported.items()} == set(lines)
    assert np.isfinite(np.asarray(store[:])).all() and len(store) == used
    assert main([*collect, "--strict"]) == 2
    assert f"error: {unreadable} of {used + unreadable} pictures could not be read" in capsys.readouterr().err
    (alone := tmp_path / "alone").mkdir()
    fill(alone, rights)
    collect[1], collect[4] = f"--pictures=folder:{alone}", f"--out={tmp_path / 'strict'}"
    assert main([*collect, "--strict"]) == 0
    # a picture's activations are not those of its neighbour, whatever was skipped between them
    strict = ActivationStore.open(tmp_path / "strict")
    own = sorted(rights)
    everything = sorted([*rights, *wrongs, *told, *names])
    places = [everything.index(name) for name in own]
    ids = np.asarray(store.image_ids).ravel().tolist()
    found = np.asarray(store[:])[[ids.index(i) for i in places]]
    np.testing.assert_allclose(found, np.asarray(strict[:]), atol=1e-3, rtol=1e-3)
    tried("collections", 3)


def growth(work) -> float:
    """By how many megabytes a fork grows at its highest while it works."""
    reader, writer = os.pipe()

    def measured() -> None:
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        os.write(writer, str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024).encode())

    assert forked(measured) == 0
    os.close(writer)
    with os.fdopen(reader) as told:
        return float(told.read())


CLIP = transforms.Compose([transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor()])


@pytest.mark.faults
def test_the_memory_that_a_bomb_takes_is_bounded(tried):
    CLIP(PICTURE)
    for one in bombs():
        assert growth(lambda one=one: one.fits(read(one.data, CLIP)[1]) or os._exit(1)) < MEGABYTES, one.name
    tried("bombs", len(bombs()))


HOLES = {"jpeg": encoded(PICTURE, "JPEG")[:300], "png": encoded(PICTURE, "PNG")[:60], "tiff": b"II*\0\0\0\0\x7f",
         "zeros": b"", "webp": encoded(PICTURE, "WEBP")[:40], "gif": encoded(PICTURE, "GIF")[:40]}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("kind", HOLES)
def test_a_file_of_gigabytes_with_nothing_in_it_is_not_held_in_memory(kind, tmp_path, tried):
    with open(tmp_path / "hole", "wb") as file:
        file.write(HOLES[kind])
        try:
            file.truncate(8 * 2**30)
        except OSError:
            pytest.skip("no file with a hole can be made here")

    def work() -> None:
        assert read(tmp_path / "hole", CLIP)[0] is None

    assert growth(work) < MEGABYTES
    told = "^a file of 8,589,934,592 bytes" if kind != "tiff" else "damaged"
    assert re.search(told, read(tmp_path / "hole", CLIP)[1])
    tried("bombs")
