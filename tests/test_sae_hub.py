"""The hub, offline: SAEs in the cache as huggingface_hub lays it out, and each thing that can be missing there."""

import hashlib
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors
from test_sae_artefact import make_sae
from test_sae_formats import linear_state, matrix_state

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SparseAutoencoder, hub, released

REPO, COMMIT = "somebody/some-saes", hashlib.sha1(b"release").hexdigest()
DIM, WIDTH = 8, 32


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The hub's cache, and the snapshot of a repository in it; nothing may use the network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    return snapshot


def add(snapshot: Path, name: str, source: Path) -> Path:
    """A file as the cache holds it: a link to a blob."""
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(exist_ok=True)
    blob = blobs / hashlib.sha256(source.read_bytes()).hexdigest()
    blob.write_bytes(source.read_bytes())
    link = snapshot / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(blob)
    return link


def checkpoint(snapshot: Path, name: str, sae: SparseAutoencoder) -> None:
    k = {"k": torch.tensor(sae.k, dtype=torch.int32), "threshold": sae.threshold}
    if sae.kind == "batch_top_k":
        state = linear_state(sae, **k)
    else:
        state = matrix_state(sae, group_sizes=torch.tensor(sae.group_sizes), **k)
    file = snapshot.parents[3] / "written.pt"
    torch.save(state, file)
    add(snapshot, name, file)


def sae_of(kind: str, expansion: int = 4) -> SparseAutoencoder:
    return make_sae(kind, dim=DIM, width=expansion * DIM)


# from_hub


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_an_sae_folder_at_the_root_and_in_a_folder(cache, tmp_path, revision):
    sae = sae_of("batch_top_k")
    for file in sae.save(tmp_path / "sae").iterdir():
        add(cache, file.name, file)
        add(cache, f"block_5/x4/{file.name}", file)
    add(cache, "huge/ae.pt", tmp_path / "sae" / "cfg.json")  # never looked at
    for file in (None, "block_5/x4"):
        found = hub.from_hub(REPO, revision=revision, file=file)
        assert found.hash == sae.hash
        assert found.metadata["source"] == {"repo": REPO, "revision": COMMIT, "file": file or ""}


def test_a_checkpoint_takes_the_config_above_it(cache, tmp_path):
    sae = sae_of("top_k")
    checkpoint_file, config = tmp_path / "ae.pt", tmp_path / "config.json"
    torch.save(linear_state(sae, k=torch.tensor(3), threshold=torch.tensor(0.1)), checkpoint_file)
    config.write_text(json.dumps({"trainer": {"dict_class": "AutoEncoderTopK"}}))
    add(cache, "trainer_0/checkpoints/ae_10.pt", checkpoint_file)
    add(cache, "trainer_0/config.json", config)
    assert hub.from_hub(REPO, revision="main", file="trainer_0/checkpoints/ae_10.pt").kind == "top_k"


def test_what_is_not_there_is_one_sentence_with_the_way_out(cache, tmp_path):
    file = tmp_path / "note.txt"
    file.write_text("a note")
    add(cache, "x4/note.txt", file)
    for request, message in (
        ({"repo_id": REPO, "revision": "main"}, "no SAE at its root: name one of what it holds \\(x4"),
        ({"repo_id": REPO, "revision": "main", "file": "x8"}, "no SAE at x8"),
        ({"repo_id": REPO, "revision": "v2"}, "HF_HUB_OFFLINE is set"),
        ({"repo_id": "somebody/else", "revision": "main"}, "HF_HUB_OFFLINE is set, so unset it"),
        ({"repo_id": "a/b/c", "revision": "main"}, "owner/name"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            hub.from_hub(**request)
        assert "\n" not in str(caught.value)


def refusal(kind: type, status: int) -> Exception:
    response = SimpleNamespace(status_code=status, headers={}, request=SimpleNamespace(url="", method="GET"))
    error = kind.__new__(kind)
    error.args, error.response = ("refused",), response
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refusal(errors.GatedRepoError, 403), "gated, so accept its terms .* HF_TOKEN"),
        (refusal(errors.RepositoryNotFoundError, 404), "no repository somebody/some-saes"),
        (refusal(errors.RevisionNotFoundError, 404), "no such revision"),
        (errors.LocalEntryNotFoundError("no network"), "cannot be reached"),
        (OSError(28, "No space left on device"), "disk is full"),
        (RuntimeError("something else\nand more"), "could not be read: something else"),
    ],
)
def test_what_the_hub_refuses_to_give(monkeypatch, error, message):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", raising(error))
    with pytest.raises(UserError, match=message):
        hub.from_hub(REPO, revision="main")


