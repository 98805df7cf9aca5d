"""A world in miniature for the profiles of public models: their checkpoints, tiny and random, of the real classes and
under their real names in a hub cache; the sample of iNaturalist, ImageNet and iNaturalist in their real layouts.

The pictures are the pocket world's, in folders that are called as iNaturalist calls its own. Like ImageNet's, they are
signed (``rasters.py``): a page that shows one, which it may not, can be told.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import rasters
import tiny_families
import torch
import transformers as hf
from foreign_saes import linear_state, matrix_state
from hub_cache import put
from PIL import Image
from random_saes import make_sae
from tiny_vlm import tiny_processor
from tokenizers import pre_tokenizers

from vlm_sae_lib import wordnet
from vlm_sae_lib.loading import split_revision
from vlm_sae_lib.pictures import sample
from vlm_sae_lib.pocket import tree
from vlm_sae_lib.pocket.world import paint, sample_factors
from vlm_sae_lib.profiles import public as public

SQUARE = {"height": 32, "width": 32}
VISION = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
TEXT = VISION | {
    "num_hidden_layers": 2, "vocab_size": 514, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 2,
    "pad_token_id": 1,
}  # fmt: skip
"""As in OpenAI's checkpoints, whose configuration names other special tokens than their tokenizer has."""
SAMPLES = ("inat2021-sample-3600", "inat2021-sample-2700")
IN_EVERY_SAMPLE = 500
PER_SPECIES = {"train": 9, "choosing": 4, "test": 4}
SPECIES = 40
LATIN = {
    "animal": "Animalia", "plant": "Plantae", "fungus": "Fungi", "insect": "Insecta", "arachnid": "Arachnida",
    "fish": "Actinopterygii", "bird": "Aves", "reptile": "Reptilia", "gastropod": "Gastropoda",
    "dicot": "Magnoliopsida", "monocot": "Liliopsida", "needleleaf": "Pinopsida", "agaric": "Agaricomycetes",
    "cupfungus": "Pezizomycetes",
}  # fmt: skip


def clip(blocks: int, projection: int = 48) -> Callable[[Path], None]:
    """A CLIP whose tower has so many blocks."""

    def write(folder: Path) -> None:
        torch.manual_seed(blocks)
        vision = VISION | {"num_hidden_layers": blocks}
        hf.CLIPModel(hf.CLIPConfig(vision_config=vision, text_config=TEXT, projection_dim=projection)).save_pretrained(
            folder
        )
        hf.CLIPImageProcessor(size=SQUARE, crop_size=SQUARE).save_pretrained(folder)
        clip_tokenizer(folder)

    return write


def clip_tokenizer(folder: Path) -> None:
    """CLIP's own files for a tokenizer without merges: every byte, alone and at a word's end, and the two ends last."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def dinov2(folder: Path) -> None:
    torch.manual_seed(0)
    hf.Dinov2Model(hf.Dinov2Config(**VISION, num_hidden_layers=2)).save_pretrained(folder)
    hf.BitImageProcessor(size=SQUARE, crop_size=SQUARE).save_pretrained(folder)


def llava(folder: Path) -> None:
    """A LLaVA-1.5 whose tower has the real one's 24 blocks, so that its projector reads block 22."""
    torch.manual_seed(0)
    text = hf.LlamaConfig(
        vocab_size=tiny_processor().tokenizer.vocab_size, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    vision = VISION | {"num_hidden_layers": 24, "image_size": 64, "patch_size": 16}
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**vision), text_config=text, image_token_index=3, image_seq_length=16,
        vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)


LAYERS = (11, 17, 22, 23)
VARIANTS = {
    f"{name}_20_x{expansion}": (kind, expansion)
    for name, kind in (("batch_top_k", "batch_top_k"), ("matroyshka_batch_top_k", "matryoshka_batch_top_k"))
    for expansion in (1, 2, 4, 8, 16, 64)
}
"""Kind and latents per dimension by the name that the authors give them."""


def released_file(variant: str, layer: int) -> str:
    """Where the public release has it."""
    run = f"imagenet_train_activations_clip-vit-large-patch14-336_{layer}_post_mlp_residual_{variant}"
    return f"{variant}/{run}/trainer_0/checkpoints/ae_100000.pt"


def release(folder: Path) -> None:
    """The authors' release as its public listing has it: all of class tokens, none of random ones."""
    for variant, (kind, expansion) in VARIANTS.items():
        sae = make_sae(kind, dim=64, width=64 * expansion)
        more = {"k": torch.tensor(sae.k, dtype=torch.int32), "threshold": sae.threshold}
        if kind == "batch_top_k":
            state = linear_state(sae, **more)
        else:
            state = matrix_state(sae, group_sizes=torch.tensor(sae.group_sizes), **more)
        for layer in LAYERS:
            file = folder / released_file(variant, layer)
            file.parent.mkdir(parents=True)
            torch.save(state, file)


