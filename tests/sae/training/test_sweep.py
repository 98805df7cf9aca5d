"""A sweep's file: what it names, and what of it cannot be right."""

import numpy as np
import pytest
from stores import make_store

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.sae.training.sweep import grouped, read_sweep

GRID = """
all: {steps: 12, batch_size: 16, expansion: 2}
grid:
  kind: [matryoshka_batch_top_k, batch_top_k]
  k: [2, 4]
  seed: [0, 1]
saes:
  - {kind: relu}
"""


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store", np.random.default_rng(0).standard_normal((60, 6)), np.arange(60))


def written(tmp_path, text):
    (tmp_path / "sweep.yaml").write_text(text)
    return tmp_path / "sweep.yaml"


def test_a_grid_is_crossed_and_each_name_tells_what_differs(tmp_path):
    wanted = read_sweep(written(tmp_path, GRID))
    assert len(wanted) == 9 and len({one.name for one in wanted}) == 9
    assert wanted[0].name == "kind=relu" and wanted[0].config == SaeConfig(
        kind="relu", steps=12, batch_size=16, expansion=2
    )
    assert wanted[-1].name == "kind=batch_top_k,k=4,seed=1"
    assert wanted[-1].config == SaeConfig(kind="batch_top_k", k=4, seed=1, steps=12, batch_size=16, expansion=2)


def test_groups_see_the_same_batches_and_are_no_larger_than_asked(tmp_path):
    groups = grouped(read_sweep(written(tmp_path, GRID)), 3)
    assert sorted(map(len, groups)) == [1, 2, 3, 3]
    assert all(len({(one.config.seed, one.config.batch_size) for one in group}) == 1 for group in groups)


@pytest.mark.parametrize(("text", "words"), [
    ("", "mapping"), ("[1]", "mapping"), ("all: {steps: 3}", "grid or saes"), ("grid: 3", "mapping"),
    ("grid: {k: 3}", "list"), ("grid: {k: []}", "list"), ("grid: {nothing: [1]}", "no setting"),
    ("saes: {k: 3}", "list"), ("saes: [3]", "mapping"), ("saes: [{k: 3}, {k: 3}]", "twice"),
    ("grid: {k: [3, 3]}", "twice"), ("grid: {k: [3], k: [4]}", "twice"), ("grid: {k: [many]}", "whole number"),
    ("all: {k: 3}\nsaes: [{k: 4}]", "twice"), ("wide: {}\ngrid: {k: [1]}", "mapping of"), ("a: b: c", "no YAML"),
    ("grid: {1: [2]}", "mapping"), ("!!python/object/apply:os.getcwd []", "no YAML"), ("\x00", "no YAML"),
    ("grid: {k: &k [1, *k]}", "whole number"),
    ("grid: {k: [1,2,3,4,5,6,7,8,9,10], steps: [1,2,3,4,5,6,7,8,9,10], seed: [1,2,3,4,5,6,7,8,9,10], "
     "batch_size: [1,2,3,4,5,6,7,8,9,10], expansion: [1,2,3,4,5,6,7,8,9,10], warmup: [1, 2]}", "at most"),
])  # fmt: skip
def test_what_cannot_be_right_is_told_in_a_sentence(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as told:
        read_sweep(written(tmp_path, text))
    assert len(str(told.value)) < 900


def test_no_file_and_no_text(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(UserError, match="sweep"):
            read_sweep(path)


def sweep(tmp_path, store, *more):
    arguments = ["train", "--activations", str(store.path), "--out", str(tmp_path / "saes"), "--device", "cpu"]
    return cli.main([*arguments, "--sweep", str(written(tmp_path, GRID)), *more])


def test_each_sae_is_what_it_would_have_been_alone(tmp_path, store, capsys):
    assert sweep(tmp_path, store) == 0
    printed = capsys.readouterr().out
    for one in read_sweep(written(tmp_path, GRID)):
        alone = train_sae(store, one.config, device="cpu")
        assert SparseAutoencoder.load(tmp_path / "saes" / one.name).hash == alone.hash and one.name in printed
    assert not [path for path in (tmp_path / "saes").iterdir() if path.name.startswith(".")]


def test_what_is_there_already_stays(tmp_path, store, monkeypatch):
    assert sweep(tmp_path, store) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "saes").rglob("*")}
    assert sweep(tmp_path, store) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "saes").rglob("*")} == before


def test_an_sae_of_other_data_under_its_name_is_told(tmp_path, store, capsys):
    assert sweep(tmp_path, store) == 0
    other = make_store(tmp_path / "other", np.random.default_rng(1).standard_normal((60, 6)), np.arange(60), "other")
    assert sweep(tmp_path, other) == 2 and "other settings or data" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--k", "3"], ["--set", "lr_decay=0.3"]])
def test_a_setting_beside_the_file_is_told(tmp_path, store, capsys, more):
    assert sweep(tmp_path, store, *more) == 2 and "give it there" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "words"), [
    (["--together", "3"], "give --sweep"), (["--engine", "ray"], "give --workers"),
    (["--workers", "2"], "does nothing"),
])  # fmt: skip
def test_what_only_a_sweep_or_only_ray_reads_is_told(tmp_path, store, capsys, more, words):
    arguments = ["train", "--activations", str(store.path), "--out", str(tmp_path / "sae"), *more]
    assert cli.main(arguments) == 2 and words in capsys.readouterr().err