def raising(error: Exception):
    def raise_it(*_, **__):
        raise error

    return raise_it


# push_to_hub


@pytest.fixture
def uploads(monkeypatch) -> dict:
    """What is sent to the hub, by file name, instead of being sent."""
    sent: dict = {}

    def upload(self, *, repo_id, folder_path, commit_message):
        sent.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()}, repo=repo_id)
        return SimpleNamespace(oid=COMMIT)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, repo_id, **_: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    return sent


def test_what_is_pushed_is_the_folder_and_its_card(uploads, cache, tmp_path):
    facts = {
        "provenance": {"tower": "openai/clip", "hook_point": "block_22", "tokens": "random:2", "source": "imagenet"},
        "log": {"step": [0, 9], "r2": [None, 0.7512], "l0": [None, 19.8]},
        "config": {"seed": 7},
        "scores": {"MS": 0.31},
    }
    sae = make_sae("matryoshka_batch_top_k", dim=DIM, width=WIDTH, metadata=facts)
    assert hub.push_to_hub(sae, REPO, scores={"R²": 0.7}) == COMMIT
    card = uploads["README.md"].decode()
    for line in ("| MS | 0.31 |", "| R² | 0.7 |", "| L0 (training batch, last step) | 19.8 |", "| groups | 2, 5, 25 |",
                 "| tower | openai/clip |", "| hook point | block_22 |", "| tokens | random:2 |", "| seed | 7 |",
                 f"| SAE (SHA-256) | {sae.hash} |"):  # fmt: skip
        assert line in card
    assert "R² (training" not in card
    for name, data in uploads.items():
        if name != "repo":
            (tmp_path / name).write_bytes(data)
            add(cache, name, tmp_path / name)
    assert hub.from_hub(REPO, revision=COMMIT).hash == sae.hash


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.LocalTokenNotFoundError("no token"), "without a token: sign in with `hf auth login`"),
        (refusal(errors.HfHubHTTPError, 401), "without a token"),
        (refusal(errors.HfHubHTTPError, 403), "may not write to somebody/some-saes"),
        (errors.OfflineModeIsEnabled("offline"), "could not be written"),
    ],
)
def test_what_the_hub_refuses_to_take(monkeypatch, error, message):
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", raising(error))
    with pytest.raises(UserError, match=message):
        hub.push_to_hub(sae_of("relu"), REPO)


# the authors' release


def tower(name: str = "clip-vit-large-patch14-336", block: int = DIM, projection: int = 6):
    def dim(hook_point):
        return projection if hook_point == "projection" else block

    return SimpleNamespace(name=name, spec=f"transformers:openai/{name}", dim=dim)


STEERING = "matroyshka_batch_top_k_20_x4/clip-vit-large-patch14-336_layer_5_random_k_2/checkpoints/ae_100000.pt"
SCORING = "batch_top_k_20_x2/clip-vit-large-patch14-336_layer-1/ae_100000.pt"


@pytest.fixture
def release(cache, tmp_path):
    checkpoint(cache, STEERING, sae_of("matryoshka_batch_top_k"))
    checkpoint(cache, SCORING, make_sae("batch_top_k", dim=6, width=12))
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    add(cache, "probe.pt", other)
    return cache


def test_a_release_is_told_by_names_and_shapes(release):
    by_file = {sae.file: sae for sae in released.released_saes(REPO)}
    assert set(by_file) == {STEERING, SCORING}
    steering, scoring = by_file[STEERING], by_file[SCORING]
    assert (steering.kind, steering.expansion, steering.dim, steering.k) == ("matryoshka_batch_top_k", 4, DIM, 20)
    assert (steering.hook_point, steering.tokens, steering.tower) == ("block_5", "random:2", "clip")
    assert (scoring.kind, scoring.expansion, scoring.dim) == ("batch_top_k", 2, 6)
    assert (scoring.hook_point, scoring.tokens, scoring.revision) == ("projection", None, COMMIT)


