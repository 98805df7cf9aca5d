"""Pictures streamed by ``datasets`` from local folders, and what goes wrong without the hub."""

import shutil
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from tiny_towers import noise, toy_tower

from vlm_sae_lib.activations import collect_activations
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import PictureSource, load_pictures

N = 10


@pytest.fixture
def folder(tmp_path):
    """An ImageFolder of two classes, a truncated and an empty file in it."""
    for i, picture in enumerate(noise(N)):
        path = tmp_path / "animals" / ("cat" if i < 6 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    cut = tmp_path / "animals" / "cat" / "2.png"
    cut.write_bytes(cut.read_bytes()[:300])
    (tmp_path / "animals" / "dog" / "7.png").write_bytes(b"")
    return tmp_path / "animals"


BAD = [(2, "train[2] (2.png)", "damaged or truncated"), (7, "train[7] (7.png)", "empty file")]


def test_a_folder_is_streamed_in_order_and_bad_files_are_named(folder):
    source = load_pictures(f"hf-datasets:{folder}:train:10")
    assert isinstance(source, PictureSource) and source.name == "hf-datasets:animals:train:10" and len(source) == N
    found = dict(source)
    assert list(found) == [0, 1, 3, 4, 5, 6, 8, 9] and source.unreadable == BAD
    for i, picture in found.items():
        np.testing.assert_array_equal(picture, noise(N)[i])
    assert source.ids.tolist() == list(range(N)) and source.folders == [None] * N and source.names[3] == "train[3]"


def test_reading_from_an_id_on_and_one_picture(folder):
    source = load_pictures(f"hf-datasets:{folder}:train:9")
    assert list(source.iterate(6, lambda picture: picture.size)) == [(6, (40, 32)), (8, (40, 32))]
    assert source.unreadable == BAD[1:]
    assert list(source.iterate(9)) == []
    np.testing.assert_array_equal(source.picture(5), noise(N)[5])
    assert source.picture(5, 16).size == (16, 16)
    with pytest.raises(UserError, match=r"train\[7\] \(7\.png\) .*empty file"):
        source.picture(7)
    with pytest.raises(UserError, match="no picture 9"):
        source.picture(9)


def test_rows_are_read_only_a_short_way_ahead(folder, monkeypatch):
    source = load_pictures(f"hf-datasets:{folder}:train:10")
    seen, readable = [], source.stream.readable
    monkeypatch.setattr(source.stream, "readable", lambda cell: (seen.append(1), readable(cell))[1])
    monkeypatch.setattr("vlm_sae_lib.pictures.decoding.os.cpu_count", lambda: 1)
    next(iter(source))
    assert len(seen) < 5


def test_classes_come_from_the_label_column(folder):
    source = load_pictures(f"hf-datasets:{folder}:train:8")
    assert source.factors["class"].tolist() == ["cat"] * 6 + ["dog"] * 2
    assert source.factors.index.tolist() == list(range(8)) and source.factors.index.name == "image_id"
    part = source.subset([7, 1])
    assert part.factors["class"].to_dict() == {1: "cat", 7: "dog"}


def test_labels_that_a_pass_has_met_are_not_read_again(folder, monkeypatch):
    source = load_pictures(f"hf-datasets:{folder}:train:10")
    list(source)
    monkeypatch.setattr(source.stream, "read", None)
    assert source.factors["class"].tolist() == ["cat"] * 6 + ["dog"] * 4


def test_a_subset_keeps_ids(folder):
    source = load_pictures(f"hf-datasets:{folder}:train:10")
    part = source.subset([8, 2, 4])
    assert [i for i, _ in part] == [4, 8] and part.unreadable == BAD[:1] and len(part) == 3
    assert part.subset([4]).ids.tolist() == [4] and len(part.names) == N
    assert len({part.fingerprint, source.fingerprint, source.subset([8, 2]).fingerprint}) == 3
    with pytest.raises(UserError, match="no picture 10"):
        source.subset([10])


def test_the_fingerprint_follows_bytes_split_and_n_but_not_the_place(folder, tmp_path):
    first = load_pictures(f"hf-datasets:{folder}:train:10").fingerprint
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_pictures(f"hf-datasets:{tmp_path}/elsewhere:train:10").fingerprint == first
    assert load_pictures(f"hf-datasets:{folder}:train:9").fingerprint != first
    noise(1)[0].save(folder / "cat" / "1.png")
    assert load_pictures(f"hf-datasets:{folder}:train:10").fingerprint != first


def test_splits_and_pictures_within_parquet(folder, tmp_path):
    shutil.rmtree(folder / "dog")
    (folder / "dog").mkdir()
    noise(1)[0].save(folder / "dog" / "9.png")
    table = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    files = [row["path"] for row in table.cast_column("image", datasets.Image(decode=False))["image"]]
    rows = [{"image": {"bytes": Path(file).read_bytes(), "path": None}} for file in files]
    kinds = datasets.Features({"image": datasets.Image()})
    (tmp_path / "parquet").mkdir()
    datasets.Dataset.from_list(rows, features=kinds).to_parquet(str(tmp_path / "parquet" / "validation.parquet"))
    source = load_pictures(f"hf-datasets:{tmp_path}/parquet:validation:7")
    assert [i for i, _ in source] == [0, 1, 3, 4, 5, 6] and source.factors is None
    assert source.unreadable == [(2, "validation[2]", "damaged or truncated")]
    np.testing.assert_array_equal(source.picture(6), noise(1)[0])
    with pytest.raises(UserError, match="no split 'train': take validation"):
        load_pictures(f"hf-datasets:{tmp_path}/parquet:train:7")


def test_activations_are_collected_from_a_stream(folder, tmp_path):
    source = load_pictures(f"hf-datasets:{folder}:train:10")
    store = collect_activations(toy_tower(), source, "block_0", tmp_path / "store", pictures_per_shard=3)
    assert store.image_ids.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    assert [bad["name"] for bad in store.metadata["unreadable"]] == [name for _, name, _ in BAD]
    with pytest.raises(UserError, match="among the pictures"):
        collect_activations(toy_tower(), source, "block_0", folder / "store")


def refused(spec, words):
    with pytest.raises(UserError, match=words) as caught:
        list(load_pictures(spec))
    assert "\n" not in str(caught.value)


def test_what_goes_wrong_is_one_sentence(folder, tmp_path):
    refused(f"hf-datasets:{folder}:train:11", "more pictures than there are: its split holds 10")
    with pytest.raises(UserError, match="its split holds fewer"):
        load_pictures(f"hf-datasets:{folder}:train:13").picture(11)
    refused(f"hf-datasets:{folder}:test:5", "has no split 'test': take train")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.csv").write_text("a,b\n1,2\n")
    refused(f"hf-datasets:{tmp_path}/words:train:1", "no column of pictures")
    (tmp_path / "nothing").mkdir()
    refused(f"hf-datasets:{tmp_path}/nothing:train:1", "datasets could not open .*nothing")
    refused("hf-datasets:/no/such/place:train:1", "there is no /no/such/place")
    for spec in ("", "owner/name", "owner/name:train", "owner/name:train:some", "owner/name:train:0", ":train:5"):
        refused(f"hf-datasets:{spec}", "is no data set: write")


@pytest.fixture
def two(tmp_path):
    """A data set of two configurations, as its card lays it out."""
    for i, (configuration, picture) in enumerate(zip(("birds", "birds", "fish", "fish"), noise(4), strict=True)):
        path = tmp_path / "zoo" / configuration / ("young" if i % 2 else "old") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    configs = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in ("birds", "fish"))
    (tmp_path / "zoo" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return tmp_path / "zoo"


def test_one_of_two_configurations_is_named_before_the_split(two):
    source = load_pictures(f"hf-datasets:{two}:fish/train:2")
    assert source.name == "hf-datasets:zoo:fish/train:2" and source.names == ["fish/train[0]", "fish/train[1]"]
    for (_, picture), drawn in zip(source, noise(4)[2:], strict=True):
        np.testing.assert_array_equal(picture, drawn)
    assert source.factors["class"].tolist() == ["old", "young"]
    assert source.fingerprint != load_pictures(f"hf-datasets:{two}:birds/train:2").fingerprint


def test_a_configuration_that_is_not_named_or_not_there_is_one_sentence(two, folder):
    way_out = f"take birds or fish, as in hf-datasets:{two}:birds/train:2"
    refused(f"hf-datasets:{two}:train:2", f"has 2 configurations: {way_out}")
    refused(f"hf-datasets:{two}:cats/train:2", f"has no configuration 'cats': {way_out}")
    refused(f"hf-datasets:{two}:fish/test:2", "has no split 'test': take train")
    refused(f"hf-datasets:{folder}:cats/train:2", "has no configuration 'cats': take default, as in .*:default/train:2")


def test_the_default_configuration_needs_no_name(two):
    card = two / "README.md"
    card.write_text(card.read_text().replace("data_dir: fish", "data_dir: fish\n  default: true"))
    np.testing.assert_array_equal(load_pictures(f"hf-datasets:{two}:train:2").picture(0), noise(4)[2])


def test_offline_it_says_what_to_fetch(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    way_out = "where it can, run `hf download --repo-type dataset owner/name --local-dir <folder>`"
    refused("hf-datasets:owner/name:train:5", f"HF_HUB_OFFLINE is set: {way_out}")


def test_without_the_package_it_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(f"hf-datasets:{folder}:train:5", "pip install datasets")
