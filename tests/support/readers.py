"""Every reader of files from elsewhere, with real files for it and what must hold of what it reads."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any

import foreign_saes
import numpy as np
import pandas as pd
import torch
from fuzzing import HOSTILE, Files, mutated, mutated_bytes
from PIL import Image
from random_saes import DIM, make_sae
from stores import make_store

from vlm_sae_lib import paths
from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.files import canonical_json, read_json
from vlm_sae_lib.overrides import parse_override
from vlm_sae_lib.pictures import sample
from vlm_sae_lib.pictures.archive import Archive
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.quoting import quoted
from vlm_sae_lib.records.effects import Effect
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.config import KINDS
from vlm_sae_lib.sae.files.header import tensor_shapes
from vlm_sae_lib.scorecard import board
from vlm_sae_lib.scorecard.page import html
from vlm_sae_lib.scores.human_benchmark import HumanBenchmark
from vlm_sae_lib.taxonomy import RANKS, rank_names, taxon_path


@dataclass(frozen=True)
class Reader:
    """``read(folder)`` gives what is right, raises UserError, or has a fault; ``seeds(folder)`` makes real inputs."""

    name: str
    seeds: Callable[[Path], list[Files]]
    read: Callable[[Path], Any]
    many: int
    """inputs of the long run"""
    few: int = 20
    """inputs of the short run"""
    change: Callable[[Files, Random], Files] = mutated


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


# --- autoencoders ---------------------------------------------------------------------------------------------------

X = foreign_saes.X[:4]


def sound(sae: SparseAutoencoder) -> None:
    """It computes, its groups are groups, and it can be told."""
    latents = sae.encode(X if sae.dim == DIM else torch.ones(2, sae.dim))
    assert latents.shape[-1] == sae.n_latents and not (latents < 0).any()
    assert min(sae.group_sizes) >= 0 and sum(sae.group_sizes) == sae.n_latents
    assert sae.k is None or type(sae.k) is int
    canonical_json(sae.metadata).encode()


def read_sae(folder: Path) -> None:
    files = sorted(folder.glob("*.pt"))
    sound(SparseAutoencoder.load(files[0] if len(files) == 1 else folder))


def our_folders(folder: Path) -> list[Files]:
    for kind in KINDS:
        make_sae(kind).save(folder / kind)
    return [contents(folder / kind) for kind in KINDS]


def foreign_folders(folder: Path) -> list[Files]:
    sae, jump = make_sae("relu"), make_sae("jump_relu")
    made = [
        foreign_saes.sae_lens(folder / "a", foreign_saes.matrix_state(sae)),
        foreign_saes.sae_lens(folder / "b", foreign_saes.matrix_state(sae), architecture="topk", k=3,
                              rescale_acts_by_decoder_norm=True),
        foreign_saes.sae_lens(folder / "c", foreign_saes.matrix_state(jump, threshold=jump.threshold),
                              architecture="jumprelu", apply_b_dec_to_input=False),
        foreign_saes.sae_lens(folder / "d", foreign_saes.matrix_state(sae),
                              normalize_activations="expected_average_only_in"),
        foreign_saes.sparsify(folder / "e", sae),
    ]  # fmt: skip
    (folder / "d" / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.5}))
    return [contents(path) for path in made]


def torch_files(folder: Path) -> list[Files]:
    sae, jump, batch = (make_sae(kind) for kind in ("relu", "jump_relu", "batch_top_k"))
    matryoshka, k = make_sae("matryoshka_batch_top_k"), foreign_saes.K
    linear, matrix = foreign_saes.linear_state, foreign_saes.matrix_state
    groups = torch.tensor(matryoshka.group_sizes)
    foreign_saes.write(folder / "a", linear(batch, threshold=batch.threshold, k=k), {"dict_class": "BatchTopKSAE"})
    foreign_saes.write(folder / "b", linear(sae, k=k, threshold=torch.tensor(0.4)), {"dict_class": "AutoEncoderTopK"})
    foreign_saes.write(folder / "c", matrix(jump, threshold=jump.threshold))
    foreign_saes.write(folder / "d", matrix(matryoshka, threshold=matryoshka.threshold, k=k, group_sizes=groups))
    foreign_saes.write(folder / "e", {"ae": linear(batch, threshold=batch.threshold, k=k), "norm_factor": 2.5})
    header = foreign_saes.saev_header
    foreign_saes.saev(folder / "f", matrix(sae), header("TopK", top_k=3))
    learned = matrix(sae, **{"activation.threshold": torch.tensor(0.4)})
    foreign_saes.saev(folder / "g", learned, header("BatchTopK", top_k=3))
    foreign_saes.overcomplete(folder / "h", sae, "TopKSAE", top_k=3)
    foreign_saes.overcomplete(folder / "i", jump, "JumpSAE", norm=torch.nn.BatchNorm1d(20))
    foreign_saes.prisma(folder / "j", sae)
    torch.save({"cfg": foreign_saes.PRISMA, "state_dict": matrix(sae)}, (folder / "k.pt"))
    torch.save(linear(batch, threshold=batch.threshold, k=k), folder / "l.pt", _use_new_zipfile_serialization=False)
    return [contents(folder / name) for name in "abcdefghij"] + [{name: (folder / name).read_bytes()} for name in
                                                                ("k.pt", "l.pt")]  # fmt: skip


def read_header(folder: Path) -> None:
    for path in folder.glob("*.pt"):
        with open(path, "rb") as stream:
            for name, shape in tensor_shapes(stream).items():
                assert isinstance(name, str) and all(type(size) is int and size >= 0 for size in shape)


# --- JSON -----------------------------------------------------------------------------------------------------------


def entries(folder: Path) -> list[Files]:
    return [{path.name: path.read_bytes()} for path in sorted((paths.data() / "leaderboard").glob("*.json"))[:4]]


def read_entries(folder: Path) -> None:
    """Whatever the leaderboard takes can be compared, ranked, and shown."""
    found = board.read_all(folder)
    for card in found.values():
        board.in_order([card.subject])
        html(card)
        canonical_json(card.as_dict()).encode()


def plain_json(folder: Path) -> list[Files]:
    some = {"schema": 1, "names": ["a", "é", "<b>"], "value": 0.25, "low": -1e-3, "n": 12, "deep": {"a": [{"b": None}]}}
    return [{"some.json": json.dumps(some).encode()}, {"some.json": json.dumps(some, indent=2).encode()}]


def read_plain_json(folder: Path) -> None:
    """What is read can be written again and is then the same; else it is a ValueError, which every caller tells of."""
    try:
        value = read_json(folder / "some.json")
    except (ValueError, OSError) as error:
        raise UserError(f"{type(error).__name__} it is") from error
    assert json.loads(canonical_json(value).encode()) == value


# --- what a run leaves -----------------------------------------------------------------------------------------------


def stores(folder: Path) -> list[Files]:
    draw = np.random.default_rng(0)
    make_store(folder / "store", draw.standard_normal((40, 6)), np.arange(40))
    shards = {path.name: path.read_bytes() for path in (folder / "store" / "shards").iterdir()}
    return [contents(folder / "store") | shards]


def read_store(folder: Path) -> None:
    """All that a store is asked for."""
    (folder / "shards").mkdir(exist_ok=True)
    for path in (folder / "shards").iterdir():
        path.unlink()
    for path in folder.glob("*.safetensors"):
        path.rename(folder / "shards" / path.name)
    try:
        store = ActivationStore.open(folder)
        assert store[:].shape == (len(store), store.dim) and store.array().shape == (len(store), store.dim)
        assert store.image_ids.shape == store.token_ids.shape == (len(store),)
        repr(store)
    finally:
        rmtree(folder / "shards")


def results(folder: Path) -> list[Files]:
    found = Findings("some", "pocket")
    found.input("code", "c" * 64)
    found.add("a", 0.5, interval=(0.4, 0.6), interval_kind="bootstrap", n=12, controls={"b": "b"})
    found.add("b", 0.25)
    found.table("t", pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}))
    values = np.array([[0.1, 0.2], [0.3, np.nan], [0.2, 0.1]])
    found.effects["e"] = Effect(values, "training", ("x/a", "x/b"), "MS", 12, "test")
    return [{"some.json": json.dumps(found.as_dict()).encode()}]


def read_findings(folder: Path) -> None:
    found = Findings.read(folder / "some.json")
    for name in found.results:
        found.value(name)
    for name in found.tables:
        found.frame(name)
    for effect in found.effects.values():
        effect.by_unit()
    found.decisive()
    canonical_json(found.as_dict()).encode()


# --- words ----------------------------------------------------------------------------------------------------------

TAXON = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"
ODD = ("", "\0", "/", "..", "_", "__", "²", "٣", "\ud800", "\n", "x" * 5000, "<script>", "00042", "-1", "é")


def words(seeds: tuple[str, ...], folder: Path) -> list[Files]:
    return [{"words": seed.encode()} for seed in seeds]


def changed_words(files: Files, draw: Random) -> Files:
    text = files["words"].decode()
    for _ in range(draw.choice((1, 1, 2, 3))):
        at, odd = draw.randrange(len(text) + 1), draw.choice((*ODD, str(draw.choice(HOSTILE))[:6000]))
        if draw.random() < 0.3:
            parts = text.split("_")
            parts[draw.randrange(len(parts))] = odd
            text = "_".join(parts)
        else:
            text = text[:at] + odd + text[at + draw.choice((0, 0, 1, 5)) :]
    # neither a folder's name nor a word of a command line is longer than its system lets it be
    return {"words": text[:255].encode("utf-8", "surrogatepass")}


def read_taxon(folder: Path) -> None:
    text = (folder / "words").read_bytes().decode("utf-8", "surrogatepass")
    path = taxon_path(text)
    assert len(path) == len(RANKS) and all(path)
    rank_names(text)


def read_override(folder: Path) -> None:
    """As the command line takes it, and tells what is wrong."""
    try:
        name, value = parse_override((folder / "words").read_bytes().decode("utf-8", "surrogatepass"))
        load_profile("pocket", **{name: value})
    except UserError as error:
        raise UserError(quoted(" ".join(str(error).split()))) from error


OVERRIDES = ("steps=600", "lr=2e-3", "hook_points=['block_2', 'block_4']", "steering={'candidates': 3}", "k=10",
             'scoring_towers=[["a", "pocket:second_clip"]]', "train_pictures=pocket:100:1", "seed=7")  # fmt: skip


# --- archives -------------------------------------------------------------------------------------------------------


def species(number: int) -> str:
    return f"{number:05d}_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_s{number}"


def jpeg(colour: int, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (colour, 100, 100)).save(file, "JPEG")
    return file.getvalue()


def tarred(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz", **how: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **how) as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else info.size
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def member(name: str, **facts: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def pictures_archive(folder: Path) -> list[Files]:
    """The archive of pictures, not packed: a changed byte then reaches what it is of."""
    members = [(member(f"val/{species(n)}/{i}.jpg"), jpeg(40 * n + i)) for n in range(3) for i in range(4)]
    forms = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    long = [(member(f"val/{species(7)}é/{'n' * 120}.jpg"), jpeg(7))]  # no name that the oldest form can spell
    return [{"val.tar": tarred([*members, *long * (form != tarfile.USTAR_FORMAT)], "w", format=form)} for form in forms]


def changed_archive(files: Files, draw: Random) -> Files:
    """The headers are changed more often than the pictures, their checksums set right, so that they are believed."""
    data = bytearray(files["val.tar"])
    for _ in range(draw.choice((1, 1, 2))):
        if draw.random() < 0.3:
            data = bytearray(mutated_bytes(bytes(data), draw))
            continue
        heads = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
        if not heads:
            break
        at = draw.choice(heads)
        place, width = draw.choice(((0, 100), (100, 8), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1), (157, 100),
                                    (265, 32), (329, 8), (345, 155), (386, 24), (482, 1), (483, 12)))  # fmt: skip
        new = draw.choice((b"\0" * width, b"7" * width, b"\x80" + b"\0" * 7 + b"\xff" * 4, b"\xff" * width,
                           b"-1\0", b"../../../../tmp/x\0", b"/tmp/x\0", b"1", b"2", b"3", b"L", b"K",
                           b"x", b"g", b"S", b"X", b"00077777777\0", b"9" * width,
                           bytes(draw.randrange(256) for _ in range(width))))  # fmt: skip
        data[at + place : at + place + width] = new[:width].ljust(min(width, len(new)), b"\0")
        total = sum(data[at : at + 148]) + 256 + sum(data[at + 156 : at + 512])
        data[at + 148 : at + 156] = f"{total:06o}\0 ".encode()
    return {"val.tar": bytes(data)}


def read_pictures_archive(folder: Path, md5: str | None = None) -> None:
    """The archive as the sample takes it in: nothing is written but pictures below the folder's ``made``."""
    from gzip import compress

    (packed := folder / "val.tar.gz").write_bytes(compress((folder / "val.tar").read_bytes(), 1))
    made = folder / "made"
    try:
        made.mkdir()
        with Archive("https://example.org/val.tar.gz", packed, "pictures") as archive:
            sample._fill(made, archive, sample.SPECIES, md5 or hashlib.md5(packed.read_bytes()).hexdigest())
        for path in made.rglob("*"):
            assert path.is_dir() or path.suffix == ".jpg"
            assert not path.is_symlink()
    finally:
        rmtree(made)
        packed.unlink()