def test_a_released_sae_is_loaded_for_its_own_place_only(release):
    steering, scoring = sorted(released.released_saes(REPO), key=lambda sae: -sae.dim)
    assert steering.load(tower(), "block_5", "all").hash == sae_of("matryoshka_batch_top_k").hash
    assert scoring.load(tower(), "projection").n_latents == 12
    for sae, place, message in (
        (steering, (tower(block=16), "block_5", "all"), "8-wide activations and those of .* are 16-wide"),
        (steering, (tower(), "block_6", "all"), "says block_5, and block_6"),
        (steering, (tower(), "block_5", "cls"), 'random:2 tokens, and "cls"'),
        (steering, (tower("siglip-so400m-patch14-384"), "block_5", "all"), "clip tower and .* siglip"),
        (scoring, (tower(projection=8), "projection", "cls"), "6-wide"),
    ):
        with pytest.raises(UserError, match=message):
            sae.load(*place)


def test_a_place_that_no_name_tells_is_not_guessed(cache):
    checkpoint(cache, "batch_top_k_20_x4/ae_100000.pt", sae_of("batch_top_k"))
    (sae,) = released.released_saes(REPO)
    assert "nothing of the block" in sae.misfit(tower(), "block_5", "cls")


@pytest.mark.parametrize("name", ["batch_top_k_20_x8/layer_5", "matroyshka_batch_top_k_20_x4/layer_5"])
def test_a_name_that_contradicts_its_tensors_is_listed_and_not_loaded(cache, name):
    checkpoint(cache, f"{name}_random_k_2/ae_100000.pt", sae_of("batch_top_k", expansion=4))
    (sae,) = released.released_saes(REPO)
    with pytest.raises(UserError, match="its name says .* and its tensors"):
        sae.load(tower(), "block_5", "all")


def test_a_release_without_checkpoints_is_an_error(cache):
    with pytest.raises(UserError, match="no SAE checkpoint"):
        released.released_saes(REPO)


@pytest.mark.parametrize(
    ("name", "hook_point"),
    [
        ("layer_22", "block_22"), ("layer-17", "block_17"), ("block.11.x4", "block_11"), ("layer_-1", "projection"),
        ("layer-1", "projection"), ("clip_last/ae", "projection"), ("layerlast", "projection"), ("x4/ae_100000", None),
    ],
)  # fmt: skip
def test_the_block_in_a_name(name, hook_point):
    assert released._hook_point(name) == hook_point


def test_shapes_are_read_without_the_values(tmp_path):
    sae = make_sae("batch_top_k", dim=64, width=4096)
    torch.save(linear_state(sae), tmp_path / "ae.pt")
    read = []

    class Counting:
        def __init__(self, file):
            self.file = file

        def read(self, *size):
            data = self.file.read(*size)
            read.append(len(data))
            return data

        def readinto(self, buffer):
            count = self.file.readinto(buffer)
            read.append(count)
            return count

        def __getattr__(self, name):
            return getattr(self.file, name)

    with open(tmp_path / "ae.pt", "rb") as file:
        shapes = released.tensor_shapes(Counting(file))
    assert shapes["encoder.weight"] == (4096, 64) and shapes["b_dec"] == (64,)
    assert zipfile.is_zipfile(tmp_path / "ae.pt")
    assert sum(read) < (tmp_path / "ae.pt").stat().st_size / 10


def test_the_values_of_a_remote_file_are_not_fetched(cache, tmp_path, monkeypatch):
    checkpoint(cache, STEERING, sae_of("matryoshka_batch_top_k"))
    opened = []

    class Remote:
        def open(self, path, mode, block_size):
            opened.append(path)
            return open(cache / STEERING, mode)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(huggingface_hub, "HfFileSystem", Remote)
    info = SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename=STEERING)])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, repo_id, revision: info)
    (sae,) = released.released_saes(REPO)
    assert opened == [f"{REPO}@{COMMIT}/{STEERING}"] and sae.dim == DIM
