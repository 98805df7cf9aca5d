"""Every option of every command, with values that cannot be right, made from the parsers and dataclasses themselves.

Whatever is wrong costs one sentence and exit code 2, within seconds, and nothing is written. A new option is part of
this on the day it is added: one whose kind is not told here fails the first test.
"""

import argparse
import time
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stores import make_store

from vlm_sae_lib import __main__ as cli
from vlm_sae_lib import paths
from vlm_sae_lib.activations import ActivationStore
from vlm_sae_lib.commands import train
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.config import KINDS as KINDS_OF_SAE
from vlm_sae_lib.sae.training import train_sae
from vlm_sae_lib.towers import load_tower

SECONDS = 3
"""Of the processor, from the call to its complaint: a busy machine makes none slow."""
LONG = "x" * 300
"""Longer than a name on a disk may be."""
HUGE = "9" * 5000
WORDS = ("", "ünbekannt ☃ 未知", "../..", LONG, "\udcff", "a\nb", "-")
NUMBERS = ("", "one", "1.5.2", "nan", "inf", "-inf", "[1]", "none", "True", "1e999", HUGE, "--", "0x")
WHOLE = (*NUMBERS, "-1", "1.5", str(2**64))

INPUT, OUTPUT, NAME, PICTURES, FILE, TEXT, SET = "input", "output", "name", "pictures", "file", "text", "set"
KINDS = {
    INPUT: {"sae", "second", "activations", "embeddings"},
    OUTPUT: {"out"},
    NAME: {"tower", "names", "vlm", "hook_point", "tokens", "dtype", "device", "kind", "frozen", "form", "profile",
           "machine", "only", "edition", "against", "enter", "engine", "address"},
    PICTURES: {"pictures"},
    FILE: {"image", "sweep"},
    TEXT: {"prompt", "title", "name", "trained_with"},
    SET: {"set", "overrides"},
}  # fmt: skip
"""What the value of an option is, by where it goes; numbers are told by their ``type``."""


def values_of(action: argparse.Action, there: Path) -> list[str]:
    """Values that cannot be right for an option."""
    if action.type is not None:
        whole = action.dest not in ("strength", "expansion", "lr")
        return list(WHOLE if whole else NUMBERS)
    kind = next(kind for kind, names in KINDS.items() if action.dest in names)
    below = str(there / "file.txt" / "below")
    if kind == INPUT:
        return [
            *WORDS,
            str(there / "absent"),
            str(there / "file.txt"),
            str(there / "empty"),
            below,
            str(there / "loop"),
        ]
    if kind == OUTPUT:
        return ["", str(there / "file.txt"), below, str(there / LONG), str(there / "loop")]
    if kind == FILE:
        return ["", str(there / "absent.jpg"), str(there / "empty"), str(there / "file.txt"), below, LONG]
    if kind == PICTURES:
        return [
            *(word for word in WORDS if word != "../.."),  # a folder, and maybe one with pictures
            "pocket:0",
            "pocket:-3:1",
            "pocket@nowhere",
            "pocket:10:x",
            "folder:",
            f"folder:{below}",
            f"folder:{there / 'empty'}",
            f"imagenet:{there / 'absent'}",
            "hf-datasets:a",
            "inat2021-sample:0:x:y",
        ]
    if kind == SET:
        return ["", "=", "=3", "steps", "nothing=3", "a-b=3", f"{LONG}=1", "class=3"]
    return [""] if kind == TEXT else list(WORDS)


def options(stage: str) -> list[argparse.Action]:
    """Those of a stage's parser that take a value."""
    parser = argparse.ArgumentParser()
    import_module(f"vlm_sae_lib.commands.{stage}").add_arguments(parser)
    return [action for action in parser._actions if action.option_strings and action.nargs != 0]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A store, embeddings, an SAE and a picture that are as they should be, and beside them what is not."""
    folder = tmp_path_factory.mktemp("there")
    draw = np.random.default_rng(0)
    for name, width in (("store", 6), ("embeddings", 4)):
        make_store(folder / name, draw.standard_normal((40, width)), np.arange(40))
    torch.manual_seed(0)
    w = torch.randn(6, 12)
    decoder = w.T / w.norm(dim=0)[:, None]
    SparseAutoencoder("relu", w, torch.zeros(12), decoder, torch.zeros(6)).save(folder / "sae")
    (folder / "photos").mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "photos" / "red.png")
    (folder / "empty").mkdir()
    (folder / "file.txt").write_text("nothing of the kind")
    (folder / "loop").symlink_to(folder / "loop")
    load_tower("pocket")  # what a first call imports is not counted among its seconds
    return folder


def right(stage: str, there: Path, out: Path) -> dict[str, str]:
    """A call that would be done, for each stage that takes what it works on from its options."""
    store, sae, embeddings = (str(there / name) for name in ("store", "sae", "embeddings"))
    stores = {"--sae": sae, "--activations": store, "--embeddings": embeddings, "--out": str(out)}
    return {
        "collect": {"--pictures": str(there / "photos"), "--tower": "pocket", "--hook-point": "block_0",
                    "--out": str(out)},
        "export": {"--activations": store, "--out": str(out)},
        "train": {"--activations": store, "--out": str(out), "--steps": "2", "--k": "2"},
        "score": stores,
        "atlas": stores,
        "card": {"--sae": str(paths.pocket() / "sae" / "steering"), "--out": str(out)},
        "steer": {"--vlm": "pocket", "--sae": str(paths.pocket() / "sae" / "steering"), "--latent": "1",
                  "--strength": "1", "--image": str(there / "photos" / "red.png"), "--prompt": "what is it ?"},
    }.get(stage, {})  # fmt: skip


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def refused(there, tmp_path, capsys, monkeypatch, tried):
    """Make a call that must be refused: one sentence, code 2, in time, and nothing written anywhere near."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path / "runs"))

    def call(*words: str) -> str:
        before, start = files_of(there), time.process_time()
        try:
            code = cli.main(words)
        except SystemExit as stop:
            code = stop.code
        seconds, error = time.process_time() - start, capsys.readouterr().err
        assert code == 2, ascii((words, code, error))
        assert len(error.splitlines()) == 1 and error.startswith("error: "), ascii((words, error))
        assert len(error.replace(HUGE, "")) < 2000, ascii((words, error))
        assert seconds < SECONDS, ascii((words, seconds))
        assert files_of(there) == before and not files_of(tmp_path), ascii((words, files_of(tmp_path)))
        tried("values of settings")
        return error

    return call


