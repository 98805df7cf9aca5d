"""The reader of the published user study, on tiny archives of the same layout."""

import tarfile

import numpy as np
import oracles
import pandas as pd
import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.scores.human_benchmark import HumanBenchmark

NEURONS, PICTURES = 6, 9


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(3)
    activations = np.maximum(rng.standard_normal((NEURONS, PICTURES)), 0).round(3)
    embeddings = {name: rng.standard_normal((PICTURES, 5)) for name in ("dino", "clip")}
    names = [f"n{i}" for i in range(NEURONS)]
    pairs = pd.DataFrame(
        {"k_x": names[:4] + ["n0"], "k_y": names[1:5] + ["n5"], "R_user": ["x", "y", "x", "x", "y"]}
    ).assign(
        MS_x_dino=[0.9, 0.2, 0.5, 0.4, 0.3], MS_y_dino=[0.1, 0.3, 0.5, 0.41, 0.6],
        MS_x_clip=[0.6, 0.4, 0.5, 0.5, 0.3], MS_y_clip=[0.4, 0.5, 0.45, 0.5, 0.6],
    )  # fmt: skip
    top = pd.DataFrame({"k": names} | {f"x_{i}": [f"n0/{k}_{i}" for k in names] for i in range(1, 17)})
    codes = pd.DataFrame({"k": names} | {f"a_{i + 1}": activations[:, i] for i in range(PICTURES)})
    return {"pairs": pairs, "top16_images": top, "activations": codes}, activations, embeddings


def write(folder, tables):
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def pack(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.iterdir(), reverse=True):
            archive.add(file, f"metric_benchmark/{file.name}")
    return path


@pytest.fixture(params=["folder", "nested folder", "archive"])
def path(request, tmp_path, tables):
    if request.param == "nested folder":
        return write(tmp_path / "outer" / "metric_benchmark", tables[0]).parent
    folder = write(tmp_path / "metric_benchmark", tables[0])
    return folder if request.param == "folder" else pack(folder, tmp_path / "metric_benchmark.tar.gz")


def test_counts_as_by_hand(path):
    table = HumanBenchmark(path).alignment().set_index(["binned_by", "encoder", "bin_low"])
    # differences under dino: .8 (x right), .1 (y right), 0 (a tie: second, wrong), .01 (second, wrong), .3 (right)
    aligned = table.sort_index().loc[("dino", "dino"), ["pairs", "aligned"]]
    assert aligned.to_dict("index") == {
        0.0: {"pairs": 2, "aligned": 0}, 0.1: {"pairs": 1, "aligned": 1}, 0.3: {"pairs": 1, "aligned": 1},
        0.8: {"pairs": 1, "aligned": 1},
    }  # fmt: skip
    # the same bins, clip's choice: third pair now right, fourth a tie
    assert table.loc[("dino", "clip", 0.0), "aligned"] == 1
    assert table.loc[("dino", "dino", 0.8), "low"] < 1 <= table.loc[("dino", "dino", 0.8), "high"]
    assert HumanBenchmark(path).ties() == {"dino": 1, "clip": 1}


def test_recomputes_ms_by_the_slow_definition(path, tables):
    _, activations, embeddings = tables
    benchmark = HumanBenchmark(path)
    scores = benchmark.scores(embeddings["dino"])
    for k in range(NEURONS):
        assert scores[f"n{k}"] == pytest.approx(oracles.monosemanticity(activations[k], embeddings["dino"]), abs=1e-12)
    again = benchmark.rescored(embeddings)
    assert again["MS_y_dino"].tolist() == scores.loc[again["k_y"]].tolist()
    assert len(benchmark.alignment(again)) >= 4 and benchmark.pairs["MS_x_dino"].tolist() == [0.9, 0.2, 0.5, 0.4, 0.3]


def test_top_pictures_come_by_neuron(path):
    top = HumanBenchmark(path).top_images()
    assert top.shape == (NEURONS, 16) and top.loc["n3", "x_16"] == "n0/n3_16"


@pytest.mark.parametrize(
    ("said", "first", "expected"),
    [
        (["1", "2", "1", "1", "2"], None, [1, 0, 1, 1, 0]),
        (["n0", "n2", "n2", "n3", "n5"], None, [1, 0, 1, 1, 0]),
        (["0", "1", "0", "0", "1"], 0, [1, 0, 1, 1, 0]),
        (["0", "1", "0", "0", "1"], 1, [0, 1, 0, 0, 1]),
    ],
)
def test_preferences_in_several_spellings(tmp_path, tables, said, first, expected):
    pairs = tables[0]["pairs"].assign(R_user=said)
    folder = write(tmp_path / "b", {**tables[0], "pairs": pairs})
    assert HumanBenchmark(folder, first=first).user_first.tolist() == [bool(one) for one in expected]


def test_mistakes_are_one_sentence(tmp_path, tables):
    with pytest.raises(UserError, match="give the metric_benchmark archive"):
        HumanBenchmark(tmp_path / "nothing.tar.gz")
    folder = write(tmp_path / "b", tables[0])
    with pytest.raises(UserError, match="9 pictures, but there are 8"):
        HumanBenchmark(folder).scores(np.ones((8, 2)))
    (folder / "activations.csv").unlink()
    with pytest.raises(UserError, match="b holds no activations.csv"):
        HumanBenchmark(folder).scores(np.ones((9, 2)))
    with pytest.raises(UserError, match="holds no activations.csv"):
        HumanBenchmark(pack(folder, tmp_path / "b.tar.gz")).scores(np.ones((9, 2)))
    write(folder, {"pairs": tables[0]["pairs"].drop(columns="R_user")})
    with pytest.raises(UserError, match="pairs.csv in b has no column R_user"):
        HumanBenchmark(folder)
    write(folder, {"pairs": tables[0]["pairs"].assign(MS_x_clip="high")})
    with pytest.raises(UserError, match="MS_x_clip of pairs.csv in b holds something that is no number"):
        HumanBenchmark(folder)
    write(folder, {"pairs": tables[0]["pairs"].assign(R_user=["0", "1", "0", "0", "1"])})
    with pytest.raises(UserError, match="R_user holds 0, 1; say which"):
        HumanBenchmark(folder)
    (folder / "pairs.csv").write_text("")
    with pytest.raises(UserError, match="cannot be read"):
        HumanBenchmark(folder)
    write(folder, {"activations": tables[0]["activations"].iloc[:3], "pairs": tables[0]["pairs"]})
    with pytest.raises(UserError, match="Neuron n3 of pairs.csv has no row"):
        HumanBenchmark(folder).rescored({"dino": np.eye(9)})


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_archive_is_one_sentence(tmp_path, tables, kept):
    path = pack(write(tmp_path / "b", tables[0]), tmp_path / "b.tar.gz")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(UserError, match=r"b\.tar\.gz (cannot be read|holds no)|in b.tar.gz cannot be read"):
        HumanBenchmark(path).scores(np.eye(9))


def test_a_hostile_archive_writes_nothing_and_links_are_not_followed(tmp_path, tables):
    folder = write(tmp_path / "b", tables[0])
    secret = write(tmp_path / "secret", {"pairs": tables[0]["pairs"]}) / "pairs.csv"
    path = tmp_path / "h.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("metric_benchmark/pairs.csv")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
        archive.add(folder / "top16_images.csv", "../../top16_images.csv")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"h.tar.gz holds no pairs.csv"):
        HumanBenchmark(path)
    assert sorted(tmp_path.rglob("*")) == before
