"""Folders of models from elsewhere, made to do harm by hand: refused in one sentence, nothing built, no code run."""

import json
from pathlib import Path
from random import Random

import pytest
import torch
from guarded import attempts, shared_memory
from model_readers import CONFIGS, ROWS
from safetensors import safe_open
from tiny_towers import write_open_clip, write_transformers
from tiny_vlm import save_tiny_vlm

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.loading import believable
from vlm_sae_lib.sae.training import checkpoint
from vlm_sae_lib.sae.training.run import train_sae
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.vlms import load_vlm

pytestmark = pytest.mark.usefixtures("one_thread")
HUGE = 2**31
ROOM, SECONDS = 160 * 2**20, 20


def refusal(read, folder: Path) -> str:
    """What is said, by a process that has little memory and time."""

    def attempt(_: int) -> None:
        try:
            read()
        except UserError as error:
            (folder / "said").write_text(str(error))
            raise

    found = attempts(attempt, range(1), folder, room=ROOM, seconds=SECONDS)
    assert not found.faults, found.faults
    assert found.refused == 1, "it was read"
    return (folder / "said").read_text()


def change(path: Path, value: object, *names: str) -> None:
    whole = inside = read_json(path)
    for name in names[:-1]:
        inside = inside[name]
    inside[names[-1]] = value
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("dinov2", ("num_hidden_layers",)), ("clip", ("vision_config", "num_hidden_layers")), ("resnet", ("depths",)),
        ("clip", ("vision_config", "hidden_size")), ("siglip", ("text_config", "vocab_size")),
    ],
)  # fmt: skip
def test_a_tower_larger_than_any_is_not_built(kind, names, tmp_path, tried):
    folder = write_transformers(tmp_path / kind, kind)
    change(folder / "config.json", [HUGE] if names == ("depths",) else HUGE, *names)
    with shared_memory(tmp_path) as memory:
        said = refusal(lambda: load_tower(f"hf:{folder}", device="cpu"), memory)
    assert f"{names[-1]} = {HUGE}, which no model has" in said and str(folder) in said
    tried("files that lie about sizes")


@pytest.mark.parametrize("names", [("vision_cfg", "layers"), ("text_cfg", "context_length"), ("embed_dim",)])
def test_an_open_clip_larger_than_any_is_not_built(names, tmp_path, tried):
    folder = write_open_clip(tmp_path / "tower")
    change(folder / "open_clip_config.json", HUGE, "model_cfg", *names)
    with shared_memory(tmp_path) as memory:
        said = refusal(lambda: load_tower(f"open_clip:local-dir:{folder}", device="cpu"), memory)
    assert f"{names[-1]} = {HUGE}, which no model has" in said
    tried("files that lie about sizes")


@pytest.mark.parametrize("part", ["vision_config", "text_config"])
def test_a_llava_larger_than_any_is_not_built(part, tmp_path, tried):
    folder = save_tiny_vlm(tmp_path / "vlm")
    change(folder / "config.json", HUGE, part, "num_hidden_layers")
    with shared_memory(tmp_path) as memory:
        said = refusal(lambda: load_vlm(f"hf:{folder}", device="cpu"), memory)
    assert f"num_hidden_layers = {HUGE}, which no model has" in said
    tried("files that lie about sizes")


def test_the_largest_models_there_are_can_be_believed():
    """Sizes of published models: layers, vocabularies, the longest contexts."""
    believable({"num_hidden_layers": 126, "vocab_size": 262_208, "hidden_size": 18_432, "num_experts": 512,
                "max_position_embeddings": 10_485_760, "text_config": {"depths": [3, 4, 36, 3]}})  # fmt: skip


@pytest.mark.parametrize("load", [load_tower, load_vlm])
def test_no_code_of_a_model_is_run(load, tmp_path, tried):
    canary = tmp_path / "canary"
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "config.json", {
        "model_type": "stranger", "auto_map": {name: f"code.{name}" for name in ("AutoConfig", "AutoModel")}
    })  # fmt: skip
    (folder / "code.py").write_text(f"open({str(canary)!r}, 'w')\nAutoConfig = AutoModel = None\n")
    with pytest.raises(UserError, match="stranger|custom code|trust_remote_code"):
        load(f"hf:{folder}", device="cpu")
    assert not canary.exists()
    tried("pickles that call")


def test_every_bit_of_a_checkpoint_counts(tmp_path, tried):
    """Else a bit that flips makes another SAE, and nobody hears of it."""
    config = CONFIGS["batch_top_k"]
    whole = train_sae(ROWS, config, checkpoint_dir=tmp_path)
    file = tmp_path / checkpoint.NAME
    data, draw = file.read_bytes(), Random(0)
    for _ in range(200):
        at = draw.randrange(8, len(data))
        file.write_bytes(data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :])
        try:
            again = train_sae(ROWS, config, checkpoint_dir=tmp_path)
        except UserError as error:
            assert "checkpoint" in str(error) and "delete it" in str(error)
        else:  # a letter of the header that says the same, as a space
            assert torch.equal(again.W_dec, whole.W_dec) and again.metadata == whole.metadata
    tried("damaged checkpoints", 200)


def test_a_checkpoint_of_another_version_is_not_taken_up(tmp_path, tried):
    config = CONFIGS["batch_top_k"]
    train_sae(ROWS, config, checkpoint_dir=tmp_path)
    with safe_open(tmp_path / checkpoint.NAME, framework="pt") as file:
        run, facts = (json.loads(file.metadata()[name]) for name in ("run", "facts"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    for lost in ("step", "log"):
        checkpoint.write(tmp_path, run, tensors, [{name: one for name, one in facts[0].items() if name != lost}])
        with pytest.raises(UserError, match="no readable checkpoint: delete it to start anew"):
            train_sae(ROWS, config, checkpoint_dir=tmp_path)
    tried("damaged checkpoints", 2)