def called(stage: str, there: Path, out: Path, changed: dict[str, str]) -> list[str]:
    words = [stage]
    for option, value in {**right(stage, there, out), **changed}.items():
        words.append(f"{option}={value}")  # so that a value may begin with a hyphen
    return words


EACH = [(stage, action.option_strings[0]) for stage in cli.STAGES for action in options(stage)]


def test_what_each_option_takes_is_told():
    told = set().union(*KINDS.values())
    untold = {(stage, action.dest) for stage in cli.STAGES for action in options(stage)
              if action.type is None and action.dest not in told}  # fmt: skip
    assert not untold and len(EACH) > 60


@pytest.mark.faults
@pytest.mark.parametrize(("stage", "option"), EACH, ids=[f"{stage}{option}" for stage, option in EACH])
def test_no_value_that_cannot_be_right_is_taken(stage, option, there, tmp_path, refused):
    action = next(action for action in options(stage) if action.option_strings[0] == option)
    for value in values_of(action, there):
        refused(*called(stage, there, tmp_path / "out", {option: value}))


@pytest.mark.parametrize(("stage", "option"), EACH, ids=[f"{stage}{option}" for stage, option in EACH])
def test_an_empty_value_is_refused(stage, option, there, tmp_path, refused):
    assert option in refused(*called(stage, there, tmp_path / "out", {option: ""}))


WRONG = (None, True, "", "word", -1, 1.5, 2**70, float("nan"), float("inf"), [], [1], {}, {"a": 1}, "☃", [[1]], b"1")


@pytest.mark.faults
@pytest.mark.parametrize("field", [field.name for field in fields(SaeConfig)])
def test_no_setting_of_a_training_takes_what_is_not_of_its_type(field, there, tmp_path, refused):
    for value in WRONG:
        config = None
        with suppress(UserError):
            config = SaeConfig(**{field: value})
        if config is None and "\n" not in repr(value):
            refused(*called("train", there, tmp_path / "out", {"--set": f"{field}={value!r}"}))


OTHER_VALUES = {"k": (2, 3), "aux_coefficient": (0.0, 0.5), "group_fractions": ([0.5, 0.5], [0.25, 0.75]),
                "l1_coefficient": (0.0, 1.0), "l0_coefficient": (0.0, 2.0), "bandwidth": (0.01, 0.5)}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("setting", train.OF_KINDS)
def test_what_is_refused_as_idle_changes_nothing_and_what_is_taken_does(setting, there):
    store = ActivationStore.open(there / "store")
    for kind in KINDS_OF_SAE:
        own = {"batch_size": 16, "steps": 30, "k": 2, "dead_window": 16, "kind": kind}
        one, other = (train_sae(store, SaeConfig(**{**own, setting: value})) for value in OTHER_VALUES[setting])
        assert (one.hash != other.hash) == (kind in train.OF_KINDS[setting]), kind


CONTRADICTIONS = {
    "train": (
        ("--k=3", "--set=k=4"), ("--set=k=3", "--set=k=4"), ("--kind=relu", "--set=group_fractions=[0.5,0.5]"),
        ("--kind=top_k", "--set=l1_coefficient=1"), ("--kind=relu", "--k=3"), ("--kind=top_k", "--set=bandwidth=1"),
        ("--set=warmup=50", "--set=steps=3"), ("--steps=3", "--set=threshold_start=3"),
        ("--k=1000",), ("--expansion=1e-9",), ("--expansion=1e300",),
    ),
    "collect": (
        ("--hook-point=projection", "--tokens=all"), ("--hook-point=projection", "--tokens=mean"),
        ("--hook-point=projection", "--tokens=random:3"),
    ),
    "atlas": (("--steer=3",), ("--publish",), ("--names=pocket",), ("--vlm=pocket",)),
    "run": (("--only=experiments", "--set=seed=3"), ("--only=atlas", "--profile=light"),
            ("--set=seed=3", "--set=seed=4")),
}  # fmt: skip


@pytest.mark.parametrize("stage", CONTRADICTIONS)
def test_what_contradicts_is_refused(stage, there, tmp_path, refused):
    for more in CONTRADICTIONS[stage]:
        base = {option: value for option, value in right(stage, there, tmp_path / "out").items()
                if not any(word.startswith(f"{option}=") for word in more)}  # fmt: skip
        if "--kind=relu" in more:
            base.pop("--k", None)
        refused(stage, *(f"{option}={value}" for option, value in base.items()), *more)


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(there, tmp_path, refused):
    """Root ignores permission bits: a path below a regular file stands for a folder that takes nothing."""
    for stage in ("collect", "export", "train", "score", "atlas", "card"):
        refused(*called(stage, there, there / "file.txt" / "deep" / "out", {}))