def fill_hub(cache: Path) -> None:
    """The checkpoints that the profiles ``light``, ``colab`` and ``paper`` name."""
    put(cache, public.AUTHORS, release)
    for spec, write in {
        public.CLIP_L: clip(24),
        public.CLIP_B32: clip(12),
        public.CLIP_B16: clip(11),
        public.DINO_B: dinov2,
        public.DINO_S: dinov2,
        public.LLAVA: llava,
        public.SMALL_LLAVA: lambda folder: tiny_families.save("llava_onevision", folder),
        public.SMOLVLM: lambda folder: tiny_families.save("idefics3", folder),
    }.items():
        name, revision = split_revision(spec.removeprefix("hf:"))
        put(cache, name, write, revision)


def folder_name(species: tree.Species) -> str:
    """The species' folder as iNaturalist 2021 would call it, with a number by which even a small sample holds it."""
    kingdom, phylum, of_class, *rest = species.path
    names = [LATIN[kingdom], phylum.capitalize(), LATIN[of_class], *(name.capitalize() for name in rest[:3]), rest[3]]
    called = ("_".join([f"{200 * species.index + n:05d}", *names]) for n in range(200))
    return next(name for name in called if sample.is_kept(name, IN_EVERY_SAMPLE))


def paint_species(counts: dict[str, int], root: Path, species: int = SPECIES) -> None:
    """``<root>/<split>/<folder>/<n>.jpg``: so many pictures of each of the first species, spread over the tree."""
    everything = tree.all_species()
    chosen = [everything[i * len(everything) // species] for i in range(species)]
    wanted = {one.index: one for one in chosen}
    have = {index: [] for index in wanted}
    number = 0
    while any(len(found) < sum(counts.values()) for found in have.values()):
        factors = sample_factors(77, number)
        number += 1
        if (found := have.get(factors["species_index"])) is not None and len(found) < sum(counts.values()):
            found.append(factors)
    for index, found in have.items():
        rest = iter(found)
        for split, count in counts.items():
            folder = root / split / folder_name(wanted[index])
            folder.mkdir(parents=True)
            for i in range(count):
                rasters.sign(paint(next(rest))).save(folder / f"{i}.jpg", quality=90)


def inat_sample(runs: Path) -> None:
    """The samples as their download leaves them."""
    first, *others = (runs / "pictures" / name for name in SAMPLES)
    paint_species(PER_SPECIES, first)
    (first / "complete.json").write_text(json.dumps({"md5": "0" * 32, "species": SPECIES}))
    for other in others:
        shutil.copytree(first, other)


def imagenet_and_inat(root: Path, photos: Path) -> None:
    """``imagenet/{train,val}`` of a few pictures many times over and of other classes, and ``inat2021/{train,val}``.

    The ones called photographs are drawn, too, with the sizes and modes of three of ImageNet's.
    """
    for split, copies in (("train", 60), ("val", 60)):
        for folder in sorted(photos.iterdir()):
            target = root / "imagenet" / split / folder.name.split("_")[0]
            target.mkdir(parents=True)
            for picture in folder.iterdir():
                rasters.sign(Image.open(picture)).save(first := target / f"0_{picture.name}", quality=90)
                for i in range(1, copies):
                    shutil.copy(first, target / f"{i}_{picture.name}")
    paint_classes({"train": 7, "val": 7}, root / "imagenet", classes=12)
    paint_species({"train": 9, "val": 6}, root / "inat2021", species=20)


def paint_classes(counts: dict[str, int], root: Path, classes: int) -> None:
    """``<root>/<split>/<wnid>/<n>.JPEG``: so few pictures of each of so many classes, spread over the tree."""
    chosen = wordnet.classes()[7 :: len(wordnet.classes()) // classes][:classes]
    for number, (split, wnid, i) in enumerate((s, c, i) for s in counts for c in chosen for i in range(counts[s])):
        folder = root / split / wnid
        folder.mkdir(parents=True, exist_ok=True)
        rasters.sign(paint(sample_factors(78, number))).save(folder / f"{i}.JPEG", quality=90)


def environment(root: Path) -> dict[str, str]:
    """What a process must be told to live in this world."""
    return {
        "HF_HUB_CACHE": str(root / "hub"), "HF_HUB_OFFLINE": "1", "VLM_SAE_RUNS": str(root / "runs"),
        "VLM_SAE_DATASETS": str(root / "datasets"), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
