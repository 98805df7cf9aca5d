"""Disks that lose bytes, fill up or cannot be written: every damaged shard by its name, and no work lost."""

import errno
import os
import resource
import shutil
import signal
import subprocess
from functools import partial

import numpy as np
import pytest
from crashes import content, forked, told_by
from stages import STAGES, command, write_stores
from tiny_towers import noise, write_open_clip

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.activations.repairing import repair
from vlm_sae_lib.activations.store import damaged_shards
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.towers import load_tower

POINT = "block_1"
OPTIONS = {"tokens": "random:2", "batch_size": 4, "pictures_per_shard": 3}


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return load_tower(f"open_clip:local-dir:{write_open_clip(tmp_path_factory.mktemp('tower') / 'clip')}")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixteen pictures; the last of a shard, and the first of another, cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    for i, picture in enumerate(noise(16)):
        picture.save(folder / f"{i:02d}.png")
    for cut in ("05.png", "09.png"):
        (folder / cut).write_bytes(b"")
    return folder


@pytest.fixture
def store(tower, photos, tmp_path):
    return collect(tower, photos, tmp_path / "store")


def collect(tower, photos, out):
    from vlm_sae_lib.activations import collect_activations

    return collect_activations(tower, load_pictures(photos), POINT, out, **OPTIONS).path


def flip(shards, i):
    data = bytearray((file := shards[i]).read_bytes())
    data[-7] ^= 1
    file.write_bytes(data)


def cut(shards, i):
    shards[i].write_bytes(shards[i].read_bytes()[:100])


def empty(shards, i):
    shards[i].write_bytes(b"")


def remove(shards, i):
    shards[i].unlink()


def swap(shards, i):
    first, second = shards[i].read_bytes(), shards[i + 1].read_bytes()
    shards[i].write_bytes(second)
    shards[i + 1].write_bytes(first)


DAMAGES = {flip: "damaged", cut: "damaged", empty: "damaged", remove: "missing", swap: "damaged"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_damaged_shard_is_named_and_only_it_is_made_anew(damage, number, tower, photos, store, tried):
    whole = content(store)
    shards = sorted((store / "shards").iterdir())
    untouched = {file.name: file.stat().st_mtime_ns for file in shards}
    damage(shards, number)
    bad = [number, number + 1] if damage is swap else [number]
    assert damaged_shards(store) == dict.fromkeys(bad, DAMAGES[damage])
    with pytest.raises(UserError) as refused:
        ActivationStore.open(store, verify=True)
    assert all(f"{shards[i].name} ({DAMAGES[damage]})" in str(refused.value) for i in bad)
    made = repair(tower, load_pictures(photos), POINT, store, batch_size=4, tokens="random:2")
    assert made == [shards[i].name for i in bad]
    assert content(store) == whole
    assert all(shards[i].stat().st_mtime_ns == untouched[shards[i].name] for i in range(len(shards)) if i not in bad)
    tried("damaged shards")


def test_all_that_is_damaged_is_named_at_once(tower, photos, store, tried):
    whole = content(store)
    shards = sorted((store / "shards").iterdir())
    flip(shards, 0)
    remove(shards, 1)
    cut(shards, 3)
    assert damaged_shards(store) == {0: "damaged", 1: "missing", 3: "damaged"}
    with pytest.raises(UserError, match=r"lost 3 of its 6 shards: 000000\.\S+ \(damaged\), 000001\.\S+ \(missing\), "):
        ActivationStore.open(store, verify=True)
    assert len(repair(tower, load_pictures(photos), POINT, store, batch_size=4, tokens="random:2")) == 3
    assert content(store) == whole
    tried("damaged shards", 3)


def test_a_sound_store_and_none_need_no_repair(tower, photos, store, tmp_path):
    whole = content(store)
    for folder in (store, tmp_path / "nothing"):
        assert repair(tower, load_pictures(photos), POINT, folder, batch_size=4, tokens="random:2") == []
    assert content(store) == whole and not (tmp_path / "nothing").exists()


def test_another_batch_size_leaves_a_sound_store(tower, photos, store):
    before = ActivationStore.open(store).array()
    flip(sorted((store / "shards").iterdir()), 2)
    repair(tower, load_pictures(photos), POINT, store, batch_size=5, tokens="random:2")
    assert not damaged_shards(store)
    np.testing.assert_allclose(ActivationStore.open(store).array(), before, rtol=1e-4, atol=1e-5)


def test_a_shard_of_pictures_that_are_gone_is_told(tower, photos, store, tmp_path, monkeypatch):
    shutil.copytree(photos, tmp_path / "copy")
    pictures = load_pictures(tmp_path / "copy")
    monkeypatch.setattr(pictures, "name", load_pictures(photos).name)
    assert pictures.fingerprint == load_pictures(photos).fingerprint  # taken while they were there
    (tmp_path / "copy" / "07.png").write_bytes(b"")
    remove(sorted((store / "shards").iterdir()), 2)
    with pytest.raises(UserError, match=r"000002\.safetensors .* can no longer be read"):
        repair(tower, pictures, POINT, store, batch_size=4, tokens="random:2")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("stores"))


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_works_on_a_damaged_store(stage, stores, tmp_path, capsys, tried):
    for name in ("store", "embeddings", "sae"):
        shutil.copytree(stores / name, tmp_path / name)
    flip(sorted((tmp_path / "store" / "shards").iterdir()), 0)
    before = content(tmp_path)
    assert main(command(stage, tmp_path, tmp_path / "out")) == 2
    told = capsys.readouterr().err
    assert "000000.safetensors (damaged)" in told and told.count("\n") == 1
    assert content(tmp_path) == before
    tried("damaged stores refused")


