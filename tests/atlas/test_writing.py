"""The folder: its files as the schema has them, whole or absent, the same bytes again, nothing that could be markup."""

import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from PIL import Image

from vlm_sae_lib import paths
from vlm_sae_lib.atlas import published
from vlm_sae_lib.atlas.measuring import measure
from vlm_sae_lib.atlas.naming import Names
from vlm_sae_lib.atlas.own import own_atlas
from vlm_sae_lib.atlas.pictures import PER_ROW, PER_SHEET, SIDE, Numbered, write_sheets
from vlm_sae_lib.atlas.steering import DOSES, Steered
from vlm_sae_lib.atlas.writing import INDEX, TEXTS, schema, write_data
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, read_json
from vlm_sae_lib.pictures import load_pictures

from .conftest import LATENTS, N, make_sae

HOSTILE = "<script>alert(1)</script>"


def kind_of(path):
    by_name = {INDEX: "index", "tree.json": "tree", TEXTS: "texts"}
    return {"columns": "column", "latents": "latents"}.get(path.parent.name) or by_name[path.name]


def check(folder):
    """Every file against its part of the schema; how many there are of each kind."""
    whole, seen = schema(), {}
    for path in folder.rglob("*.json"):
        if path.name == published.MADE_FROM:
            continue
        kind = kind_of(path)
        jsonschema.validate(read_json(path), {"$ref": f"#/$defs/{kind}", "$defs": whole["$defs"]})
        seen[kind] = seen.get(kind, 0) + 1
    return seen


def steered(latents):
    shares = np.full((len(latents), len(DOSES)), 0.5)
    return Steered(
        latents=np.array(latents), about=("colour",) * len(latents), concept=(HOSTILE,) * len(latents),
        lacking=np.full(len(latents), 9), maximum=np.ones(len(latents)), said=shares, kept=shares,
        random=shares * np.nan, pictures=(5, 7, 9), before=("a", HOSTILE, ""), prompt="what?",
        captions=np.full((len(latents), len(DOSES), 3), HOSTILE, object), fires=np.zeros(LATENTS, dtype=int),
        looked_at=20,
    )  # fmt: skip


def test_all_files_are_as_the_schema_has_them(world, pictures, tmp_path):
    _, activations, embeddings, sae = world
    names = Names((("colour", HOSTILE), ("species", "x")), np.arange(LATENTS) % 3 - 1, np.full(LATENTS, 0.4),
                  np.full(LATENTS, 16), "other pictures")  # fmt: skip
    measured = measure(sae, activations, {"one": embeddings, "two": embeddings}, pictures, key="sae", title=HOSTILE,
                       names=names, steered=steered([0, 4]))  # fmt: skip
    out = tmp_path / "data"
    ids = write_data(out, [measured], "An atlas", sheets=True)
    seen = check(out)
    assert seen["index"] == seen["tree"] == 1 and seen["latents"] == -(-LATENTS // 64) and seen["column"] >= 14
    facts = read_json(out / INDEX)["saes"][0]
    for column in facts["columns"]:
        content = read_json(out / "sae" / "columns" / f"{column['name']}.json")
        assert len(content["values"]) == LATENTS
        if column["kind"] == "word":
            assert min(content["values"]) >= -1 and max(content["values"]) < len(content["words"])
    assert ids[:3] == [5, 7, 9] and len(set(ids)) == len(ids) == read_json(out / INDEX)["pictures"]["number"]
    first, last = read_json(out / "sae" / "latents" / "0000.json"), read_json(out / "sae" / "latents" / "0001.json")
    texts = read_json(out / "sae" / TEXTS)["texts"]
    labels = dict(zip(measured.known.image_ids.tolist(), measured.known.labels, strict=True))
    assert all(texts[place] == labels[image_id] for image_id, place in first["pictures"].values())
    assert first["pictures"] and len(set(texts)) == len(texts)
    told = [texts[place] for latent in first["latents"] for place, *_ in latent["detects"]]
    assert told and set(told) <= {factor.name for factor in measured.known.factors}
    assert (
        [texts[place] for place in first["latents"][4]["steering"]["captions"][0]] == [HOSTILE] * 3
        and first["latents"][4]["steering"]["random"] == [None] * 4
    )
    assert "fires on 0" in first["latents"][1]["steering"]["why"]
    dead = last["latents"][-1]
    assert dead["top"] == dead["detects"] == dead["together"] == [] and dead["histogram"] == {
        "silent": N,
        "first": 0,
        "counts": [],
    }
    assert facts["silent"] == (measured.statistics.firing_count() == 0).sum() >= 1


def test_details_are_those_of_the_statistics(world, pictures, tmp_path):
    _, activations, embeddings, sae = world
    measured = measure(sae, activations, {"one": embeddings}, pictures, key="sae", title="t")
    ids = write_data(tmp_path / "data", [measured], "t", sheets=True)
    code = sae.encode(activations.array()).numpy().astype(np.float64)
    edges = read_json(tmp_path / "data" / INDEX)["edges"]
    for number in (0, 1):
        file = read_json(tmp_path / "data" / "sae" / "latents" / f"{number:04d}.json")
        for place, entry in enumerate(file["latents"]):
            own = code[:, file["first"] + place]
            top = [(ids[p], file["pictures"][str(p)][0]) for p, _ in entry["top"]]
            assert (
                [a for a, _ in top]
                == [b for _, b in top]
                == np.argsort(-own, kind="stable")[: min(16, (own > 0).sum())].tolist()
            )
            shown = entry["histogram"]
            assert shown["silent"] == (own == 0).sum() and sum(shown["counts"]) == (own > 0).sum()
            if shown["counts"]:
                low, high = edges[shown["first"]], edges[shown["first"] + 1]
                assert shown["counts"][0] == ((own >= low) & (own < high)).sum() > 0


def test_one_latent_and_one_that_fires_on_nothing(world, pictures, tmp_path):
    folder, activations, embeddings, _ = world
    for latents, where in ((1, "dead"), (2, "one")):
        out = own_atlas(
            tmp_path / where, make_sae(latents, (latents,)), activations, [embeddings], pictures, name="n", title="t"
        )
        check(out)
        facts = read_json(out / INDEX)["saes"][0]
        assert (
            facts["latents"] == latents
            and facts["silent"] == 1
            and "level" not in [c["name"] for c in facts["columns"]]
        )


def test_the_same_again_gives_the_same_bytes(world, pictures, tmp_path):
    _, activations, embeddings, sae = world
    prints = set()
    for _ in range(2):
        out = own_atlas(tmp_path / "out", sae, activations, [embeddings], pictures, name="n", title="t")
        prints.add(folder_hash(out))
    assert len(prints) == 1 and {p.name for p in out.iterdir()} >= {"index.html", "atlas.js", "sae", "pictures", INDEX}


def test_a_folder_of_something_else_is_left_alone(world, pictures, tmp_path):
    _, activations, embeddings, sae = world
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is no atlas"):
        own_atlas(tmp_path / "mine", sae, activations, [embeddings], pictures, name="n", title="t")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_killed_run_leaves_no_atlas(world, tmp_path):
    folder, *_ = world
    program = """
import os, sys
from vlm_sae_lib.atlas import own
own.write_page = lambda folder: os._exit(9)
from vlm_sae_lib.__main__ import main
main(sys.argv[1:])
"""
    arguments = ["atlas", "--sae", folder / "sae", "--activations", folder / "activations", "--embeddings",
                 folder / "embeddings", "--pictures", f"pocket:{N}:3", "--out", folder / "out"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], env=environment, capture_output=True)
    assert done.returncode == 9 and not (folder / "out").exists()


