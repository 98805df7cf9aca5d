"""The stages on Ray's workers give what they give here. Needs Ray, and says so where it is not installed."""

import numpy as np
import pytest
from stores import make_store

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.cluster.connection import connected
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, read_json
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.statistics.gather import gather_statistics
from vlm_sae_lib.taking_turns import in_turn

pytest.importorskip("ray", reason="Ray is not installed: make cluster")

SWEEP = """
all: {steps: 15, batch_size: 32, expansion: 2}
grid: {kind: [matryoshka_batch_top_k, batch_top_k, top_k], k: [2, 4], seed: [0, 1]}
"""


@pytest.fixture(scope="module")
def ray():
    with connected(num_cpus=2) as ray:
        yield ray


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """130 pictures in a folder, of which four cannot be read."""
    from vlm_sae_lib.pocket.world import pocket_pictures

    root = tmp_path_factory.mktemp("photos")
    for image_id, picture in pocket_pictures(130, 1):
        picture.save(root / f"{image_id:04d}.png")
    for bad in (31, 40, 63, 129):
        (root / f"{bad:04d}.png").write_bytes(b"")
    return root


def collect(photos, out, *more):
    arguments = ["collect", "--pictures", f"folder:{photos}", "--tower", "pocket", "--hook-point", "block_4"]
    return cli.main([*arguments, "--batch-size", "16", "--device", "cpu", "--out", str(out), *more])


