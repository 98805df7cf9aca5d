"""What a checkpoint holds, told without its values."""

import zipfile

import pytest
import torch
from foreign_saes import linear_state
from random_saes import make_sae
from sae_cache import COMMIT, DIM, REPO, checkpoint, empty_cache, remote, sae_of

from vlm_sae_lib.sae.files import header


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
        shapes = header.tensor_shapes(Counting(file))
    assert shapes["encoder.weight"] == (4096, 64) and shapes["b_dec"] == (64,)
    assert zipfile.is_zipfile(tmp_path / "ae.pt")
    assert sum(read) < (tmp_path / "ae.pt").stat().st_size / 10


def test_of_a_remote_file_the_header_is_read_and_the_cached_one_is_taken(tmp_path, monkeypatch):
    folder = tmp_path / "release"
    folder.mkdir()
    torch.save(linear_state(make_sae("batch_top_k", dim=DIM, width=4 * DIM)), folder / "ae.pt")
    opened = remote(tmp_path, monkeypatch, folder)
    expected = header.Header("batch_top_k", dim=DIM, n_latents=4 * DIM)
    assert header.read_header(REPO, COMMIT, "ae.pt") == expected and opened == ["ae.pt"]
    checkpoint(empty_cache(tmp_path, monkeypatch), "ae.pt", sae_of("batch_top_k"))
    assert header.read_header(REPO, COMMIT, "ae.pt") == expected and opened == ["ae.pt"]


@pytest.mark.parametrize(
    "state", [{"weight": torch.zeros(3)}, {"encoder.weight": torch.zeros(2, 4, 8)}, {"W_enc": torch.zeros(4, 8)}, [1]]
)
def test_what_is_no_sae_of_the_papers_kinds_has_an_empty_header(tmp_path, monkeypatch, state):
    folder = tmp_path / "release"
    folder.mkdir()
    torch.save(state, folder / "ae.pt")
    remote(tmp_path, monkeypatch, folder)
    found = header.read_header(REPO, COMMIT, "ae.pt")
    assert found == header.Header() and found.expansion is None
