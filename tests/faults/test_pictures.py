"""Pictures of every kind that a folder may hold: each is used rightly, or reported by name with its true reason."""

from pathlib import Path

import numpy as np
import pytest
from bad_pictures import Wrong, wrong
from picture_corpus import COLOURS, EXACT, GREY, LOSSY, PICTURE, WIDE_GREY, Right, by_vips, grey, right
from picture_folders import no_files, strange_names
from PIL import Image
from raw_pictures import encoded
from tiny_towers import toy_pixels

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations import ActivationStore
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