def test_the_store_is_the_local_one_byte_for_byte(ray, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("vlm_sae_lib.activations.collect.PICTURES_PER_SHARD", 32)
    assert collect(photos, tmp_path / "here") == 0
    shards = read_json(tmp_path / "here" / "metadata.json")["shards"]
    assert len(shards) == 5
    from vlm_sae_lib.cluster.collecting import collect as on_ray

    store = on_ray("pocket", f"folder:{photos}", "block_4", tmp_path / "ray", batch_size=16, device="cpu",
                   pictures_per_shard=32)  # fmt: skip
    assert folder_hash(store.path) == folder_hash(tmp_path / "here") and len(store.metadata["unreadable"]) == 4
    assert sorted(path.name for path in (store.path / "shards").iterdir()) == [shard["file"] for shard in shards]


@pytest.mark.long
def test_the_command_collects_by_ray_and_goes_on_with_what_is_there(ray, photos, tmp_path, capsys):
    assert collect(photos, tmp_path / "ray", "--engine", "ray") == 0
    assert collect(photos, tmp_path / "here") == 0
    assert folder_hash(tmp_path / "ray") == folder_hash(tmp_path / "here")
    assert "4 of 130 pictures could not be read" in capsys.readouterr().err
    shard = next((tmp_path / "ray" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert collect(photos, tmp_path / "ray", "--engine", "ray") == 0 and "made anew" in capsys.readouterr().err
    assert folder_hash(tmp_path / "ray") == folder_hash(tmp_path / "here")


def test_what_cannot_be_is_told_before_any_work(ray, photos, tmp_path, capsys):
    assert collect(photos, tmp_path / "store", "--engine", "ray", "--gpus", "1") == 2
    assert "the cluster has 0" in capsys.readouterr().err
    assert collect(photos, photos / "store", "--engine", "ray") == 2
    assert "among the pictures" in capsys.readouterr().err and not (photos / "store").exists()


def test_what_a_worker_finds_wrong_is_one_sentence(ray, photos, tmp_path, capsys):
    assert cli.main(["collect", "--pictures", f"folder:{photos}", "--tower", "pocket", "--hook-point", "block_99",
                     "--out", str(tmp_path / "store"), "--engine", "ray"]) == 2  # fmt: skip
    told = capsys.readouterr().err
    assert "block_99" in told and told.count("\n") == 1 and not (tmp_path / "store").exists()


@pytest.mark.long
def test_without_a_readable_picture_nothing_is_left(ray, tmp_path, capsys):
    empty = tmp_path / "pictures"
    empty.mkdir()
    for i in range(3):
        (empty / f"{i}.png").write_bytes(b"")
    assert collect(empty, tmp_path / "store", "--engine", "ray") == 2
    told = capsys.readouterr().err
    assert "None of the 3 pictures" in told and told.count("\n") == 1 and not (tmp_path / "store").exists()


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    ids = np.repeat(np.arange(900), 2)
    make_store(folder / "activations", draw.standard_normal((1800, 6)), ids, cuts=(700,))
    make_store(folder / "embeddings", draw.standard_normal((880, 5)), np.arange(20, 900), cuts=(400,))
    return ActivationStore.open(folder / "activations"), ActivationStore.open(folder / "embeddings")


@pytest.mark.parametrize("pictures", [37, 250, 5000])
@pytest.mark.parametrize("encoded", [True, False])
def test_counts_are_the_local_ones_and_scores_to_1e_12(ray, two_stores, pictures, encoded):
    from vlm_sae_lib.cluster.counting import gather

    sae = SparseAutoencoder.load(two_stores[0].path.parent / "sae") if encoded else None
    here = gather_statistics(*two_stores, sae, keep=True)
    there = gather(*two_stores, sae, keep=True, pictures=pictures)
    ours, theirs = here.statistics, there.statistics
    for name in ("firing_count", "above_minimum", "histogram", "top_images"):
        np.testing.assert_array_equal(getattr(theirs, name)(), getattr(ours, name)())
    np.testing.assert_allclose(theirs.monosemanticity(), ours.monosemanticity(), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(theirs.maximum, ours.maximum)
    for name in ("image_ids", "only_activations", "only_embeddings", "embeddings"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    assert (there.activations != here.activations).sum() == 0


@pytest.fixture(scope="module", autouse=True)
def an_sae(two_stores):
    import torch

    draw = torch.Generator().manual_seed(0)
    w = torch.randn(6, 12, generator=draw)
    decoder = w.T / w.norm(dim=0)[:, None]
    SparseAutoencoder("relu", w, torch.zeros(12), decoder, torch.zeros(6)).save(two_stores[0].path.parent / "sae")


def test_scores_of_the_command(ray, two_stores, tmp_path, capsys):
    arguments = ["score", "--sae", str(two_stores[0].path.parent / "sae"), "--activations", str(two_stores[0].path),
                 "--embeddings", str(two_stores[1].path), "--resamples", "20"]  # fmt: skip
    assert cli.main([*arguments, "--out", str(tmp_path / "here")]) == 0
    assert cli.main([*arguments, "--out", str(tmp_path / "ray"), "--engine", "ray"]) == 0
    here, there = (read_json(tmp_path / name / "scores.json") for name in ("here", "ray"))
    scores = [np.hstack(list(found.pop("ms").values())).astype(float) for found in (here, there)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-12)
    assert here == there


def test_stores_of_different_pictures_are_refused(ray, two_stores, tmp_path):
    from vlm_sae_lib.cluster.counting import gather

    other = make_store(tmp_path / "other", np.ones((900, 5)), np.arange(900), "other")
    with pytest.raises(UserError, match="other pictures"), connected():
        gather(two_stores[0], other)
    far = make_store(tmp_path / "far", np.ones((9, 5)), np.arange(1000, 1009))
    with pytest.raises(UserError, match="no image in common"), connected():
        gather(two_stores[0], far)


def test_a_sweep_of_twelve_is_the_local_one_bit_for_bit(ray, two_stores, tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    arguments = ["train", "--activations", str(two_stores[0].path), "--sweep", str(tmp_path / "sweep.yaml"),
                 "--together", "3", "--device", "cpu"]  # fmt: skip
    assert cli.main([*arguments, "--out", str(tmp_path / "here")]) == 0
    here = sorted(capsys.readouterr().out.splitlines()[:-1])
    assert cli.main([*arguments, "--out", str(tmp_path / "ray"), "--engine", "ray"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()[:-1]) == here and len(here) == 12
    assert folder_hash(tmp_path / "ray") == folder_hash(tmp_path / "here")


@pytest.mark.long
def test_one_sae_that_two_workers_share_is_the_local_one_but_for_the_order_of_sums(ray, two_stores, tmp_path, capsys):
    arguments = ["train", "--activations", str(two_stores[0].path), "--steps", "30", "--batch-size", "64", "--k", "2",
                 "--device", "cpu"]  # fmt: skip
    assert cli.main([*arguments, "--out", str(tmp_path / "here")]) == 0
    assert cli.main([*arguments, "--out", str(tmp_path / "ray"), "--engine", "ray", "--workers", "2"]) == 0
    here, there = (SparseAutoencoder.load(tmp_path / name) for name in ("here", "ray"))
    np.testing.assert_allclose(there.w_dec, here.w_dec, rtol=0, atol=2e-4)
    assert not list(tmp_path.glob("*.checkpoint"))
    assert cli.main([*arguments, "--out", str(tmp_path / "more"), "--engine", "ray", "--workers", "3"]) == 2
    assert "places for 2 workers" in capsys.readouterr().err


def test_an_error_in_training_is_one_sentence(ray, two_stores, tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text("all: {steps: 5, batch_size: 32, lr: 1.0e+38}\nsaes: [{kind: relu}]\n")
    arguments = ["train", "--activations", str(two_stores[0].path), "--sweep", str(tmp_path / "sweep.yaml")]
    assert cli.main([*arguments, "--out", str(tmp_path / "ray"), "--engine", "ray"]) == 2
    told = capsys.readouterr().err
    assert "diverged" in told and told.count("\n") == 1


def test_notebooks_and_experiments_are_done_once_each_and_told(ray):
    from vlm_sae_lib.cluster.running import each

    class Broken(RuntimeError):
        pass

    def work(name):  # in here, as workers know no test's module
        if name == "wrong":
            raise UserError("mend it")
        if name == "broken":
            raise Broken("its own words")
        return float(len(name))

    names, here, there = ["a", "bb", "ccc"], [], []
    done = dict(each(work, names, there.append))
    assert done == dict(in_turn(work, names, here.append)) == {"a": 1.0, "bb": 2.0, "ccc": 3.0} and here == there
    for name, error, words in (("wrong", UserError, "^mend it$"), ("broken", RuntimeError, "^its own words$")):
        with pytest.raises(error, match=words), connected():
            list(each(work, [name], there.append))
