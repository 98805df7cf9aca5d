"""What a source knows of its pictures, and one picture by its id."""

import numpy as np
import pytest
from data_files import PHOTOS
from tiny_towers import noise

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.scores.truth import one_hot
from vlm_sae_lib.steering.asking import OBJECTS, asking_of, in_words, look_for
from vlm_sae_lib.steering.concepts import PooledLatents, candidate_latents, list_concepts
from vlm_sae_lib.taxonomy import RANKS, rank_names

BEETLE = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"
DAISY = "00043_Plantae_Tracheophyta_Magnoliopsida_Asterales_Asteraceae_Bellis_perennis"


def write(root, *names):
    for name, picture in zip(names, noise(len(names)), strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / name)
    return root


def test_ranks_are_lower_case_and_the_species_is_unique():
    assert rank_names(DAISY) == {"kingdom": "plantae", "phylum": "tracheophyta", "class": "magnoliopsida",
                                 "order": "asterales", "family": "asteraceae", "genus": "bellis",
                                 "species": "bellis perennis"}
    assert rank_names(list("ABCDEFG"))["species"] == "f g"
    with pytest.raises(UserError, match="no iNaturalist folder name"):
        rank_names("00043_Plantae")


def test_inaturalist_gives_seven_ranks(tmp_path):
    source = load_pictures(f"inat2021:{write(tmp_path, f'{BEETLE}/a.png', f'{BEETLE}/b.png', f'{DAISY}/c.png')}")
    known = source.factors
    assert list(known.columns) == list(RANKS) == list(load_pictures("pocket:2").factors.columns[1:8])
    assert known.index.name == "image_id" and known.index.tolist() == source.ids.tolist() == [0, 1, 2]
    assert known["kingdom"].tolist() == ["animalia", "animalia", "plantae"]
    assert known.loc[2, "species"] == "bellis perennis" and known.loc[0, "species"] == "coccinella septempunctata"
    assert source.factors is known


def test_a_subset_knows_its_own_pictures_only(tmp_path):
    source = load_pictures(f"inat2021:{write(tmp_path, f'{BEETLE}/a.png', f'{BEETLE}/b.png', f'{DAISY}/c.png')}")
    part = source.subset([2, 1])
    assert part.ids.tolist() == part.factors.index.tolist() == [1, 2] and part.ids.dtype == np.int64
    assert part.factors["genus"].tolist() == ["coccinella", "bellis"]
    inner = part.subset([2])
    assert inner.factors["genus"].tolist() == ["bellis"] and inner.ids.tolist() == [2]
    # one class folder is enough for what is part of an ImageFolder
    folder = load_pictures(write(tmp_path / "mine", "cat/a.png", "dog/b.png"))
    assert folder.subset([0]).factors["class"].tolist() == ["cat"]


def test_imagenet_gives_wordnet_ids_and_names(tmp_path):
    known = load_pictures(f"imagenet:{PHOTOS}").factors
    assert known["wnid"].tolist() == ["n02002724", "n04254120", "n04372370"]
    assert known["class"].tolist() == ["black stork", "soap dispenser", "switch"]
    folders = ("n01440764", "n02012849_anything", "n04399382", "n99999999_Made_Up", "n99999998")
    known = load_pictures(f"imagenet:{write(tmp_path, *(f'{folder}/a.png' for folder in folders))}").factors
    assert known["wnid"].tolist() == ["n01440764", "n02012849", "n04399382", "n99999998", "n99999999"]
    # another class is a crane, too; and of the teddy bear timm's list of names knows nothing
    assert known["class"].tolist() == ["tench", "crane (wading bird)", "teddy", "n99999998", "made up"]


def test_a_folder_of_class_folders_gives_classes_and_another_one_nothing(tmp_path):
    source = load_pictures(write(tmp_path / "a", "Cat/1.png", "Cat/young/2.png", "dog/3.png"))
    assert source.factors["class"].tolist() == ["Cat", "Cat", "dog"] and list(source.factors) == ["class"]
    assert load_pictures(write(tmp_path / "c", "cat/1.png", "cat/2.png")).factors is None
    assert load_pictures(noise(2)).factors is None
    assert load_pictures(noise(2)).subset([1]).factors is None


