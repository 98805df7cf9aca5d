"""Files from elsewhere, right or hostile: right data or one sentence, and never code, a crash, a hang, or much memory.

The unmarked tests read a few inputs of every reader, and all that was made to do harm by hand; `make test-faults` reads
two hundred thousand. An input is a reader's name and a number: ``drawing(seeds, name)(number)`` makes it again.
"""

import ctypes
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import hostile
import pytest
import torch
from archive_readers import member, read_pictures_archive, read_study, species
from fuzzing import drawing
from guarded import MEMORY, Outcome, attempts, shared_memory, told, written
from random_saes import make_sae
from readers import READERS, Reader

from vlm_sae_lib.archives import SAID
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.pictures import sample
from vlm_sae_lib.pictures.archive import Archive
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.files import folder as sae_folder
from vlm_sae_lib.sae.files.header import tensor_shapes
from vlm_sae_lib.scores.human_benchmark import HumanBenchmark

SMALL = 160 * 2**20
"""Bytes that a file of a few kilobytes may make a reader take."""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def memory(tmp_path):
    with shared_memory(tmp_path) as folder:
        yield folder


def outcome(reader: Reader, folder: Path, many: int, first: int = 0) -> Outcome:
    """How a reader fares with so many inputs; what nobody changed must be read."""
    for part in ("seeds", "input"):
        (folder / part).mkdir()
    seeds, into = reader.seeds(folder / "seeds"), folder / "input"
    for seed in seeds:
        reader.read(written(seed, into))
    made = drawing(seeds, reader.name, reader.change)
    return attempts(lambda number: reader.read(written(made(number), into)), range(first, first + many), folder)


def held(reader: Reader, found: Outcome, many: int) -> None:
    asked = [fault for fault in found.faults if reader.asks_for_memory and fault[1].startswith(MEMORY)]
    assert len(asked) == len(found.faults), told(reader.name, found)
    assert found.tried == many


def names(reader: Reader) -> str:
    return reader.name


@pytest.mark.parametrize("reader", READERS, ids=names)
def test_a_changed_file_is_read_or_refused(reader, memory, tried):
    held(reader, outcome(reader, memory, reader.few), reader.few)
    tried("files from elsewhere", reader.few)


@pytest.mark.faults
@pytest.mark.parametrize("reader", READERS, ids=names)
def test_many_changed_files_are_read_or_refused(reader, memory, tried, record_property):
    found = outcome(reader, memory, reader.many, first=reader.few)
    held(reader, found, reader.many)
    assert 0 < found.refused < reader.many or reader.name == "shapes of a torch file", "nothing was hit, or all was"
    print(f"{reader.name}: {found.tried / found.seconds:.0f} inputs a second, {found.refused} refused")
    tried("files from elsewhere", reader.many)


def test_two_hundred_thousand_files_are_read_in_all():
    assert sum(reader.many for reader in READERS) >= 200_000


# --- the guard itself: each thing that it must see ------------------------------------------------------------------


@dataclass(frozen=True)
class Deed:
    what: str
    do: Callable[[], Any]


def refusal() -> None:
    raise UserError("two\nlines")


def memory_first() -> None:
    try:
        bytearray(2**40)
    except MemoryError as error:
        raise UserError("There is too little.") from error


