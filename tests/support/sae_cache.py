"""SAEs in the hub's cache as huggingface_hub lays it out."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import torch
from foreign_saes import linear_state, matrix_state
from huggingface_hub import constants
from random_saes import make_sae

from vlm_sae_lib.sae import SparseAutoencoder

REPO, COMMIT = "somebody/some-saes", hashlib.sha1(b"release").hexdigest()
DIM, WIDTH = 8, 32


def empty_cache(tmp_path: Path, monkeypatch) -> Path:
    """The hub's cache, and the snapshot of a repository in it; nothing may use the network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    return snapshot


def remote(tmp_path: Path, monkeypatch, folder: Path) -> list[str]:
    """A repository on the hub that holds what is in a folder, and nothing of it in the cache; the list that is returned
    grows by each file whose beginning is read there. A whole file can be downloaded."""
    opened = []

    class Remote:
        def open(self, path, mode, block_size):
            opened.append(path.removeprefix(f"{REPO}@{COMMIT}/"))
            return open(folder / opened[-1], mode)

    def info(self, repo_id, revision):
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename=name) for name in sorted(files)])

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(huggingface_hub, "HfFileSystem", Remote)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo_id, file, revision: str(folder / file))
    return opened


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