def study_archive(folder: Path) -> list[Files]:
    draw = np.random.default_rng(0)
    scores = {f"MS_{side}_{encoder}": draw.random(5) for encoder in ("dino", "clip") for side in "xy"}
    pairs = pd.DataFrame({"k_x": range(5), "k_y": range(5, 10), "R_user": range(5), **scores}).to_csv(index=False)
    top = pd.DataFrame({"k": range(10)} | {f"x_{i}": range(10) for i in range(1, 17)}).to_csv(index=False)
    values = pd.DataFrame({"k": range(10)} | {f"a_{i}": draw.random(10) for i in range(1, 5)}).to_csv(index=False)
    tables = {"pairs.csv": pairs, "top16_images.csv": top, "activations.csv": values}
    members = [(member(f"benchmark/{name}"), text.encode()) for name, text in tables.items()]
    return [{"val.tar": tarred([(member(info.name), data) for info, data in members], "w", format=form)}
            for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT)]  # fmt: skip


def read_study(folder: Path) -> None:
    study = HumanBenchmark(folder / "val.tar")
    study.alignment()
    study.top_images()
    study.rescored({"dino": np.eye(4)})


READERS = (
    Reader("our SAE folders", our_folders, read_sae, 55_000),
    Reader("SAELens and sparsify folders", foreign_folders, read_sae, 40_000),
    Reader("torch files of four libraries", torch_files, read_sae, 50_000, few=60),
    Reader("shapes of a torch file", torch_files, read_header, 10_000),
    Reader("entries of the leaderboard", entries, read_entries, 3_000, few=5),
    Reader("JSON files", plain_json, read_plain_json, 35_000, few=200),
    Reader("activation stores", stores, read_store, 20_000, few=50),
    Reader("findings of experiments", results, read_findings, 15_000, few=100),
    Reader("names of species", partial(words, (TAXON,)), read_taxon, 20_000, few=200, change=changed_words),
    Reader("settings given by hand", partial(words, OVERRIDES), read_override, 15_000, few=50, change=changed_words),
    Reader("the archive of pictures", pictures_archive, read_pictures_archive, 3_000, few=4, change=changed_archive),
    Reader("the archive of the user study", study_archive, read_study, 2_000, few=2, change=changed_archive),
)
BY_NAME = {reader.name: reader for reader in READERS}
