"""ImageNet's classes in WordNet's tree, and how they got into the repository."""

import pytest
from timm.data import ImageNetInfo

from vlm_sae_lib import paths, wordnet
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.wordnet import extract

MINI = """\
  1 This software and database is being provided to you, the LICENSEE, by
00000042 03 n 01 entity 0 001 ~ 00000100 n 0000 | that which is perceived
00000100 05 n 02 bird 0 wading_bird 0 003 @ 00000042 n 0000 %p 00000042 n 0000 ~ 00000200 n 0000 | warm-blooded @ eggs
00000200 05 n 01 Nipper 0 003 @i 00000100 n 0000 @ 00000042 n 0000 + 00000300 v 0101 | an instance | of a bird
00000300 05 n 01 stone 0 001 @ 00000042 n 0000 | not wanted
"""


def test_the_classes_are_imagenet_s_thousand_and_each_leads_up_to_entity():
    assert wordnet.classes() == tuple(sorted(ImageNetInfo("imagenet-1k").label_names()))
    known = wordnet.synsets()
    for wnid in wordnet.classes():
        above = wordnet.ancestors(wnid)
        assert wnid in above and "n00001740" in above and above <= set(known)
    assert known["n00001740"].lemmas == ("entity",)
    reached = set().union(*map(wordnet.ancestors, wordnet.classes()))
    assert reached == set(known)  # and nothing else travels with them


def test_names_are_those_that_timm_has_where_it_has_them():
    theirs = ImageNetInfo("imagenet-22k").label_descriptions(as_dict=True)
    differ = {w for w in wordnet.classes() if ", ".join(wordnet.synsets()[w].lemmas) != theirs.get(w)}
    assert differ <= {"n04399382"} and wordnet.titles()["n04399382"] == "teddy"  # of which timm's list knows nothing


@pytest.mark.parametrize(
    "wnid, kinds",
    [
        ("n02002724", ["stork", "wading bird", "aquatic bird", "bird", "vertebrate", "animal"]),
        ("n02099601", ["retriever", "hunting dog", "dog", "canine", "carnivore", "mammal"]),
        ("n04254120", ["dispenser", "container", "artifact"]),
    ],
)
def test_a_class_is_a_kind_of(wnid, kinds):
    lemmas = {lemma for above in wordnet.ancestors(wnid) for lemma in wordnet.synsets()[above].lemmas}
    assert set(kinds) <= lemmas
    assert all(wnid in wordnet.kinds()[kind] for kind in kinds)
    assert wnid not in wordnet.kinds()["fish"]


def test_no_two_classes_have_the_same_name():
    titles = wordnet.titles()
    assert len(set(titles.values())) == len(titles) == 1000
    assert {titles["n02012849"], titles["n03126707"]} == {"crane (wading bird)", "crane (lifting device)"}
    assert titles["n02002724"] == "black stork"


def test_the_extract_is_made_from_wordnet_s_own_format(tmp_path):
    (tmp_path / "data.noun").write_text(MINI)
    found = extract.with_ancestors(["n00000200"], extract.read_nouns(tmp_path / "data.noun"))
    assert list(found) == ["n00000042", "n00000100", "n00000200"]
    assert found["n00000200"] == wordnet.Synset(("Nipper",), ("n00000100", "n00000042"))
    assert extract.as_csv(found).splitlines()[1:3] == ["n00000042,entity,", 'n00000100,"bird, wading bird",n00000042']
    with pytest.raises(UserError, match="WordNet 3.0"):
        extract.with_ancestors(["n00000043"], found)


def test_the_file_is_small_what_extract_writes_and_under_its_licence():
    file = paths.wordnet() / "nouns.csv"
    assert file.stat().st_size < 200_000 and file.read_text() == extract.as_csv(dict(wordnet.synsets()))
    assert "Copyright 2006 by Princeton University" in (paths.wordnet() / "LICENSE").read_text()
