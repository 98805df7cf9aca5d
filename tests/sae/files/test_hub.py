"""The hub, offline: SAEs in the cache as huggingface_hub lays it out, and each thing that can be missing there."""

import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from foreign_saes import linear_state
from huggingface_hub import constants, errors
from random_saes import make_sae
from sae_cache import COMMIT, DIM, REPO, WIDTH, add, empty_cache, remote, sae_of

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing.sae_card import push_to_hub
from vlm_sae_lib.sae.files import hub


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return empty_cache(tmp_path, monkeypatch)


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


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A repository on the hub with all that a run leaves, and the list of what was fetched of it."""
    folder, fetched = tmp_path / "repository", []
    sae = sae_of("batch_top_k")
    for name in ("sae", "run/step_5"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sae.save(folder / name)
    state = linear_state(sae, k=torch.tensor(3), threshold=sae.threshold)
    (folder / "trainer_0" / "checkpoints").mkdir(parents=True)
    for name in ("ae.pt", "checkpoints/ae_10.pt", "checkpoints/ae_20.pt"):
        torch.save(state, folder / "trainer_0" / name)
    (folder / "trainer_0" / "config.json").write_text(json.dumps({"trainer": {"dict_class": "BatchTopKSAE"}}))
    needless = ("sae/optimizer_0.pt", "sae/activations_store_state.safetensors", "sae/sparsity.safetensors",
                "sae/runner_cfg.json", "trainer_0/optimizer.pt", "trainer_0/tokens.json", "tokens.json")  # fmt: skip
    for name in needless:
        (folder / name).write_bytes(bytes(9))
    remote(tmp_path, monkeypatch, folder)
    download = huggingface_hub.hf_hub_download
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda repo_id, file, revision: fetched.append(file) or download(repo_id, file, revision),
    )
    return fetched


@pytest.mark.parametrize(
    ("file", "files"),
    [
        ("sae", {"sae/cfg.json", "sae/sae_weights.safetensors", "sae/probe.safetensors"}),
        ("trainer_0", {"trainer_0/ae.pt", "trainer_0/config.json"}),
        ("trainer_0/checkpoints/ae_20.pt", {"trainer_0/checkpoints/ae_20.pt", "trainer_0/config.json"}),
    ],
)
def test_nothing_is_fetched_that_is_not_read(fetched, file, files):
    assert hub.from_hub(REPO, revision="main", file=file).hash == sae_of("batch_top_k").hash
    assert set(fetched) == files and len(fetched) == len(files)


def test_of_several_checkpoints_none_is_fetched(fetched):
    with pytest.raises(UserError, match="2 ae_.*name one checkpoint"):
        hub.from_hub(REPO, revision="main", file="trainer_0/checkpoints")
    assert not fetched


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
    assert push_to_hub(sae, REPO, scores={"R²": 0.7}) == COMMIT
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
        push_to_hub(sae_of("relu"), REPO)