def test_collect_says_what_it_made_anew(photos, tmp_path, capsys):
    tower = write_open_clip(tmp_path / "clip")
    call = ["collect", f"--pictures=folder:{photos}", f"--tower=open_clip:local-dir:{tower}", f"--hook-point={POINT}",
            f"--out={tmp_path / 'store'}"]  # fmt: skip
    assert main(call) == 0
    whole = content(tmp_path)
    remove(sorted((tmp_path / "store" / "shards").iterdir()), 0)
    capsys.readouterr()
    assert main(call) == 0
    assert "made anew, since it was missing or damaged: 000000.safetensors" in capsys.readouterr().err
    assert content(tmp_path) == whole


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_metadata_of_another_version_is_told(schema, store):
    write_json(store / "metadata.json", read_json(store / "metadata.json") | {"schema": schema})
    with pytest.raises(UserError, match=rf"is of schema {schema!r}; this version reads schema 1"):
        ActivationStore.open(store, verify=True)


def test_a_clock_that_was_set_back_changes_nothing(tower, photos, store, tmp_path):
    whole = content(store)
    facts = read_json(store / "metadata.json")
    lost = facts["shards"].pop()
    write_json(store / "metadata.json", facts | {"complete": False, "rows": facts["rows"] - lost["rows"]})
    for path in (*store.rglob("*"), store):
        os.utime(path, (4e9, 4e9))  # the year 2096
    assert content(collect(tower, photos, store)) == whole


def complains_of(reason, outcome):
    code, told = outcome
    last = ["", *told.strip().splitlines()][-1]
    return code == 2 and "Traceback" not in told and last.startswith("error: The disk") and os.strerror(reason) in last


def limited(room, call):
    """A stage that may write no file longer than so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    return main(call)


@pytest.mark.parametrize("stage", STAGES)
def test_a_file_that_can_grow_no_more_costs_a_sentence_and_no_work(stage, stores, tmp_path, tried):
    whole = tmp_path / "whole"
    assert told_by(lambda: main(command(stage, stores, whole / "out")))[0] == 0
    longest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for room in (0, longest // 2, longest - 1):
        (there := tmp_path / str(room)).mkdir()

        call = command(stage, stores, there / "out")
        outcome = told_by(partial(limited, room, call))
        assert complains_of(errno.EFBIG, outcome), outcome
        assert told_by(partial(main, call))[0] == 0
        assert content(there) == content(whole)
        tried("disks that fill up")


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 4 MB."""
    (place := tmp_path / "disk").mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place]).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_costs_a_sentence_and_no_work(stage, stores, tmp_path, disk, tried):
    whole = tmp_path / "whole"
    assert told_by(lambda: main(command(stage, stores, whole / "out")))[0] == 0
    needed = sum(path.stat().st_blocks * 512 for path in whole.rglob("*") if path.is_file())
    call = command(stage, stores, disk / "out")
    for room in (0, 4096, needed // 2 // 4096 * 4096):
        with open(disk / "ballast", "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(disk).free - room)
        outcome = told_by(lambda: main(call))
        assert complains_of(errno.ENOSPC, outcome), (room, outcome)
        (disk / "ballast").unlink()
        assert told_by(lambda: main(call))[0] == 0
        assert content(disk) == content(whole)
        shutil.rmtree(disk / "out")
        tried("disks that fill up")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_of_somebody_else_is_told(stage, stores, tmp_path, capfd, tried):
    (theirs := tmp_path / "theirs").mkdir(mode=0o755)
    for folder in (stores, *stores.parents):
        if folder.stat().st_uid == 0 and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)

    def as_nobody():
        os.setresuid(65534, 65534, 65534)
        os._exit(main(command(stage, stores, theirs / "out")))

    assert forked(as_nobody) == 2
    told = capfd.readouterr().err
    assert os.strerror(errno.EACCES) in told and str(theirs) in told and "Traceback" not in told
    assert not list(theirs.iterdir())
    tried("folders that cannot be written")
