"""Folders of models from elsewhere, made to do harm by hand: refused in one sentence, nothing built, no code run."""

import json
from pathlib import Path

import pytest
from guarded import attempts, shared_memory
from model_readers import CONFIGS, ROWS
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


@pytest.mark.parametrize(
    ("name", "value"), [("step", -1), ("step", 10**9), ("step", "1"), ("threshold", None), ("scale", float("nan"))]
)
def test_a_checkpoint_that_cannot_be_its_runs_is_not_taken_up(name, value, tmp_path, tried):
    config = CONFIGS["batch_top_k"]
    train_sae(ROWS, config, checkpoint_dir=tmp_path)

    def anything(_folder: Path, _run: dict) -> tuple:
        tensors, facts = whole(_folder, _run)
        return tensors, [facts[0] | {name: value}]

    whole = checkpoint.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "read", anything)
        with pytest.raises(UserError, match="no readable checkpoint: delete it to start anew"):
            train_sae(ROWS, config, checkpoint_dir=tmp_path)
    tried("damaged checkpoints")


def test_a_checkpoint_of_other_shapes_is_not_stretched(tmp_path, tried):
    config = CONFIGS["batch_top_k"]
    train_sae(ROWS, config, checkpoint_dir=tmp_path)
    whole = checkpoint.read
    for ending in ("decoder", "decoder.exp_avg"):

        def short(folder: Path, run: dict, ending: str = ending) -> tuple:
            tensors, facts = whole(folder, run)
            name = next(name for name in tensors if name.endswith(ending))
            return tensors | {name: tensors[name][:1]}, facts

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "read", short)
            with pytest.raises(UserError, match="no readable checkpoint"):
                train_sae(ROWS, config, checkpoint_dir=tmp_path)
        tried("damaged checkpoints")
