"""``make islands`` in small: an island's models are made once, open like the published ones, and leave a record."""

import pytest

from vlm_sae_lib import load_tower
from vlm_sae_lib.files import read_json
from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.islands import ISLANDS
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.pretraining import exam, islands
from vlm_sae_lib.pretraining import train as home
from vlm_sae_lib.steering.words import dictionary
from vlm_sae_lib.vlms import load_vlm


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two steps of each training of an island that has all models, narrow as another one is."""
    folder = tmp_path_factory.mktemp("islands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLM_SAE_RUNS", str(folder / "runs"))
        patch.setattr(islands, "RECORDS", folder / "records")
        patch.setattr(home, "PICTURES", 300)
        patch.setattr(islands, "SETTINGS", {name: {**own, "steps": 2} for name, own in islands.SETTINGS.items()})
        patch.setattr(islands, "pocket_pictures", lambda n, seed, island: pocket_pictures(min(n, 20), seed, island))
        examine = exam.examine_llava
        patch.setattr(exam, "examine_llava", lambda pictures: examine(pictures.subset(range(4)), 2))
        yield folder


def test_every_model_of_an_island_is_made_once_and_opens(small, capsys):
    island = ISLANDS["atoll"]
    islands.main(["atoll"])
    assert capsys.readouterr().err.count("…") == 4
    islands.main(["atoll"])
    assert "…" not in capsys.readouterr().err, "what is there is not made again"
    tower = load_tower("pocket@atoll")
    assert tower.activations(pocket_pictures(2, 1, island).images, "projection").shape == (2, island.width)
    assert tower.weights_hash != load_tower("pocket").weights_hash and load_tower("pocket@atoll:self_supervised")
    assert load_vlm("pocket@atoll").answers(pocket_pictures(1, 1, island).images, ["which order is it?"])
    words, vectors = dictionary(("order",), island)
    assert [word for _, word in words] == list(tree.names("order", island)) and len(vectors) == len(words)


def test_its_record_says_what_it_was_made_from(small):
    island = ISLANDS["atoll"]
    found = read_json(islands.record(island))
    assert found["island"] == {**island.as_dict(), "trains": list(island.trains)}
    assert set(found["models"]) == set(island.trains)
    assert found["seeds"]["clip"] == home.CLIP["seed"] + 2 * islands.APART and found["seeds"]["pictures"] == home.SEED
    assert all(len(hash) == 64 for model in found["models"].values() for hash in model["weights"].values())
    assert len({seed for each in ISLANDS.values() for seed in islands.seeds(each).values()}) == 4 * len(ISLANDS) + 2


def test_an_island_that_does_not_exist(capsys):
    with pytest.raises(SystemExit) as stopped:
        islands.main(["atlantis"])
    assert stopped.value.code == 2 and "there is no island 'atlantis'; the islands are twin" in capsys.readouterr().err
