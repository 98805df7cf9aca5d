import shutil

import numpy as np
import pytest
from data_files import PHOTOS
from PIL import Image, ImageFile
from tiny_towers import noise

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import load_pictures, to_rgb


@pytest.fixture
def folder(tmp_path):
    """Good and bad files, in sub-folders, with dot-files beside them."""
    root = tmp_path / "mine"
    (root / "b" / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    a, b, c, d = noise(4)
    a.save(root / "z.png")
    b.save(root / "b" / "one.jpg", quality=90)
    c.save(root / "b" / "deep" / "two.png")
    d.save(root / ".hidden" / "no.png")
    a.save(root / ".dot.png")
    whole = (root / "b" / "one.jpg").read_bytes()
    (root / "b" / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (root / "empty.jpg").write_bytes(b"")
    (root / "notes.txt").write_text("no picture")
    return root


def test_a_folder_is_walked_in_name_order_and_bad_files_cost_nothing(folder):
    source = load_pictures(folder)
    assert source.names == ["b/cut.jpg", "b/deep/two.png", "b/one.jpg", "empty.jpg", "notes.txt", "z.png"]
    assert source.folders == ["b", "deep", "b", "mine", "mine", "mine"]
    assert len(source) == 6 and source.name == "mine"
    found = list(source)
    assert [image_id for image_id, _ in found] == [1, 2, 5]
    assert source.unreadable == [(0, "b/cut.jpg", "damaged or truncated"), (3, "empty.jpg", "empty file"),
                                 (4, "notes.txt", "not a picture")]
    np.testing.assert_array_equal(found[2][1], noise(4)[0])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_reading_twice_lists_a_bad_file_once(folder):
    source = load_pictures(f"folder:{folder}")
    assert [i for i, _ in source] == [i for i, _ in source]
    assert len(source.unreadable) == 3


def test_reading_from_an_id_on_and_through_a_transform(folder):
    source = load_pictures(folder)
    assert list(source.iterate(2, lambda picture: picture.size)) == [(2, (40, 32)), (5, (40, 32))]
    assert [bad[0] for bad in source.unreadable] == [3, 4]


def test_a_picture_that_preprocessing_refuses_is_skipped_and_named(folder):
    def transform(picture):
        if picture == noise(4)[0]:
            raise ZeroDivisionError
        return "fine"

    source = load_pictures(folder)
    assert [i for i, _ in source.iterate(0, transform)] == [1, 2]
    assert source.unreadable[-1] == (5, "z.png", "40×32 pixels, which preprocessing refuses (ZeroDivisionError)")


def test_every_mode_becomes_upright_rgb():
    grey = np.arange(12 * 8, dtype=np.uint8).reshape(8, 12)
    image = Image.fromarray(grey)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.repeat(grey[..., None], 3, 2))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(np.asarray(to_rgb(deep)), np.repeat(grey[..., None], 3, 2))
    colour = noise(1)[0]
    for mode in ("RGBA", "CMYK", "P", "1", "LA"):
        assert to_rgb(colour.convert(mode)).mode == "RGB"
    assert np.abs(np.asarray(to_rgb(colour.convert("CMYK")), int) - np.asarray(colour, int)).max() <= 2


def test_exif_rotation_is_applied(tmp_path):
    image = noise(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    (_, upright), = load_pictures(tmp_path)
    np.testing.assert_array_equal(np.asarray(upright), np.rot90(np.asarray(image), -1))


def test_a_palette_with_transparency_reads_without_a_warning(tmp_path, recwarn):
    noise(1)[0].convert("P").save(tmp_path / "p.png", transparency=bytes(range(256)))
    assert len(list(load_pictures(tmp_path))) == 1
    assert not recwarn.list


def test_imagenets_folders_and_files_grey_ones_too():
    source = load_pictures(f"imagenet:{PHOTOS}")
    assert source.folders == ["n02002724_black_stork", "n04254120_soap_dispenser", "n04372370_switch"]
    assert [picture.mode for _, picture in source] == ["RGB"] * 3


def test_the_fingerprint_follows_names_and_bytes_but_not_the_place(folder, tmp_path):
    first = load_pictures(folder).fingerprint
    assert load_pictures(folder).fingerprint == first
    shutil.copytree(folder, tmp_path / "elsewhere" / "other name")
    assert load_pictures(tmp_path / "elsewhere" / "other name").fingerprint == first
    data = bytearray((folder / "z.png").read_bytes())
    data[-20] ^= 1
    (folder / "z.png").write_bytes(data)
    changed = load_pictures(folder).fingerprint
    assert changed != first
    (folder / "z.png").rename(folder / "y.png")
    assert load_pictures(folder).fingerprint not in (first, changed)


def test_nothing_of_a_source_names_its_place(folder):
    source = load_pictures(folder)
    list(source)
    assert str(folder.parent) not in repr((source.name, source.names, source.folders, source.unreadable))


def test_linked_folders_are_followed_once(folder):
    (folder / "b" / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    source = load_pictures(folder)
    assert len(source) == 7
    list(source)
    assert (4, "gone.png", "no such file") in source.unreadable


def test_a_name_that_is_not_utf8_is_escaped(tmp_path):
    noise(1)[0].save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "caf\udce9.png")
    source = load_pictures(tmp_path)
    assert source.names == ["caf\\xe9.png"]
    assert len(list(source)) == 1 and source.fingerprint


def test_a_subset_keeps_ids(folder):
    source = load_pictures(folder)
    part = source.subset([5, 0, 1])
    assert len(part) == 3 and [i for i, _ in part] == [1, 5]
    assert part.unreadable == [(0, "b/cut.jpg", "damaged or truncated")]
    assert part.folders[5] == "mine" and part.fingerprint != source.fingerprint
    with pytest.raises(UserError, match="no picture 6"):
        source.subset([6])


def test_lists_of_pictures_and_paths(folder):
    pictures = noise(3)
    source = load_pictures(pictures)
    assert [i for i, _ in source] == [0, 1, 2] and source.folders == [None] * 3
    assert source.fingerprint == load_pictures(noise(3)).fingerprint != load_pictures(noise(3, seed=1)).fingerprint
    mixed = load_pictures([folder / "z.png", str(folder / "missing.png"), pictures[0]])
    assert [i for i, _ in mixed] == [0, 2] and mixed.unreadable == [(1, "missing.png", "no such file")]
    assert [i for i, _ in load_pictures(folder / "z.png")] == [0]
    assert load_pictures(source) is source


def test_class_folders(tmp_path):
    name = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"
    (tmp_path / "val" / name).mkdir(parents=True)
    noise(1)[0].save(tmp_path / "val" / name / "a.png")
    for root in (tmp_path, tmp_path / "val"):
        source = load_pictures(f"inat2021:{root}")
        assert source.folders == [name] and source.names == [f"{name}/a.png"]
    with pytest.raises(UserError, match="WordNet"):
        load_pictures(f"imagenet:{tmp_path}")
    noise(1)[0].save(tmp_path / "val" / "loose.png")
    with pytest.raises(UserError, match="loose.png"):
        load_pictures(f"inat2021:{tmp_path}")
    (tmp_path / "val" / "loose.png").unlink()
    (tmp_path / "val" / name).rename(tmp_path / "val" / name.rpartition("_")[0])
    with pytest.raises(UserError, match="eight parts"):
        load_pictures(f"inat2021:{tmp_path}")


@pytest.mark.parametrize("source", ["folder:/no/such/place", "/no/such/place", "flickr:birds",
                                    "imagenet:/no/such/place", "imagenet:", "pocket:many", "pocket:0",
                                    "pocket:1:2:3", [], [3], 7])
def test_a_source_that_is_none_is_one_clear_sentence(source):
    with pytest.raises(UserError) as caught:
        load_pictures(source)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / ".only-dots").write_text("")
    with pytest.raises(UserError, match="holds no files"):
        load_pictures(tmp_path)


def test_the_pocket_world_is_a_source():
    source = load_pictures("pocket:5:3")
    assert [i for i, _ in source] == list(range(5)) and len(source.folders) == 5
    assert source.name == "pocket:5:3"
    assert len(load_pictures("pocket")) == 1000
