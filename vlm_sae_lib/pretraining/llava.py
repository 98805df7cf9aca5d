"""The pocket LLaVA: ``LlavaForConditionalGeneration`` with the pocket CLIP as its frozen tower and a small Llama."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPImageProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)  # fmt: skip

from vlm_sae_lib.files import read_json, whole_folder, write_json
from vlm_sae_lib.pocket import language
from vlm_sae_lib.pocket.islands import HOME, Island
from vlm_sae_lib.pretraining import fit
from vlm_sae_lib.pretraining.convert import to_vision_model, vision_config
from vlm_sae_lib.pretraining.pictures import TrainingPictures, to_tensor
from vlm_sae_lib.pretraining.tokenizers import llava_tokenizer, name_for_every_release
from vlm_sae_lib.progress import progress
from vlm_sae_lib.towers.pocket_models import MEAN, STD

IMAGE_TOKENS = 64
BATCH, PROMPTS_PER_PICTURE = 64, 6
BLANKS = 600  # blank pages among the training pictures: two in three white, the others of any one colour
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{{ ' ' if message['role'] == 'user' else '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def make_processor(island: Island = HOME) -> LlavaProcessor:
    """Pictures and chat as the model reads them."""
    images = CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_resize=True, do_center_crop=False, do_convert_rgb=True,
        image_mean=[MEAN] * 3, image_std=[STD] * 3,
    )  # fmt: skip
    return LlavaProcessor(
        image_processor=images, tokenizer=llava_tokenizer(island), patch_size=8, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def build(clip: nn.Module, seed: int, island: Island = HOME) -> LlavaForConditionalGeneration:
    """An untrained LLaVA around that CLIP's vision tower."""
    tokenizer = llava_tokenizer(island)
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=6, max_position_embeddings=256, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision_config(clip), text_config=text, image_token_index=tokenizer.image_token_id,
        image_seq_length=IMAGE_TOKENS, vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(to_vision_model(clip).state_dict())
    model.model.vision_tower.requires_grad_(False)
    return model


def with_blanks(pictures: TrainingPictures, seed: int) -> tuple[TrainingPictures, np.ndarray]:
    """Add blank pages; the second result says which pictures are blank."""
    rng = np.random.default_rng(seed)
    colours = np.where(np.arange(BLANKS)[:, None] % 3 < 2, 255, rng.integers(0, 256, (BLANKS, 3)))
    grain = rng.normal(0, 1, (BLANKS, 64, 64, 3)) * (np.arange(BLANKS) % 2)[:, None, None, None]
    pages = np.clip(colours[:, None, None] + grain, 0, 255).astype(np.uint8)
    n = len(pictures)
    both = TrainingPictures(
        np.concatenate([pictures.pixels, pages]),
        [*pictures.facts, *[{"habitat": None}] * BLANKS],
        np.concatenate([pictures.empty, np.ones(BLANKS, dtype=bool)]),
    )
    return both, np.arange(n + BLANKS) >= n


def answers(pictures: TrainingPictures, i: int) -> dict[str, str]:
    """Every prompt with its right answer for training picture i."""
    facts = pictures.facts[i]
    return language.empty_answers(facts["habitat"]) if pictures.empty[i] else language.answers(facts)