def test_what_does_not_belong_together_is_told(world, pictures, tmp_path):
    folder, activations, embeddings, sae = world
    others = load_pictures(f"pocket:{N}:4")
    for source, words in ((others, "of other pictures"),):
        with pytest.raises(UserError, match=words):
            own_atlas(tmp_path / "o", sae, activations, [embeddings], source, name="n", title="t")
    with pytest.raises(UserError, match="width 4"):
        own_atlas(tmp_path / "o", sae, embeddings, [embeddings], pictures, name="n", title="t")
    with pytest.raises(UserError, match="give --pictures"):
        own_atlas(tmp_path / "o", sae, activations, [embeddings], None, name="n", title="t", tower="pocket")
    assert not (tmp_path / "o").exists()


def test_without_pictures_there_are_numbers(world, tmp_path):
    _, activations, embeddings, sae = world
    out = own_atlas(tmp_path / "o", sae, activations, [embeddings], name="n", title="t")
    check(out)
    index = read_json(out / INDEX)
    assert not index["pictures"]["sheets"] and not (out / "pictures").exists() and not index["saes"][0]["tree"]
    assert read_json(out / "sae" / "latents" / "0000.json")["latents"][0]["top"]


def test_pictures_without_a_licence_have_tiles_when_published(tmp_path):
    source = load_pictures([Image.new("RGB", (50, 30), (200, 0, 0))] * (PER_SHEET + 1))
    for publish, red in ((False, True), (True, False)):
        write_sheets(tmp_path / str(publish), source, range(PER_SHEET + 1), publish=publish)
        sheets = [Image.open(path) for path in sorted((tmp_path / str(publish)).iterdir())]
        assert [sheet.size for sheet in sheets] == [(PER_ROW * SIDE, PER_ROW * SIDE)] * 2
        r, g, b = sheets[1].getpixel((10, 10))
        assert (r > 150 and g < 60) == red


def test_a_picture_that_has_gone_has_a_tile(tmp_path):
    Image.new("RGB", (40, 40), (0, 0, 200)).save(tmp_path / "a.png")
    source = load_pictures([tmp_path / "a.png"])
    (tmp_path / "a.png").unlink()
    write_sheets(tmp_path / "sheets", source, [0], publish=False)
    r, g, b = Image.open(tmp_path / "sheets" / "0000.webp").getpixel((10, 10))
    assert abs(r - b) < 12 and r > 200


def test_pictures_are_numbered_as_they_are_asked_for():
    numbered = Numbered([7])
    assert [numbered.number(i) for i in (3, 7, 5, 3)] == [1, 0, 2, 1] and numbered.ids == [7, 3, 5]


def test_the_books_atlas_is_as_the_schema_has_it_and_small():
    seen = check(published.folder())
    assert seen["index"] == 1 and seen["tree"] == 5
    assert sum(path.stat().st_size for path in published.folder().rglob("*")) < 4 * 2**20


def test_the_books_atlas_is_not_stale():
    assert published.stale() == []
