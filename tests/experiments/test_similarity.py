"""The similarity experiment: its arithmetic, its verdicts, and published words said again by the slow path."""

import copy

import numpy as np
import pytest

from vlm_sae_lib import Workbench, load_profile
from vlm_sae_lib.claims.similarity import conclude
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.similarity import Latents, run
from vlm_sae_lib.pocket.language import ONE_WORD
from vlm_sae_lib.pocket.world import blank
from vlm_sae_lib.show.experiments.similarity import FIGURES
from vlm_sae_lib.steering import steered
from vlm_sae_lib.steering.word_similarity import mean_pictures, top_pictures


@pytest.fixture(scope="module")
def found():
    return Findings.read(running.published("similarity"))


class ToyJudge:
    def words(self, words):
        return np.stack([np.eye(3)[["a", "b", "c"].index(word)] for word in words])


def test_own_pictures_and_those_of_all_the_others():
    latents = Latents(np.arange(3), np.array([[1.0, 0, 0], [0, 1, 0], [0.6, 0.8, 0]]), ToyJudge())
    own, others = latents.similarity(np.array([["a", "c"], ["a", "b"]], dtype=object), np.array([0, 2]))
    np.testing.assert_allclose(own, [[1, 0], [0.6, 0.8]])
    np.testing.assert_allclose(others, [[0.6, 0], [1, 0]])


def test_top_pictures_and_their_mean():
    values = np.array([[0.0, 3], [2, 3], [1, 0]])
    assert top_pictures(values, 2).tolist() == [[1, 2], [0, 1]]
    mean = mean_pictures(np.array([[2.0, 0], [0, 2], [0, 0]]), np.array([[0, 1]]))
    np.testing.assert_allclose(mean, [[0.5**0.5] * 2])


def test_published_words_and_similarities_by_the_slow_path(found):
    bench = Workbench(load_profile("pocket"))
    vlm, sae, judge, alpha = bench.vlm(), bench.shown("steering"), bench.judge(), found.value("alpha")
    assert sae.hash.startswith(found.value("SAE"))
    train = bench.pictures("train")
    for row in found.frame("random latents").iloc[[0, 7, 20]].to_dict("records"):
        with steered(vlm, sae, {row["latent"]: alpha}):
            word = vlm.answer(blank(), ONE_WORD, max_new_tokens=1)
        mean = judge.pictures([train.picture(int(i)) for i in row["top pictures"].split()]).mean(0)
        near = float(judge.words([word])[0] @ mean / np.linalg.norm(mean))
        assert word == row["word"] and near == pytest.approx(row["similarity"], abs=2e-4)


def test_published_gains_are_the_differences_of_published_means(found):
    for setup in ("white", "pictures"):
        for control in ("bare model", "another latent's pictures"):
            gain = found.value(f"{setup}/similarity/steered") - found.value(f"{setup}/similarity/{control}")
            assert found.value(f"{setup}/gain/steered over {control}") == pytest.approx(gain, abs=1e-6)


def test_a_changed_number_changes_the_verdict(found):
    names = [f"{setup}/gain/steered over bare model" for setup in ("white", "pictures")]
    for low, verdict in ((0.1, Verdict.HOLDS), (-0.1, Verdict.FAILS)):
        other = copy.deepcopy(found)
        for name in names:
            other.results[name] |= {"value": 0.2, "ci_low": low, "ci_high": 0.3}
        assert conclude(other)[0].verdict is verdict
    assert all(line.rests_on and set(line.rests_on) <= set(found.results) for line in conclude(found))


def test_figures_draw(found):
    for figure in FIGURES.values():
        assert figure(found).axes


def test_without_a_judge_of_words_there_is_one_sentence():
    bench = Workbench(load_profile("pocket", scoring_towers=(("self-supervised", "pocket:self_supervised"),)))
    with pytest.raises(UserError, match="no scoring tower is one"):
        run(bench, Findings("similarity", "pocket"))


def test_another_model_is_refused():
    with pytest.raises(UserError, match="pocket world only"):
        run(Workbench(load_profile("paper")), Findings("similarity", "paper"))