class Conversations:
    """Several questions about one picture in one sequence: each block sees the picture and itself, not the others."""

    def __init__(self, pictures: TrainingPictures, island: Island = HOME):
        self.pictures = pictures
        tokenizer = llava_tokenizer(island)
        self.ids = tokenizer.get_vocab()
        self.pad, self.end = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.prefix = [tokenizer.bos_token_id, *self.encode("user:"), *[tokenizer.image_token_id] * IMAGE_TOKENS]
        self.prompts = list(language.answers(pictures.facts[int(np.flatnonzero(~pictures.empty)[0])]))

    def encode(self, text: str) -> list[int]:
        return [self.ids[word] for word in language.words(text)]

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Token ids and labels (rows, length), positions (length,), and who sees whom (length, length)."""
        chosen = [self.prompts[j] for j in rng.choice(len(self.prompts), PROMPTS_PER_PICTURE, replace=False)]
        right = [answers(self.pictures, int(i)) for i in rows]
        start = len(self.prefix)
        ids = [np.tile(self.prefix, (len(rows), 1))]
        labels = [np.full((len(rows), start), -100)]
        positions, block = [np.arange(start)], [np.zeros(start, dtype=int)]
        for number, prompt in enumerate(chosen, start=1):
            question = self.encode(f"{prompt} assistant:")
            said = [[*self.encode(answer[prompt]), self.end] for answer in right]
            length = max(map(len, said))
            answer_ids = np.array([row + [self.pad] * (length - len(row)) for row in said])
            ids += [np.tile(question, (len(rows), 1)), answer_ids]
            labels += [np.full((len(rows), len(question)), -100), np.where(answer_ids == self.pad, -100, answer_ids)]
            positions.append(start + np.arange(len(question) + length))
            block.append(np.full(len(question) + length, number))
        of = torch.from_numpy(np.concatenate(block))
        sees = (of[:, None] == of) | (of == 0)
        sees &= torch.ones(len(of), len(of), dtype=torch.bool).tril()
        as_tensor = lambda parts, axis: torch.from_numpy(np.concatenate(parts, axis))  # noqa: E731
        return as_tensor(ids, 1), as_tensor(labels, 1), as_tensor(positions, 0), sees


@torch.no_grad()
def tower_features(model: LlavaForConditionalGeneration, pixels: np.ndarray, device="cpu") -> Tensor:
    """What the projector reads, (n, 64, d) in bf16: the tower is frozen, so it runs once."""
    parts = []
    for start in progress(range(0, len(pixels), 500), "tower"):
        hidden = model.model.vision_tower(to_tensor(pixels[start : start + 500], device), output_hidden_states=True)
        parts.append(hidden.hidden_states[-2][:, 1:].to(torch.bfloat16).cpu())
    return torch.cat(parts)


def train(
    clip: nn.Module, pictures: TrainingPictures, *, seed: int, steps: int, workspace: Path, island: Island = HOME,
    device="cpu",
) -> LlavaForConditionalGeneration:
    """Train projector and language model on every prompt of the world; the tower stays that CLIP."""
    lr = 2e-3
    pictures, _ = with_blanks(pictures, seed)
    model = build(clip.cpu(), seed, island).to(device)
    features = tower_features(model, pictures.pixels, device)
    conversations = Conversations(pictures, island)
    embed = model.model.language_model.embed_tokens

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        rows = rng.choice(len(pictures), BATCH, replace=False)
        ids, labels, positions, sees = (tensor.to(device) for tensor in conversations(rows, rng))
        with fit.mixed_precision(device):
            picture = model.model.multi_modal_projector(features[rows].to(device))
            is_image = (ids == model.config.image_token_id)[..., None]
            inputs = embed(ids)
            inputs = inputs.masked_scatter(is_image, picture.to(inputs.dtype))
            mask = torch.where(sees, 0.0, torch.finfo(torch.bfloat16).min).to(torch.bfloat16)
            hidden = model.model.language_model(
                inputs_embeds=inputs, attention_mask=mask[None, None].expand(len(rows), 1, -1, -1),
                position_ids=positions[None].expand(len(rows), -1), use_cache=False,
            ).last_hidden_state[:, :-1]  # fmt: skip
            target = labels[:, 1:]
            logits = model.lm_head(hidden[target != -100])
        return functional.cross_entropy(logits.float(), target[target != -100])

    model.train()
    optimisers = fit.make_optimisers(
        model, lr, 0.05, lambda name: "embed_tokens" not in name and "lm_head" not in name
    )
    tag = fit.settings_tag("llava", seed, steps, lr, BATCH, len(pictures), float(features.float().abs().mean()))
    fit.fit(f"llava_{tag}", model, optimisers, loss_at, steps=steps, lr=lr, seed=seed, workspace=workspace)
    return model.eval()


def save(model: LlavaForConditionalGeneration, folder: Path, island: Island = HOME) -> None:
    """Write what ``from_pretrained(folder)`` opens: weights stored in fp16, loaded as fp32."""
    model = model.float().cpu()
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    with whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        weights = load_file(temporary / "model.safetensors")
        halves = {name: tensor.half().contiguous() for name, tensor in weights.items()}
        save_file(halves, temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "config.json", read_json(temporary / "config.json") | {"dtype": "float32"})
        make_processor(island).save_pretrained(temporary)
        name_for_every_release(temporary)


def load(folder: Path, device="cpu") -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Model (fp32, eval) and processor, through transformers' own classes."""
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    return model, LlavaProcessor.from_pretrained(folder)
