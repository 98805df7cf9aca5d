"""The paper's measure of steering, on the settings of a study."""

import numpy as np
import pandas as pd
import pytest
from tiny_vlm import PROMPTS, TinySae, shared_vlm, tiny_pictures

from vlm_sae_lib.show.steering import similarity_table
from vlm_sae_lib.steering import word_similarity as words
from vlm_sae_lib.steering.concepts import pool_latents
from vlm_sae_lib.steering.experiment import BARE_SAE, RANDOM_DIRECTION, STEERED, UNSTEERED, Setting
from vlm_sae_lib.steering.intervention import pushed, random_directions, steered
from vlm_sae_lib.steering.sweep import Intervention


class Judge:
    """Every word a direction of its own, every picture the mean of its pixels."""

    def pictures(self, images):
        return np.stack([np.asarray(image, dtype=float).mean((0, 1)) for image in images])

    def words(self, words):
        vectors = np.stack([np.random.default_rng(sum(map(ord, word))).normal(size=3) for word in words])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def measured():
    vlm, sae, choosing, images = shared_vlm(), TinySae(), tiny_pictures(24), tiny_pictures(3, 5)
    pooled = pool_latents(vlm, sae, choosing)
    settings = [
        Setting(STEERED, "colour", "red", 0, Intervention(3, 9.0), 1.0),
        Setting(BARE_SAE, "colour", "red", 0, UNSTEERED, 0.0),
        Setting(RANDOM_DIRECTION, "colour", "red", 0, Intervention(3, 9.0, 7), 1.0),
        Setting(STEERED, "colour", "blue", 0, Intervention(5, 9.0), 1.0),
    ]
    judge = Judge()
    table = words.similarity_by_setting(vlm, sae, settings, images, PROMPTS[0], judge, pooled, choosing)
    return vlm, sae, choosing, images, pooled, judge, table


def test_a_similarity_is_that_of_asking_one_by_one(measured):
    vlm, sae, choosing, images, pooled, judge, table = measured

    def slow(latent, context) -> float:
        near = judge.pictures([choosing[i] for i in np.argsort(-pooled.mean[:, latent], kind="stable")[:16]]).mean(0)
        with context:
            said = [vlm.answer(image, PROMPTS[0], max_new_tokens=5).split(" ")[0].strip("?.:") for image in images]
        return np.mean(judge.words(said) @ near) / np.linalg.norm(near)

    direction = random_directions(1, vlm.dim, 7)[0]
    expected = [
        slow(3, steered(vlm, sae, {3: 9.0})), slow(3, steered(vlm, sae, {})),
        slow(3, pushed(vlm, sae, direction, 3, 9.0)), slow(5, steered(vlm, sae, {5: 9.0})),
        slow(3, steered(vlm, sae, {}, keep_error=True)), slow(5, steered(vlm, sae, {}, keep_error=True)),
    ]  # fmt: skip
    np.testing.assert_allclose(table["similarity"], expected, atol=1e-6)
    assert table["method"].tolist() == [STEERED, BARE_SAE, RANDOM_DIRECTION, STEERED, words.BARE, words.BARE]
    assert len(set(table["similarity"].round(6))) > 3  # or nothing above was compared


def test_methods_are_means_over_concepts(measured):
    table = measured[-1]
    means = words.similarity_by_method(pd.concat([table, table]))
    mine = table[table["method"] == STEERED]["similarity"]
    row = means.loc[STEERED]
    assert row["concepts"] == 2 and row["similarity"] == pytest.approx(mine.mean())
    assert mine.min() - 1e-9 <= row["low"] <= row["high"] <= mine.max() + 1e-9
    shown = similarity_table({"a page": means, "pictures": means})
    assert shown.index.tolist() == means.index.tolist() and "[" in shown.loc[STEERED, "a page"]
    assert similarity_table({}).empty


def test_the_label_is_what_stands_before_the_first_space():
    assert [words.first_word(text) for text in ("Bird.", "A bird", "", "teddy-bear, red")] == [
        "Bird", "A", "", "teddy-bear"]  # fmt: skip
