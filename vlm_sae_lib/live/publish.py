"""The folder of the page that steers a model in the reader's browser: graphs, words, pictures' layers, the page itself.

Everything is made from the files of the repository, in seconds, whenever the book is built.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import canonical_json, read_json, whole_folder, write_bytes
from vlm_sae_lib.live import latents, studio
from vlm_sae_lib.live.export import export
from vlm_sae_lib.pocket import language
from vlm_sae_lib.publishing import notebooks
from vlm_sae_lib.show.explorer import DATA
from vlm_sae_lib.steering.intervention import random_directions

PAGE = Path(__file__).parent / "page"
NOTEBOOK = "05_llava_steering"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
DIRECTIONS, SEED = 20, 0
"""How many random directions there are to push along, and the seed of their draw."""
LONGEST = 32
"""Words of an answer."""
ASKED = (language.DESCRIBE, language.ONE_WORD, *language.QUESTIONS.values(), *language.LONG_ANSWERS)


def publish(folder: Path) -> None:
    """Write the page with all that it needs but the runtime, which lies in the site's ``vendor`` folder.

    Raises: UserError when the published steering notebook has no panel of answers, or the latents' names are of others.
    """
    graphs = export().files()
    with whole_folder(folder) as out:
        shutil.copytree(PAGE, out, dirs_exist_ok=True)
        for name, graph in graphs.items():
            write_bytes(out / "model" / name, graph)
        views = []
        for number, view in enumerate(studio.views()):
            write_bytes(out / "studio" / f"{number}.bin", view.packed)
            views.append(view.contents)
        _write(out / "studio.json", {**studio.island(), "views": views})
        _write(out / "model.json", model_facts(sum(map(len, graphs.values()))))
        _write(out / "beforehand.json", beforehand())


def model_facts(size: int) -> dict[str, Any]:
    """What the page must know of the model; ``size``: of its graphs, in bytes."""
    folder = paths.pocket() / "llava"
    config, known = read_json(folder / "config.json"), latents.latents()
    if known["made_from"] != latents.made_from():
        raise UserError(
            f"{latents.file()} names the latents of another model: run `python -m vlm_sae_lib.live.latents` first"
        )
    text, vision = config["text_config"], config["vision_config"]
    return {
        **words(),
        "side": vision["image_size"],
        "width": vision["hidden_size"],
        "wordWidth": text["hidden_size"],
        "latents": read_json(paths.pocket() / "sae" / "steering" / "cfg.json")["d_sae"],
        "cache": [2 * text["num_hidden_layers"], text["num_attention_heads"], 0, text["head_dim"]],
        "longest": LONGEST,
        "questions": list(dict.fromkeys(ASKED)),
        "questionAbout": dict(language.QUESTIONS),
        "directions": random_directions(DIRECTIONS, vision["hidden_size"], SEED).tolist(),
        "named": known["latents"],
        "namedOn": known["named_on"],
        "triedOn": known["tried_on"],
        "multiple": known["multiple"],
        "bytes": size + runtime_size(),
    }


def words() -> dict[str, Any]:
    """The vocabulary by number, and what every prompt has before its picture and after its question."""
    from transformers import AutoProcessor

    folder = paths.pocket() / "llava"
    tokenizer = AutoProcessor.from_pretrained(folder, trust_remote_code=False).tokenizer
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ""}]}
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    bare = tokenizer.apply_chat_template([turn], chat_template=template, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(bare)["input_ids"]
    picture = ids.index(read_json(folder / "config.json")["image_token_index"])
    return {
        "vocabulary": vocabulary,
        "before": ids[:picture],
        "after": ids[picture + 1 :],
        "unknown": tokenizer.unk_token_id,
        "end": tokenizer.eos_token_id,
    }


def beforehand() -> dict[str, Any]:
    """The data of the panel in the published steering notebook."""
    path = paths.notebooks() / f"{NOTEBOOK}.ipynb"
    for cell in notebooks.code_cells(notebooks.read(path)):
        for output in cell.outputs:
            page = "".join(output.get("data", {}).get("text/html", ""))
            if found := DATA.search(page):
                return _shown(json.loads(found[1]))
    raise UserError(f"{path} shows no panel of answers: run `python -m vlm_sae_lib run --only 05` first")


def _shown(panel: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of the panel's data."""
    kept = {name: panel[name] for name in ("prompts", "multiples", "texts", "captions")}
    pictures = [{"label": picture["label"], "src": picture["src"]} for picture in panel["pictures"]]
    # what was learned is stated in multiples of itself and has no unit
    neurons = [{"label": neuron["label"], "learned": neuron["unit"] is None} for neuron in panel["neurons"]]
    return {**kept, "pictures": pictures, "neurons": neurons}


def runtime_size() -> int:
    folder = paths.root() / "book" / "vendor_root" / "vendor" / "onnxruntime-web"
    return sum((folder / name).stat().st_size for name in RUNTIME)


def _write(path: Path, value: Any) -> None:
    write_bytes(path, canonical_json(value).encode())
