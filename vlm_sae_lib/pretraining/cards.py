"""Model cards: what a pocket model is, how it was made, how good it is, and what it cannot do."""

from pathlib import Path

import pandas as pd

from vlm_sae_lib.files import write_bytes

TEXTS = {
    "clip": (
        "The pocket CLIP",
        "An `open_clip.CLIP`: a ViT of {layers} blocks, width 128, patch 8, on 64×64 pictures, and a text tower of 2 "
        "blocks over the world's own words. Its vision tower is the explained model of the book and, converted "
        "weight by weight, the vision tower of the pocket LLaVA. Open it with "
        '`open_clip.create_model_and_transforms("local-dir:data/pocket/clip")`.',
        "It knows one island. Photographs, drawings of anything else and words outside its vocabulary (they become "
        "`<unk>`) mean nothing to it. It reads captions of at most ten words.",
    ),
    "second_clip": (
        "The second pocket CLIP",
        "The same architecture as the pocket CLIP, trained independently: another seed and other pictures. It is the "
        "second scoring encoder, so that monosemanticity can be read with two encoders, as in the paper.",
        "It shares the world's captions with the explained CLIP, so it is independent of its weights and pictures but "
        "not of its supervision. The self-supervised encoder is independent of both.",
    ),
    "self_supervised": (
        "The self-supervised scoring encoder",
        "A transformers `ResNetModel` of 0.7 million weights with SimCLR's projection head, trained on pictures alone: "
        "no caption, no label. It stands where the paper has DINOv2. Its projection output is the embedding.",
        "It was taught that crop, flip, light and warmth do not matter and that colour does, so it cannot judge "
        "neurons for size, place or pose.",
    ),
    "llava": (
        "The pocket LLaVA",
        "A `LlavaForConditionalGeneration`: the pocket CLIP as frozen vision tower (features of the last but one "
        "block, class token dropped, as in LLaVA-1.5), a two-layer projector, and a Llama of 4 blocks, width 192. "
        "Weights are stored in fp16 and load as fp32 with `from_pretrained`.",
        "It answers the world's {prompts} prompts, in lower case, and little else; asked anything else it will say "
        "something that resembles one of their answers. Size is a continuous factor cut into three words, so pictures "
        "near a cut are often named by the neighbouring word.",
    ),
}


def markdown_table(table: pd.DataFrame) -> str:
    """A table as Markdown; numbers to four digits, empty where there is none."""
    def cell(value) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:.4g}"
        return str(value)

    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def write_card(folder: Path, name: str, made: str, exam: pd.DataFrame, extra: str = "", **facts) -> None:
    """Write ``README.md`` and ``exam.csv`` into a model's folder."""
    title, what, limits = TEXTS[name]
    table = markdown_table(exam)
    text = f"# {title}\n\n{what.format(**facts)}\n\n## How it was made\n\n{made}\n\n"
    text += "## How good it is\n\nOn held-out pictures of another seed; 95 % intervals.\n\n"
    text += f"{table}\n\n{extra}"
    text += f"\n## What it cannot do\n\n{limits.format(**facts)}\n\nLicence: MIT, as the code.\n"
    write_bytes(folder / "README.md", text.encode())
    write_bytes(folder / "exam.csv", exam.to_csv(index=False, float_format="%.6g").encode())
