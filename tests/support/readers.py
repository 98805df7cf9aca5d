"""Every reader of files from elsewhere, with real files for it and what must hold of what it reads."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import foreign_saes
import torch
from archive_readers import changed_archive, pictures_archive, read_pictures_archive, read_study, study_archive
from fuzzing import HOSTILE, Files, contents, mutated
from model_readers import (
    checkpoints,
    mostly_settings,
    open_clip_folders,
    read_checkpoint,
    read_findings,
    read_store,
    read_tower,
    read_vlm,
    results,
    stores,
    transformers_folders,
    vlm_folders,
)
from random_saes import DIM, make_sae

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import canonical_json, read_json
from vlm_sae_lib.overrides import parse_override
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.quoting import quoted
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.sae.config import KINDS
from vlm_sae_lib.sae.files.header import tensor_shapes
from vlm_sae_lib.scorecard import board
from vlm_sae_lib.scorecard.page import html
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
    asks_for_memory: bool = False
    """A model says how large it is; memory that it asks for and does not get is refused in a sentence, too."""


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


READERS = (
    Reader("our SAE folders", our_folders, read_sae, 55_000),
    Reader("SAELens and sparsify folders", foreign_folders, read_sae, 40_000),
    Reader("torch files of four libraries", torch_files, read_sae, 50_000, few=60),
    Reader("shapes of a torch file", torch_files, read_header, 10_000),
    Reader("entries of the leaderboard", entries, read_entries, 3_000, few=5),
    Reader("JSON files", plain_json, read_plain_json, 35_000, few=200),
    Reader("activation stores", stores, read_store, 20_000, few=50),
    Reader("findings of experiments", results, read_findings, 15_000, few=100),
    Reader("checkpoints of training", checkpoints, read_checkpoint, 10_000, few=50),
    Reader("open_clip folders", open_clip_folders, read_tower("open_clip:local-dir:"), 3_000, few=10,
           change=mostly_settings, asks_for_memory=True),
    Reader("transformers folders", transformers_folders, read_tower("hf:"), 1_000, few=5,
           change=mostly_settings, asks_for_memory=True),
    Reader("LLaVA folders", vlm_folders, read_vlm, 1_000, few=5, change=mostly_settings, asks_for_memory=True),
    Reader("names of species", partial(words, (TAXON,)), read_taxon, 20_000, few=200, change=changed_words),
    Reader("settings given by hand", partial(words, OVERRIDES), read_override, 15_000, few=50, change=changed_words),
    Reader("the archive of pictures", pictures_archive, read_pictures_archive, 3_000, few=4, change=changed_archive),
    Reader("the archive of the user study", study_archive, read_study, 2_000, few=2, change=changed_archive),
)
BY_NAME = {reader.name: reader for reader in READERS}
