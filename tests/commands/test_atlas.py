"""The command: on another library's SAE, a folder of pictures, a store without pictures; what it says of mistakes."""

import sys

import pytest
from foreign_saes import sae_lens
from PIL import Image

from vlm_sae_lib.__main__ import main
from vlm_sae_lib.atlas.writing import INDEX
from vlm_sae_lib.files import read_json


@pytest.fixture(autouse=True)
def no_progress_bars(monkeypatch):
    """nbval imports ipykernel into every test run, which looks like a live notebook to `progress`."""
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A folder of class folders, one of a hostile name, and stores of it from two pocket towers."""
    folder = tmp_path_factory.mktemp("photos")
    for place, name in enumerate(("red", "<script>alert(1)</script>".replace("/", "_"))):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (64, 64), (250 - 9 * i, 9 * i, 200 * place)).save(folder / "photos" / name / f"{i}.png")
    for tower, out in (("pocket", "activations"), ("pocket:self_supervised", "embeddings")):
        assert main(["collect", "--pictures", f"folder:{folder / 'photos'}", "--tower", tower, "--hook-point",
                     "projection", "--out", str(folder / out)]) == 0  # fmt: skip
    return folder


def foreign(path, dim=128, latents=40):
    import torch

    draw = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(latents, dim, generator=draw), dim=1)
    tensors = {"W_enc": decoder.T, "b_enc": torch.zeros(latents), "W_dec": decoder, "b_dec": torch.zeros(dim)}
    return sae_lens(path, tensors, d_in=dim, d_sae=latents)


def call(folder, sae, *more):
    return main(["atlas", "--sae", str(sae), "--activations", str(folder / "activations"), "--embeddings",
                 str(folder / "embeddings"), *more])  # fmt: skip


def test_a_foreign_sae_and_a_folder_of_pictures(collected, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--pictures", f"folder:{collected / 'photos'}", "--out", str(out))
    assert call(collected, foreign(tmp_path / "theirs"), *arguments, "--names", "pocket") == 0
    said = capsys.readouterr()
    assert "40 latents" in said.out and "Nothing here says who may show them" in said.err
    facts = read_json(out / INDEX)["saes"][0]
    assert (
        facts["pictures"] == 24
        and not facts["tree"]
        and {"name", "detects", "ms_1"} <= {c["name"] for c in facts["columns"]}
    )
    words = read_json(out / "sae" / "columns" / "detects.json")["words"]
    assert any("<script>" in word for word in words)
    assert "<script>alert" not in (out / "index.html").read_text()
    with Image.open(out / "pictures" / "0000.webp") as sheet:
        assert len(sheet.getcolors(10**6)) > 20


def test_without_pictures(collected, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(collected, foreign(tmp_path / "theirs"), "--out", str(out)) == 0
    assert not (out / "pictures").exists() and (out / "index.html").is_file()
    assert capsys.readouterr().err == ""


def test_published_pictures_without_a_licence_are_tiles(collected, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--pictures", f"folder:{collected / 'photos'}", "--out", str(out), "--publish")
    assert call(collected, foreign(tmp_path / "theirs"), *arguments) == 0
    with Image.open(out / "pictures" / "0000.webp") as sheet:
        r, g, b = sheet.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert max(r, g, b) - min(r, g, b) < 8 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--pictures", "pocket:24:1"), "of other pictures"),
        (("--names", "pocket"), "give --pictures"),
        (("--embeddings", "{embeddings}"), "given twice"),
        (("--steer", "none"), "--steer"),
    ],
)
def test_mistakes_are_one_line(collected, tmp_path, capsys, change, words):
    change = [part.format(embeddings=collected / "embeddings") for part in change]
    try:
        code = call(collected, foreign(tmp_path / "theirs"), "--out", str(tmp_path / "out"), *change)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and len(error.splitlines()) == 1 and words in error, error
    assert not (tmp_path / "out").exists()
