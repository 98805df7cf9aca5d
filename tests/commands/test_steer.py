"""The command: what it prints is what the library says; what the user can mend is one line."""

import argparse

import pytest
import torch
from tiny_vlm import DIM, PROMPTS, save_tiny_vlm, tiny_pictures

from vlm_sae_lib.commands import steer
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.steering.intervention import steered
from vlm_sae_lib.vlms.load import load_vlm


def an_sae(dim):
    draw = torch.Generator().manual_seed(0)
    w_enc = torch.randn(dim, 24, generator=draw)
    return SparseAutoencoder("relu", w_enc, torch.zeros(24), w_enc.T / w_enc.norm(dim=0)[:, None], torch.zeros(dim))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steer")
    save_tiny_vlm(folder / "llava")
    an_sae(DIM).save(folder / "sae")
    an_sae(48).save(folder / "wide")
    tiny_pictures(1)[0].save(folder / "picture.png")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def run(files, **changes):
    words = {
        "vlm": f"hf:{files / 'llava'}", "sae": files / "sae", "latent": 3, "strength": "-40",
        "image": files / "picture.png", "prompt": PROMPTS[0], "max-new-tokens": 5, "device": "cpu", **changes,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    steer.add_arguments(parser)
    keep_error = ["--keep-error"] if words.pop("keep_error", False) else []
    return steer.main(parser.parse_args([f"--{name}={value}" for name, value in words.items()] + keep_error))


@pytest.mark.parametrize("keep_error", [False, True])
def test_it_prints_the_model_alone_the_control_and_the_steered_answer(files, capsys, keep_error):
    assert run(files, keep_error=keep_error) == 0
    vlm, sae, image = load_vlm(f"hf:{files / 'llava'}", device="cpu"), an_sae(DIM), tiny_pictures(1)[0]
    alone = vlm.answer(image, PROMPTS[0], max_new_tokens=5)
    with steered(vlm, sae, {}, keep_error=keep_error):
        control = vlm.answer(image, PROMPTS[0], max_new_tokens=5)
    with steered(vlm, sae, {3: -40.0}, keep_error=keep_error):
        changed = vlm.answer(image, PROMPTS[0], max_new_tokens=5)
    assert capsys.readouterr().out.splitlines() == [
        f"model alone: {alone}", f"SAE in place, unsteered: {control}", f"latent 3 at -40: {changed}"]  # fmt: skip
    assert changed != alone


def test_what_the_user_can_mend_is_one_sentence(files):
    for changes, hint in [
        ({"sae": files / "wide"}, "width 48"),
        ({"sae": files / "nowhere"}, "nowhere"),
        ({"latent": 24}, "latents 0 to 23"),
        ({"strength": "1e39"}, "finite number of single precision"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"image": files / "missing.png"}, "missing.png"),
        ({"image": files / "empty.jpg"}, "empty.jpg"),
        ({"vlm": f"hf:{files / 'gone'}"}, "no folder"),
    ]:
        with pytest.raises(UserError, match=hint) as caught:
            run(files, **changes)
        assert "\n" not in str(caught.value), changes


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("strength", "nan", "a finite number"),
        ("strength", "much", "a finite number"),
        ("latent", "-1", "a whole number of at least 0"),
        ("max-new-tokens", "0", "a whole number of at least 1"),
        ("bits", "3", "4 or 8"),
    ],
)
def test_an_option_of_the_wrong_kind_is_refused_before_anything_is_loaded(files, capsys, name, value, hint):
    with pytest.raises(SystemExit) as stop:
        run(files, **{name: value})
    assert stop.value.code == 2
    assert f"argument --{name}: {value!r} must be {hint}" in capsys.readouterr().err
