"""Results files and the paper's numbers."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.records.results import FIELDS, Results, json_value, published, published_source, published_table


@pytest.fixture
def runs(monkeypatch, tmp_path):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def example():
    results = Results("03_monosemanticity_score", "pocket")
    results.input("sae", "abc")
    results.add("ms_raw", np.float64(0.1), interval=(np.float32(0.0), 0.2), interval_kind="bootstrap over neurons")
    results.add("ms_sae", torch.tensor(0.5), n=np.int64(7), seeds=[0, 1], controls={"raw": "ms_raw"}, paper_value=0.23)
    results.add(
        "curve", np.array([1.0, np.nan]), unit="cosine", split="held out", verdict="rises", source="v3 Table A2"
    )
    return results


def test_the_file_has_the_agreed_shape(runs):
    path = example().write()
    assert path == runs / "pocket" / "results" / "03_monosemanticity_score.json"
    content = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert content["schema"] == 1 and content["profile"] == "pocket" and content["inputs"] == {"sae": "abc"}
    assert all(tuple(sorted(row)) == tuple(sorted(FIELDS)) for row in content["results"].values())
    raw, sae, curve = (content["results"][name] for name in ("ms_raw", "ms_sae", "curve"))
    assert (raw["value"], raw["ci_low"], raw["ci_high"], raw["interval"]) == (0.1, 0.0, 0.2, "bootstrap over neurons")
    assert (sae["value"], sae["n"], sae["controls"], sae["paper_value"]) == (0.5, 7, {"raw": "ms_raw"}, 0.23)
    assert sae["ci_low"] is None and sae["interval"] is None and raw["controls"] == {}
    assert curve["value"] == [1.0, None]


def test_reading_gives_back_what_was_written_and_two_runs_the_same_bytes(runs):
    first = example().write().read_bytes()
    path = example().write()
    assert path.read_bytes() == first
    again = Results.read(path)
    assert again.as_dict() == example().as_dict() and again.value("ms_sae") == 0.5
    assert again.write().read_bytes() == first


def test_a_control_must_name_a_result(runs):
    results = Results("x", "pocket")
    results.add("a", 1.0, controls={"chance": "b"})
    with pytest.raises(UserError, match="'chance' of 'a' names 'b'"):
        results.write()
    assert not results.path.exists()
    results.add("b", 0.5)
    results.write()


def test_careless_results_are_refused():
    results = example()
    with pytest.raises(UserError, match="already a result 'ms_raw'"):
        results.add("ms_raw", 1)
    with pytest.raises(UserError, match="needs an interval_kind"):
        results.add("x", 1, interval=(0, 2))
    with pytest.raises(UserError, match="runs from 2 down to 0"):
        results.add("x", 1, interval=(2, 0), interval_kind="wilson")
    with pytest.raises(UserError, match="two different hashes"):
        results.input("sae", "other")
    with pytest.raises(UserError, match="cannot hold a set"):
        results.add("x", {1, 2})
    with pytest.raises(UserError, match="no result 'y'"):
        results.value("y")
    results.add("undefined", math.nan, interval=(math.nan, math.inf), interval_kind="bootstrap")
    assert results.results["undefined"]["ci_low"] is None and results.value("undefined") is None


def test_unreadable_files_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="run the notebook 01_x first"):
        Results.read(tmp_path / "01_x.json")
    for text, words in (("{", "no results file"), ("[]", "no results file"), ('{"profile": "p"}', "no results file")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UserError, match=words):
            Results.read(tmp_path / "bad.json")
    (tmp_path / "old.json").write_text('{"schema": 0, "profile": "p", "inputs": {}, "results": {}}')
    with pytest.raises(UserError, match="has schema 0, not 1"):
        Results.read(tmp_path / "old.json")


def test_json_values():
    assert json_value({"a": (np.bool_(True), -math.inf, None, "x", [np.int8(3)])}) == {
        "a": [True, None, None, "x", [3]]
    }


DINO = "DINOv2 ViT-B"
MATRYOSHKA = {"layer": "last", "sae": "matryoshka_batch_top_k"}


@pytest.mark.parametrize(
    ("value", "table", "where"),
    [
        (0.23, "monosemanticity", {**MATRYOSHKA, "expansion": 4, "scoring_encoder": DINO, "statistic": "mean"}),
        (0.0135, "monosemanticity", {"layer": "last", "sae": "none", "scoring_encoder": DINO, "statistic": "mean"}),
        (78.2, "reconstruction", {**MATRYOSHKA, "expansion": 64, "statistic": "r2_percent"}),
        (0.37, "sparsity", {"k": 1, "scoring_encoder": DINO, "statistic": "mean"}),
        (75368503, "uniqueness", {"statistic": "pairs"}),
        (4.06, "hierarchy", {"level": 4, "statistic": "lca_depth"}),
        (0.259, "steering_similarity", {"condition": "steered", "images": "white", "statistic": "mean"}),
        (42.4, "steering_judged", {"task": "insertion", "criterion": "both", "method": "sae"}),
        (1.0, "user_study", {"binned_by": DINO, "bin_low": 0.8, "statistic": "alignment", "scoring_encoder": DINO}),
    ],
)  # fmt: skip
def test_published_numbers(value, table, where):
    if table == "monosemanticity":
        where = {"model": "CLIP ViT-L", **where}
    assert published(table, **where) == value
    assert published_source(table, **where)


def test_every_published_table_is_tidy_and_described():
    files = sorted(paths.published().glob("*.csv"))
    readme = (paths.published() / "README.md").read_text()
    assert len(files) == 10
    for file in files:
        table = published_table(file.stem)
        facts = [column for column in table if column not in ("value", "source")]
        assert f"`{file.name}`" in readme
        assert not table.duplicated(facts).any() and table["value"].notna().all()
        assert pd.api.types.is_numeric_dtype(table["value"]) and (table["source"] != "").all()


def test_published_tables_agree_with_each_other():
    """The same experiment stands in several of the paper's tables."""
    for encoder in ("DINOv2 ViT-B", "CLIP ViT-B"):
        row = {**MATRYOSHKA, "model": "CLIP ViT-L", "expansion": 1, "scoring_encoder": encoder}
        for statistic in ("mean", "std", "best", "worst"):
            swept = published("sparsity", k=20, scoring_encoder=encoder, statistic=statistic)
            assert published("monosemanticity", **row, statistic=statistic) == swept
    assert published("sparsity", k=20, statistic="r2_percent") == published(
        "reconstruction", **MATRYOSHKA, expansion=1, statistic="r2_percent"
    )
    kept = published("uniqueness", statistic="neurons_kept")
    assert kept == published("uniqueness", statistic="neurons") - published("uniqueness", statistic="neurons_dropped")
    assert kept * (kept - 1) / 2 == published("uniqueness", statistic="pairs")
    sizes = [published("hierarchy", level=level, statistic="group_size") for level in range(5)]
    prefixes = [published("hierarchy", level=level, statistic="prefix") for level in range(5)]
    assert np.cumsum(sizes).tolist() == prefixes
    study = published_table("user_study")
    for encoder in ("DINOv2 ViT-B", "CLIP ViT-B"):
        binned = study[(study["binned_by"] == encoder) & (study["statistic"] == "pairs")]
        assert binned["value"].sum() == published("user_study", binned_by="", statistic="pairs") == 1000


def test_a_vague_question_to_a_table_says_what_is_missing():
    with pytest.raises(UserError, match="no published table 'nothing'; there are hierarchy, monoloss, monosemanticity"):
        published("nothing")
    with pytest.raises(UserError, match="no column 'depth'; it has level"):
        published("hierarchy", depth=3)
    with pytest.raises(UserError, match="there level is 0, 1, 2, 3, 4"):
        published("hierarchy", level=9)
    with pytest.raises(UserError, match=r"45 rows .* choose also level \(0, 1, 2, 3, 4\)"):
        published("hierarchy")
