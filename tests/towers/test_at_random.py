"""Encoders that draw something at random in eval mode: made deterministic where a way is documented, else refused."""

import random

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_towers import VISION, Toy, noise, toy_pixels, toy_tower
from torch import nn

from vlm_sae_lib.activations import collect_activations
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.towers import load_tower
from vlm_sae_lib.towers.tower import Tower

PICTURES = noise(3)
SQUARE = {"height": 32, "width": 32}


def mae(folder, kind):
    torch.manual_seed(0)
    decoder = {"decoder_num_attention_heads": 4, "decoder_hidden_size": 32, "decoder_num_hidden_layers": 2,
               "decoder_intermediate_size": 64}  # fmt: skip
    getattr(hf, kind)(hf.ViTMAEConfig(**VISION, **decoder)).save_pretrained(folder)
    hf.ViTImageProcessor(size=SQUARE).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.mark.parametrize("kind", ["ViTMAEModel", "ViTMAEForPreTraining"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_masked_autoencoder_sees_every_patch_in_its_order(tmp_path, kind, dtype):
    tower = load_tower(mae(tmp_path, kind), device="cpu", dtype=dtype)
    assert tower.hook_points == ("block_0", "block_1", "block_2") and tower.has_cls
    assert tower.tokens("block_1") == 17  # all sixteen patches; a quarter of them as the checkpoint is
    states = tower.activations(PICTURES, "block_1", "all")
    assert torch.equal(states, tower.activations(PICTURES, "block_1", "all"))
    # The same weights in a ViT, which masks nothing: patch by patch the same.
    plain = hf.ViTModel(hf.ViTConfig(**VISION), add_pooling_layer=False).eval().to(getattr(torch, dtype))
    missing, unknown = plain.load_state_dict(tower.module.state_dict())
    assert not missing and not unknown
    pixels = torch.stack([tower.preprocess(picture) for picture in PICTURES]).to(getattr(torch, dtype))
    with torch.no_grad():
        expected = plain(pixels, output_hidden_states=True).hidden_states[2].float()
    torch.testing.assert_close(states, expected, rtol=1e-3, atol=1e-3 if dtype == "float16" else 1e-5)


def test_its_store_can_be_collected_again(tmp_path):
    spec = mae(tmp_path / "mae", "ViTMAEModel")
    stores = [collect_activations(load_tower(spec, device="cpu"), PICTURES, "block_2", tmp_path / name, tokens="all")
              for name in ("one", "other")]  # fmt: skip
    assert torch.equal(stores[0].array(), stores[1].array()) and stores[0].id == stores[1].id


class Private(nn.Module):
    """Noise from a generator of its own, the same for every picture of a batch."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return x * (1 + 0.02 * torch.randn(x.shape[1:], generator=self.generator))


class ToyAtRandom(Toy):
    """``Toy`` with something more behind its patches."""

    def __init__(self, then):
        torch.manual_seed(0)
        super().__init__()
        self.then = then
        self.patches = nn.Sequential(self.patches, then)

    def eval(self):
        super().eval()
        for part in self.modules():  # active in eval mode, as a forward that says training=True is
            part.train(isinstance(part, nn.Dropout))
        return self


class Python(nn.Module):
    def forward(self, x):
        return x * (1 + 0.1 * random.random())


class Shuffle(nn.Module):
    """The same tokens in another order."""

    def forward(self, x):
        return x.flatten(2)[..., torch.randperm(x.shape[2] * x.shape[3])].unflatten(2, x.shape[2:])


def tower_of(module, preprocess=toy_pixels):
    return Tower(spec="toy", name="toy", module=module, blocks=list(module.blocks), project=module,
                 preprocess=preprocess, preprocessing={}, config={}, device=torch.device("cpu"))  # fmt: skip


@pytest.mark.parametrize("then", [nn.Dropout(0.1), Private(), Python(), Shuffle()], ids=lambda m: type(m).__name__)
def test_a_tower_that_draws_at_random_is_refused(then):
    with pytest.raises(UserError, match="toy gives other activations each time it sees the same picture") as caught:
        tower_of(ToyAtRandom(then))
    assert "\n" not in str(caught.value)


def test_preprocessing_that_draws_at_random_is_refused():
    def cropped(picture):
        left = int(np.random.default_rng().integers(0, picture.width - 16))
        return toy_pixels(picture.crop((left, 0, left + 16, 16)))

    with pytest.raises(UserError, match="other activations each time"):
        tower_of(ToyAtRandom(nn.Identity()), cropped)


def test_a_projection_alone_that_draws_at_random_is_refused():
    module = ToyAtRandom(nn.Identity())
    module.head = nn.Sequential(module.head, nn.Dropout(0.5))
    with pytest.raises(UserError, match="other activations each time"):
        tower_of(module)


def test_a_tower_that_draws_without_effect_or_is_broken_is_no_such_tower():
    class Idle(nn.Module):
        def forward(self, x):
            torch.rand([])  # as transformers does for a layer that might be dropped in training
            return x

    tower = tower_of(ToyAtRandom(Idle()))
    assert torch.equal(tower.activations(PICTURES, "block_1"), tower.activations(PICTURES, "block_1"))
    broken = ToyAtRandom(nn.Identity())
    with torch.no_grad():
        broken.head.weight.fill_(float("nan"))
    assert tower_of(broken).hook_points[-1] == "projection"  # collecting it names the picture


def test_looking_twice_costs_two_passes():
    assert toy_tower().module.blocks[0].calls == 2


def test_an_output_that_is_written_over_later_is_kept_as_it_was():
    """A tower that saves memory adds onto what it is given; ``activations``, which stops there, never sees it."""

    class InPlace(nn.Module):
        def forward(self, x):
            return x.add_(1)

    tower = toy_tower()
    tower.module.blocks[2] = tower._blocks[2] = InPlace()
    points = [("block_1", "all"), ("block_1", "cls"), ("block_1", "mean"), ("projection", "cls")]
    for (point, rule), rows in zip(points, tower.activations_at(PICTURES, points), strict=True):
        assert torch.equal(rows, tower.activations(PICTURES, point, rule)), rule