def test_what_strays_at_the_root_costs_no_labels(tmp_path):
    root = write(tmp_path / "a", "cat/1.png", "cat/2.png", "dog/3.png", "loose.png")
    for name in ("notes.txt", "Thumbs.db"):
        (root / name).write_bytes(b"no picture")
    source = load_pictures(root)
    assert source.names == ["Thumbs.db", "cat/1.png", "cat/2.png", "dog/3.png", "loose.png", "notes.txt"]
    assert source.factors["class"].fillna("").tolist() == ["", "cat", "cat", "dog", "", ""]
    read = [i for i, _ in source]  # what a store has rows of
    assert [name for _, name, _ in source.unreadable] == ["Thumbs.db", "notes.txt"]
    assert source.subset(read).factors["class"].fillna("").tolist() == ["cat", "cat", "dog", ""]
    one = load_pictures(write(tmp_path / "b", "cat/1.png", "cat/2.png", "loose.png"))
    assert one.factors is None  # one class is none


def test_a_picture_without_a_label_is_no_example_of_any_class(tmp_path):
    known = load_pictures(write(tmp_path, "cat/1.png", "cat/2.png", "dog/3.png", "loose.png")).factors
    assert in_words(known) is known and asking_of(known) is OBJECTS
    assert look_for(OBJECTS, known) == {"class cat": ("class", "cat"), "class dog": ("class", "dog")}
    concepts = list_concepts(known, ["class"], 5, min_pictures=1, seed=0)
    assert concepts[["concept", "pictures"]].to_numpy().tolist() == [["cat", 2], ["dog", 1]]
    latents = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.float32)
    found = candidate_latents(PooledLatents(latents, latents), known, concepts, n_candidates=1, min_pictures=1)
    assert found[["concept", "latent", "f1"]].to_numpy().tolist() == [["cat", 0, 1.0], ["dog", 1, 1.0]]
    with pytest.raises(UserError, match="missing on 1 of 4 pictures, the first of them with the id 3; leave"):
        one_hot(known, "class")


def test_inaturalist_above_its_splits(tmp_path):
    write(tmp_path, f"train_mini/{BEETLE}/a.png", f"train_mini/{BEETLE}/b.png", f"train/{BEETLE}/c.png")
    assert len(load_pictures(f"inat2021:{tmp_path}/train_mini")) == 2
    with pytest.raises(UserError, match=f"inat2021:{tmp_path}/train or inat2021:{tmp_path}/train_mini"):
        load_pictures(f"inat2021:{tmp_path}")
    write(tmp_path, f"val/{DAISY}/d.png")
    assert load_pictures(f"inat2021:{tmp_path}").folders == [DAISY]
    assert load_pictures(f"inat2021:{tmp_path}/train").names == [f"{BEETLE}/c.png"]


def test_one_picture_by_its_id(tmp_path):
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "c.png").write_bytes(b"")
    source = load_pictures(tmp_path)
    np.testing.assert_array_equal(source.picture(1), noise(2)[1])
    crop = source.picture(1, 16)
    assert crop.size == (16, 16) and crop.mode == "RGB"
    # the middle of 40×32 is 32×32: what lies left and right of it has no say
    middle = noise(2)[1].crop((4, 0, 36, 32))
    np.testing.assert_array_equal(source.picture(1, 32), middle)
    np.testing.assert_array_equal(source.subset([1]).picture(1), noise(2)[1])
    with pytest.raises(UserError, match=r"c\.png .*empty file"):
        source.picture(2)
    with pytest.raises(UserError, match="no picture 3"):
        source.picture(3)
    with pytest.raises(UserError, match="no picture 0"):
        source.subset([1]).picture(0)
