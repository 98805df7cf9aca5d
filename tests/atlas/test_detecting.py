"""What latents detect, against the slow definition; the tree; neighbours against all pairs."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vlm_sae_lib.atlas.detecting import detected
from vlm_sae_lib.atlas.known import Factor, Known
from vlm_sae_lib.atlas.neighbours import by_decoder, by_firing
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pocket.language import ABOUT
from vlm_sae_lib.pocket.world import pocket_pictures
from vlm_sae_lib.scores.truth import detection_scores
from vlm_sae_lib.show.tree import base_rates, best_factors
from vlm_sae_lib.taxonomy import RANKS


def random_code(n, f, seed=0, steps=None):
    """Sparse activations; with ``steps``, of so few different values that many are equal."""
    rng = np.random.default_rng(seed)
    code = rng.random((n, f)) * (rng.random((n, f)) < 0.15)
    code = np.ceil(code * steps) if steps else code
    code[:, 0] = 0  # a latent that never fires
    code[:, 1] = 1.5  # and one that fires alike on everything
    return sp.csr_matrix(code)


@pytest.mark.parametrize("steps", [None, 3])
def test_the_best_value_is_that_of_the_slow_definition(steps):
    pictures = pocket_pictures(300, 5)
    code, known = random_code(300, 40, steps=steps), Known.of(pictures, range(300))
    found = detected(code, known.factors, 5)
    slow = best_factors(detection_scores(code, pictures.factors, ABOUT), base_rates(pictures.factors, ABOUT))
    first = found.first(40)
    for row in slow.itertuples():
        place = first[row.neuron]
        if place < 0:
            assert row.gain <= 1e-12
            continue
        factor = known.factors[found.factor[place]]
        assert (factor.name, factor.values[found.value[place]]) == (row.factor, row.value)
        assert found.gain[place] == pytest.approx(row.gain) and found.f1[place] == pytest.approx(row.best_f1)
    assert (first >= 0).sum() > 20 and first[0] == first[1] == -1


def test_precision_and_recall_are_those_at_the_threshold():
    pictures = pocket_pictures(200, 6)
    code, known = random_code(200, 12, steps=4), Known.of(pictures, range(200))
    found = detected(code, known.factors, 3)
    dense = code.toarray()
    assert len(found.latent) > 12 and np.bincount(found.latent).max() == 3
    for place, latent in enumerate(found.latent):
        yes = dense[:, latent] >= found.threshold[place]
        has = known.factors[found.factor[place]].codes == found.value[place]
        assert found.precision[place] == pytest.approx((yes & has).sum() / yes.sum())
        assert found.recall[place] == pytest.approx((yes & has).sum() / has.sum())
    falls = [np.diff(found.gain[found.latent == latent]) for latent in np.unique(found.latent)]
    assert all((step <= 0).all() for step in falls)


def test_pictures_of_unknown_value_are_never_hits():
    factor = Factor("class", ("cat", "dog"), np.array([0, -1, 1, -1]))
    code = sp.csr_matrix([[3.0], [9.0], [1.0], [0.0]])
    found = detected(code, (factor,), 5)
    told = {value: (p, r) for value, p, r in zip(found.value, found.precision, found.recall, strict=True)}
    assert told == {0: (0.5, 1.0), 1: (1 / 3, 1.0)}
    assert len(detected(code, (), 5).latent) == len(detected(sp.csr_matrix((4, 3)), (factor,), 5).latent) == 0


def test_a_taxon_is_its_path_and_stands_behind_the_one_above_it():
    rows = [("a", "b", "c", "d", "e", "g", "g one"), *[("a", "b", "c", "d", "f", "g", "g two")] * 2]
    known = Known.of(Source(pd.DataFrame(rows, columns=list(RANKS))), range(3))
    genus = known.factor("genus")
    assert genus.values == ("g", "g") and genus.codes.tolist() == [0, 1, 1]
    assert [known.tree[node].pictures for node in genus.nodes] == [1, 2]
    assert all(node.parent is None or node.parent < place for place, node in enumerate(known.tree))
    path, at = [], int(known.factor("species").nodes[1])
    while at is not None:
        path.append(known.tree[at].name)
        at = known.tree[at].parent
    assert path[::-1] == ["a", "b", "c", "d", "f", "g", "g two"]


def test_sources_that_know_little_or_nothing():
    strays = Known.of(Source(pd.DataFrame({"class": ["cat", None, "dog"]})), range(3))
    assert strays.factors[0].codes.tolist() == [0, -1, 1] and strays.labels == ("cat", "unknown", "dog")
    assert Known.of(Source(pd.DataFrame({"weight": [1, 2]})), range(2)).factors == ()
    assert Known.of(None, range(2)).labels == ("", "")
    with pytest.raises(UserError, match="holds no picture 3"):
        Known.of(Source(pd.DataFrame({"class": ["cat", "dog", "dog"]})), [2, 3])


class Source:
    name = "a toy"

    def __init__(self, factors):
        self.factors = factors


@pytest.mark.parametrize("block", [3, 512])
def test_neighbours_are_those_of_all_pairs(block, monkeypatch):
    monkeypatch.setattr("vlm_sae_lib.atlas.neighbours.BLOCK", block)
    rng = np.random.default_rng(1)
    decoder, code = rng.normal(size=(11, 4)), random_code(50, 11, seed=2)
    decoder[3] = 0  # a row without a direction
    unit = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-9)
    near, fires = by_decoder(decoder, 3), code.toarray() > 0
    together = by_firing(code, 3)
    for latent in range(11):
        others = [o for o in range(11) if o not in (latent, 3)] if latent != 3 else []
        slow = sorted(others, key=lambda o: -(unit[latent] @ unit[o]))[:3]
        assert near.latents[latent].tolist() == slow + [-1] * (3 - len(slow))
        both = {o: (fires[:, latent] & fires[:, o]).sum() / (fires[:, latent] | fires[:, o]).sum()
                for o in range(11) if o != latent and (fires[:, latent] & fires[:, o]).any()}  # fmt: skip
        slow = sorted(both, key=lambda o: (-both[o], o))[:3]
        assert together.latents[latent].tolist() == slow + [-1] * (3 - len(slow))
        np.testing.assert_allclose(together.likeness[latent][: len(slow)], [both[o] for o in slow])


def test_one_latent_has_no_neighbours():
    assert by_decoder(np.ones((1, 3)), 5).latents.tolist() == [[-1] * 5]
    assert by_firing(sp.csr_matrix([[1.0], [2.0]]), 5).latents.tolist() == [[-1] * 5]
