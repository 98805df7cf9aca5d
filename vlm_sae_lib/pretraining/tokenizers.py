"""Word-level tokenizers over the world's own vocabulary, as Hugging Face tokenizers."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.pocket import language
from vlm_sae_lib.pocket.islands import HOME, Island

PAD, UNKNOWN, START, END, IMAGE = "<pad>", "<unk>", "<s>", "</s>", "<image>"


def _word_level(words: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[?!.,:]"), behavior="isolated")]
    )
    return tokenizer


def clip_tokenizer(island: Island = HOME) -> PreTrainedTokenizerFast:
    """For CLIP's text tower. The end token has the highest id, which open_clip's argmax pooling looks for."""
    words = [PAD, UNKNOWN, START, *language.vocabulary(island), END]
    tokenizer = _word_level(words)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, words.index(START)), (END, words.index(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, bos_token=START, eos_token=END
    )


def llava_tokenizer(island: Island = HOME) -> PreTrainedTokenizerFast:
    """For the LLaVA's language model: the same words, the roles of the chat and the picture's place-holder."""
    words = [PAD, START, END, IMAGE, UNKNOWN, "user", "assistant", *language.vocabulary(island)]
    tokenizer = _word_level(list(dict.fromkeys([*words, ":"])))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, words.index(START))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN, bos_token=START, eos_token=END,
        extra_special_tokens={"image_token": IMAGE}, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def name_for_every_release(folder: Path) -> None:
    """Have a saved tokenizer call itself by the class that transformers 4 knows as well as 5."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(path, {key: value for key, value in settings.items() if key not in ("backend", "extra_special_tokens")})