DEEDS = [
    Deed("ended by SIGSEGV", lambda: ctypes.string_at(0)),
    Deed("ended by SIGPROF", lambda: [None for _ in iter(int, 1)]),
    Deed("os.system", lambda: os.system("true")),
    Deed("subprocess.Popen", lambda: subprocess.run(["true"], check=True)),
    Deed("open", lambda: Path("~/there").expanduser().write_text("")),
    Deed("os.mkdir", lambda: os.mkdir("/proc/there")),
    Deed("ZeroDivisionError", lambda: 1 // int("0")),
    Deed("memory was taken", memory_first),
    Deed("no printable sentence", refusal),
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.what)
def test_the_guard_sees(deed, memory, tmp_path, monkeypatch):
    """Else a reader that does harm would pass."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = attempts(lambda number: deed.do() if number == 3 else None, range(6), memory, seconds=0.3)
    assert [number for number, _ in found.faults] == [3]
    assert deed.what in found.faults[0][1]
    assert found.tried == 6 - deed.what.startswith("ended")


# --- by hand --------------------------------------------------------------------------------------------------------


def refused(read, folder: Path, room: int = SMALL) -> str:
    """What a reader says when it refuses in a process of its own, as every other test here demands it."""

    def attempt(number: int) -> None:
        try:
            read()
        except UserError as error:
            (folder / "said").write_text(str(error))
            raise

    found = attempts(attempt, range(1), folder, room=room, seconds=60)
    assert not found.faults, found.faults
    assert found.refused == 1, "it was read"
    return (folder / "said").read_text()


@pytest.mark.parametrize("how", sorted(hostile.calls(Path("x"))))
def test_no_pickle_runs_anything(how, memory, tried):
    canary = memory / "canary"
    payload = hostile.calls(canary)[how]
    files = hostile.as_torch_files(payload)
    for name, data in files.items():
        (memory / "ae.pt").write_bytes(data)
        refused(lambda: SparseAutoencoder.load(memory / "ae.pt"), memory)
        assert not canary.exists(), name
        with open(memory / "ae.pt", "rb") as stream:
            assert tensor_shapes(stream) == {}, name
        assert not canary.exists(), name
    tried("pickles that call", len(files))


def test_the_pickles_would_run(tmp_path):
    """Else the test above would hold of harmless ones."""
    for number, (how, payload) in enumerate(hostile.calls(tmp_path / "canary").items()):
        if how == "torch.load of a file":
            continue
        path = tmp_path / f"{number}.pt"
        path.write_bytes(hostile.as_torch_files(payload)["zip by torch"])
        torch.load(path, weights_only=False)  # what nobody may do with a stranger's file
        assert (tmp_path / "canary").exists(), how
        (tmp_path / "canary").unlink()


@pytest.mark.parametrize("name", sorted(hostile.lying_torch_files()))
def test_a_torch_file_that_claims_more_than_it_has_takes_no_memory(name, memory, tried):
    (memory / "ae.pt").write_bytes(hostile.lying_torch_files()[name])
    said = refused(lambda: SparseAutoencoder.load(memory / "ae.pt"), memory)
    assert "larger than" in said or "packed" in said
    with open(memory / "ae.pt", "rb") as stream:
        assert tensor_shapes(stream) == {}
    tried("files that lie about sizes")


@pytest.mark.parametrize("name", sorted(hostile.lying_safetensors()))
def test_a_header_of_safetensors_that_lies_is_refused(name, memory, tried):
    make_sae("relu").save(memory / "sae")
    (memory / "sae" / sae_folder.WEIGHTS).write_bytes(hostile.lying_safetensors()[name])
    assert str(memory / "sae") in refused(lambda: SparseAutoencoder.load(memory / "sae"), memory)
    tried("files that lie about sizes")


def test_a_checkpoint_without_its_readable_settings_is_no_other_kind(memory):
    """A TopK file with a threshold is a BatchTopK one as far as its tensors tell."""
    reader = next(reader for reader in READERS if reader.name.startswith("torch files"))
    (memory / "seeds").mkdir()
    topk = written(reader.seeds(memory / "seeds")[1], memory / "seeds" / "b")
    assert SparseAutoencoder.load(topk / "ae.pt").kind == "top_k"
    (topk / "config.json").write_text((topk / "config.json").read_text()[:-5])
    with pytest.raises(UserError, match="damaged .*take it away"):
        SparseAutoencoder.load(topk / "ae.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN"), ('{"a": -Infinity}', "Infinity"), ('{"a": 1e999}', "beyond"), ("[-1e999]", "beyond"),
        ("9" * 5000, "beyond"), ("9" * 301, "beyond"), ('{"a": 1, "b": 2, "a": 3}', "'a' twice"),
        (r'{"a": "\ud800"}', "surrogates"), ("[" * 100_000, "deeply"), ('{"a":' * 100_000, "deeply"),
    ],
)  # fmt: skip
def test_what_is_no_json_to_others_is_none_here(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json")


def test_what_is_json_is_read(tmp_path):
    for value in ({"a": [1, -2.5e-300, 1e308, 2**70, None, True, "é\x00\U0001f600", {}, []]}, "x", [[[]]]):
        for ascii in (True, False):  # the smiley in two halves, and whole
            (tmp_path / "a.json").write_text(json.dumps(value, ensure_ascii=ascii))
            assert read_json(tmp_path / "a.json") == value


# --- archives -------------------------------------------------------------------------------------------------------


def fill(folder: Path, data: bytes) -> None:
    (folder / "val.tar.gz").write_bytes(data)
    (folder / "made").mkdir()
    with Archive("https://example.org/val.tar.gz", folder / "val.tar.gz", "pictures") as archive:
        sample._fill(folder / "made", archive, sample.SPECIES, hashlib.md5(data).hexdigest())


@pytest.fixture(scope="module")
def bombs():
    return hostile.bombs()


@pytest.mark.faults
@pytest.mark.parametrize("name", ["a picture", "a name", "a link", "attributes", "attributes of all"])
def test_a_bomb_is_refused_before_it_unpacks(name, bombs, memory, tried):
    data = bombs[name]
    assert len(data) < hostile.GIGABYTE / 200
    assert "damaged at" in refused(lambda: fill(memory, data), memory)
    (memory / "study.tar.gz").write_bytes(data)
    refused(lambda: read_study_at(memory / "study.tar.gz"), memory)
    tried("archives that unpack to gigabytes", 2)


def test_a_small_bomb_is_refused_too(memory):
    small = hostile.gzipped(hostile.head(member("././@LongLink", type=b"L", size=SAID + 1)), 2 * SAID)
    assert f"a header of {SAID + 1} bytes" in refused(lambda: fill(memory, small), memory)
    large = hostile.head(member(f"val/{species(1)}/a.jpg", size=sample.LARGEST + 1))
    assert "a member of" in refused(lambda: refill(memory, hostile.gzipped(large, 2**20)), memory)


def refill(folder: Path, data: bytes) -> None:
    rmtree(folder / "made", ignore_errors=True)
    fill(folder, data)


def read_study_at(path: Path) -> None:
    HumanBenchmark(path)


@pytest.mark.parametrize("name", sorted(hostile.escapes(Path("/x/outside"))))
def test_no_member_of_an_archive_leaves_its_folder(name, memory, tried):
    outside = memory / "outside"
    outside.write_text("untouched")
    inside = memory / "a" / "b"
    inside.mkdir(parents=True)
    fill(inside, hostile.escapes(outside)[name])
    assert outside.read_text() == "untouched"
    found = sorted(path.relative_to(memory).as_posix() for path in memory.rglob("*"))
    train = f"a/b/made/train/{species(1)}"
    assert f"{train}/a.jpg" in found
    allowed = (f"{train}/", "a/b/made/choosing/", "a/b/made/test/")
    others = [one for one in found if not one.startswith(allowed)]
    assert others == ["a", "a/b", "a/b/made", "a/b/made/choosing", "a/b/made/test", "a/b/made/train", train,
                      "a/b/val.tar.gz", "outside"]  # fmt: skip
    assert not any(os.path.islink(path) for path in memory.rglob("*"))
    assert not list(memory.rglob("*.jpg.jpg"))
    tried("archives that reach outside")


def test_readers_of_archives_are_those_that_are_changed_at_random():
    assert {reader.read for reader in READERS} >= {read_pictures_archive, read_study}
