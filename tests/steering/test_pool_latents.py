"""Latents of every token, pooled by picture, without ever holding those of many pictures of a wide SAE."""

import numpy as np
import pytest
from tiny_vlm import TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.steering import concepts

TOKENS, PICTURES = 17, tiny_pictures(5)


class Recording(TinySae):
    """Notes the bytes of every block that it encodes."""

    def encode(self, x):
        z = super().encode(x)
        self.blocks = [*getattr(self, "blocks", []), z.numel() * z.element_size()]
        return z


def test_what_fits_is_encoded_in_one_block_and_is_bit_for_bit_the_plain_pooling():
    vlm, sae = shared_vlm(), Recording()
    pooled = concepts.pool_latents(vlm, sae, PICTURES)
    assert sae.blocks == [5 * TOKENS * 40 * 4]
    z = TinySae().encode(vlm.states(PICTURES))
    assert pooled.largest.tobytes() == z.amax(1).numpy().tobytes()
    assert pooled.mean.tobytes() == z.mean(1).numpy().tobytes()


@pytest.mark.parametrize(
    ("bound", "blocks"),
    [
        (2 * TOKENS * 160, [2, 2, 1]),  # pictures
        (TOKENS * 160, [1] * 5),
        (10 * 160, [10 / TOKENS, 7 / TOKENS] * 5),  # tokens of one picture
        (1, [1 / TOKENS] * TOKENS * 5),
    ],
)
def test_a_wide_sae_is_encoded_in_blocks_within_the_bound(monkeypatch, bound, blocks):
    vlm, sae = shared_vlm(), Recording()
    monkeypatch.setattr(concepts, "ENCODED_BYTES", bound)
    pooled = concepts.pool_latents(vlm, sae, PICTURES)
    assert sae.blocks == [round(share * TOKENS * 160) for share in blocks]
    assert max(sae.blocks) <= max(bound, 160)
    z = TinySae().encode(vlm.states(PICTURES)).numpy()
    np.testing.assert_allclose(pooled.largest, z.max(1), rtol=1e-5, atol=1e-6)  # blocks sum in another order
    np.testing.assert_allclose(pooled.mean, z.mean(1), rtol=1e-5, atol=1e-6)


def test_the_papers_widest_sae_takes_pictures_one_by_one():
    per_token = 64 * 1024 * 4
    assert concepts.ENCODED_BYTES == 256 * 2**20
    assert 577 * per_token <= concepts.ENCODED_BYTES < 2 * 577 * per_token
    assert concepts.ENCODED_BYTES > 64 * 65 * (4 * 128) * 4  # and a pocket batch of 64 pictures is not split
