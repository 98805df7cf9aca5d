"""On what terms pictures come: every source says it, every picture carries it, and silence is no permission."""

from functools import partial

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vlm_sae_lib.pictures import load_pictures, sample
from vlm_sae_lib.pictures.reading import square
from vlm_sae_lib.pocket.world import blank, pocket_pictures
from vlm_sae_lib.profiles import PROFILES
from vlm_sae_lib.show.world import portrait, tree
from vlm_sae_lib.terms import IMAGENET, INAT2021, KEY, POCKET, UNKNOWN, Credit, credit_of, credited, terms_of

TAXON = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"


def folder_of(root, name: str) -> str:
    (root / name).mkdir()
    Image.new("RGB", (8, 8), "red").save(root / name / "a.jpg")
    Image.new("RGB", (8, 8), "blue").save(root / name / "b.png")
    return str(root)


@pytest.mark.parametrize(
    ("kind", "folder", "terms"),
    [("inat2021", TAXON, INAT2021), ("imagenet", "n01440764", IMAGENET), ("folder", TAXON, UNKNOWN)],
)
def test_each_picture_of_a_folder_carries_the_terms_of_its_source(tmp_path, kind, folder, terms):
    spec = f"{kind}:{folder_of(tmp_path, folder)}"
    source = load_pictures(spec)
    assert source.terms is terms_of(spec) is terms
    expected = [Credit(terms, i, folder) for i in (0, 1)]
    assert [credit_of(picture) for _, picture in source] == expected
    assert [credit_of(made) for _, made in source.iterate(transform=partial(square, size=4), workers=2)] == expected
    assert credit_of(source.picture(1)) == credit_of(source.subset([1]).picture(1, 4)) == expected[1]
    small = source.picture(0).convert("L").resize((3, 3)).crop((0, 0, 2, 2)).copy()
    assert credit_of(small) == expected[0], "a copy of a picture is under its terms"


def test_what_a_transform_makes_need_be_no_picture(tmp_path):
    source = load_pictures(folder_of(tmp_path, "any"))
    assert [array.shape for _, array in source.iterate(transform=np.asarray)] == [(8, 8, 3)] * 2


def test_the_pocket_worlds_pictures_are_our_own():
    source = pocket_pictures(3, 0)
    pictures = [*source.images, source.picture(1, 128), blank(), portrait(tree.all_species()[0])]
    assert source.terms is POCKET and all(credit_of(picture).terms is POCKET for picture in pictures)
    assert [credit_of(picture).terms for _, picture in load_pictures(source.images)] == [POCKET] * 3


def test_a_picture_of_which_nothing_is_said_may_not_be_published(tmp_path):
    for terms in (INAT2021, IMAGENET, UNKNOWN):
        assert not terms.may_be_published
    assert credit_of(Image.new("RGB", (2, 2))) == credit_of(np.zeros((2, 2, 3))) == Credit(UNKNOWN)
    assert [credit_of(p).terms for _, p in load_pictures([Image.new("RGB", (2, 2))])] == [UNKNOWN]
    for spec in ("hf-datasets:a/b:train:3", "folder:pocket", "/somewhere/inat2021", "pocket_world:3"):
        assert terms_of(spec) is UNKNOWN


def test_a_file_cannot_promise_in_its_own_metadata_that_it_may_be_published(tmp_path):
    promise = PngInfo()
    promise.add_text(KEY, "pocket")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=promise)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info[KEY] == "pocket" and credit_of(opened) == Credit()
    assert credit_of(load_pictures(tmp_path).picture(0)).terms is UNKNOWN


def test_terms_are_not_written_into_files(tmp_path):
    picture = credited(Image.new("RGB", (4, 4)), Credit(POCKET))
    for kind in ("png", "jpeg", "gif", "tiff", "webp"):
        picture.save(tmp_path / f"a.{kind}")
        with Image.open(tmp_path / f"a.{kind}") as opened:
            assert credit_of(opened) == Credit()


def test_only_the_pocket_profile_looks_at_pictures_that_may_be_published():
    allowed = {name for name, profile in PROFILES.items() if terms_of(profile.test_pictures).may_be_published}
    assert allowed == {"pocket"}


def test_the_terms_of_inaturalist_are_quoted_where_its_pictures_lie():
    words = "You will NOT distribute the dataset images"
    assert words in INAT2021.sentence and words in " ".join(sample.LICENCE.split())
    assert INAT2021.url.startswith("https://github.com/visipedia/inat_comp")
