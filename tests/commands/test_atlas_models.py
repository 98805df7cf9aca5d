"""The command with models that name and steer: what comes of the pocket's, what it says of those that do not fit."""

import sys

import pytest
import stand_ins
import torch
from PIL import Image

from vlm_sae_lib import paths
from vlm_sae_lib.__main__ import main
from vlm_sae_lib.atlas.writing import INDEX
from vlm_sae_lib.files import read_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.steering.intervention import steered
from vlm_sae_lib.vlms import load_vlm

PICTURES, STEERED = "pocket:40:1", 2
SAES = paths.pocket() / "sae"


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch):
    """nbval imports ipykernel into every test run, which looks like a live notebook to `progress`."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


def collect(pictures, tower, hook_point, out, tokens="cls"):
    assert main(["collect", "--pictures", pictures, "--tower", tower, "--hook-point", hook_point, "--tokens", tokens,
                 "--out", str(out)]) == 0  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores of the island's pictures, by what they hold, and of a few photographs in folders."""
    folder = tmp_path_factory.mktemp("stores")
    for name, tower, hook_point, tokens in (
        ("read", "pocket", "block_4", "all"), ("later", "pocket", "block_5", "cls"),
        ("other", "pocket:second_clip", "block_4", "cls"),
        ("embeddings", "pocket:self_supervised", "projection", "cls"),
    ):  # fmt: skip
        collect(PICTURES, tower, hook_point, folder / name, tokens)
    for name, parts in {"flat": [""], "one": ["finch"], "two": ["finch", "beetle"]}.items():
        for place, part in enumerate(parts):
            (folder / name / part).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (64, 64), (40 * i, 90 * place, 200)).save(folder / name / part / f"{i}.png")
        for kind, tower, hook_point in (("read", "pocket", "block_4"), ("embeddings", "pocket", "projection")):
            collect(f"folder:{folder / name}", tower, hook_point, folder / f"{name}_{kind}")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    stand_ins.clip(2)(folder := tmp_path_factory.mktemp("clip"))
    return f"hf:{folder}"


def atlas(stores, out, *more, sae="steering", activations="read", embeddings="embeddings", pictures=PICTURES):
    return main(["atlas", "--sae", str(SAES / sae), "--activations", str(stores / activations), "--embeddings",
                 str(stores / embeddings), "--pictures", pictures, "--out", str(out), *more])  # fmt: skip


def test_the_pockets_models_name_and_steer(stores, tmp_path):
    assert atlas(stores, tmp_path / "out", "--vlm", "pocket", "--names", "pocket", "--steer", str(STEERED)) == 0
    facts = read_json(tmp_path / "out" / INDEX)["saes"][0]
    steering, details = facts["steering"], tmp_path / "out" / "sae" / "latents"
    assert steering["tried"] == STEERED and {"name", "says", "keeps"} <= {one["name"] for one in facts["columns"]}
    found = {part["first"] + i: one["steering"] for part in map(read_json, sorted(details.iterdir()))
             for i, one in enumerate(part["latents"]) if "captions" in (one.get("steering") or {})}  # fmt: skip
    assert len(found) == STEERED
    vlm, sae = load_vlm("pocket", device="cpu"), SparseAutoencoder.load(SAES / "steering")
    source = load_pictures(PICTURES)
    with steered(vlm, sae, {}):
        own = [vlm.answer(picture, steering["prompt"], max_new_tokens=16) for _, picture in source]
    assert set(steering["before"]) <= set(own) and len(steering["before"]) == 3
    words = read_json(tmp_path / "out" / "sae" / "columns" / "name.json")["words"]
    assert set(words) & {"cave", "sea", "meadow", "forest", "red", "fish", "bird", "animal", "plant"}


def test_a_clip_of_its_own_words_chooses_among_what_is_known(stores, tmp_path, clip):
    more = dict(activations="two_read", embeddings="two_embeddings", pictures=f"folder:{stores / 'two'}")
    assert atlas(stores, tmp_path / "out", "--names", clip, **more) == 0
    assert set(read_json(tmp_path / "out" / "sae" / "columns" / "name.json")["words"]) <= {"finch", "beetle"}


def of_photographs(stores, name):
    return {"activations": f"{name}_read", "embeddings": f"{name}_embeddings", "pictures": f"folder:{stores / name}"}


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        (("--names", "{file}"), {}, "Unknown tower"),
        (("--names", "hf:{empty}"), {}, "empty"),
        (("--names", "vlm:pocket"), {}, "no text half"),
        (("--names", "pocket:self_supervised"), {}, "give --names pocket"),
        (("--names", "pocket:second_clip"), {}, "give --names pocket"),
        (("--names", "pocket:random:1"), {}, "give --names pocket"),
        (("--names", "{clip}"), "flat", "no words to choose names from"),
        (("--names", "{clip}"), "one", "no words to choose names from"),
        (("--vlm", "{file}"), {}, "no vision-language model"),
        (("--vlm", "hf:{empty}"), {}, "no config.json"),
        (("--vlm", "{clip}"), {}, "clip"),
        (("--vlm", "pocket@nowhere"), {}, "no island 'nowhere'"),
        (("--vlm", "pocket"), {"sae": "main_matryoshka", "activations": "later"}, "is steered at block_4"),
        (("--vlm", "pocket"), {"activations": "other"}, "not the tower of pocket"),
        (("--vlm", "pocket"), "flat", "nothing to steer towards"),
        (("--vlm", "pocket"), "two", "more than 12 pictures"),
        (("--vlm", "pocket", "--steer", "0"), {}, "--steer"),
    ],
)
def test_a_model_that_does_not_fit_is_told_in_one_line(stores, tmp_path, clip, capsys, options, changes, words):
    (tmp_path / "file.txt").write_text("no model")
    (tmp_path / "empty").mkdir()
    options = [one.format(file=tmp_path / "file.txt", empty=tmp_path / "empty", clip=clip) for one in options]
    changes = of_photographs(stores, changes) if isinstance(changes, str) else changes
    try:
        code = atlas(stores, tmp_path / "out", *options, **changes)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and len(error.splitlines()) == 1 and words in error, error
    assert not (tmp_path / "out").exists()


def test_a_store_that_was_rounded_is_still_of_its_tower(stores):
    """Another library's preparation of a picture moves an activation by some percent."""
    from vlm_sae_lib.activations.store import ActivationStore
    from vlm_sae_lib.atlas.own import check_place

    class Moved:
        def __init__(self, store):
            self.store, self.metadata, self.dim, self.image_ids = store, store.metadata, store.dim, store.image_ids

        def __getitem__(self, rows):
            found = self.store[rows]
            noise = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
            return found + 0.2 * found.norm(dim=1, keepdim=True) * noise / noise.norm(dim=1, keepdim=True)

    moved = Moved(ActivationStore.open(stores / "read"))
    check_place(load_vlm("pocket", device="cpu"), "pocket", moved, load_pictures(PICTURES))
