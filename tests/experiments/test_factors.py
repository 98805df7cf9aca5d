"""The factors experiment: its published numbers add up and come again, and its verdicts follow them."""

import copy

import numpy as np
import pytest

from vlm_sae_lib.claims import factors as claims
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.experiments import factors, running
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.profiles import load_profile


@pytest.fixture(scope="module")
def published():
    return Findings.read(running.published("factors"))


def test_pictures_without_known_factors_are_refused():
    class Bench:
        def pictures(self, split):
            return object()

    with pytest.raises(UserError, match="factors are known"):
        factors.load_splits(Bench())


def test_always_yes_has_the_f1_of_the_values_frequency():
    import pandas as pd

    facts = pd.DataFrame({"habitat": ["sea"] * 30 + ["cave"] * 70})
    for factor in factors.FACTORS[:-1]:
        facts[factor] = "same"
    rows = np.zeros((100, 2))
    found = factors.detect(factors.AlwaysYes(), factors.Splits(rows, rows, rows, facts, facts))
    assert found.mean("f1", ["habitat"])[0] == pytest.approx((2 * 0.3 / 1.3 + 2 * 0.7 / 1.7) / 2)
    assert found.mean("auroc", ["habitat"])[0] == 0.5


def test_groups_are_the_mean_of_their_factors_and_gains_are_differences(published):
    table = published.frame("detection")
    for group, members in factors.GROUPS.items():
        for metric in ("f1", "auroc"):
            part = table[(table["metric"] == metric) & table["factor"].isin(members)].groupby("who")["value"].mean()
            for who, value in part.items():
                assert published.value(f"{metric}/{group}/{who}") == pytest.approx(value, abs=1e-4)
                if who.endswith("×4"):
                    gain = published.value(f"{metric}/{group}/{who} minus raw")
                    assert gain == pytest.approx(value - part["raw"], abs=2e-4)


def test_published_counts_come_again_from_the_pixels(published):
    """The shipped SAE's chosen latents on the first test pictures, picture by picture."""
    from vlm_sae_lib import Workbench

    bench = Workbench(load_profile("pocket"))
    sae, sample = bench.shown("main_matryoshka"), published.frame("sample")
    pictures = bench.pictures("test").subset(range(int(sample["pictures"][0])))
    latents = sae.encode(bench.tower().activations(pictures.images, "block_5")).numpy()
    for row in sample.itertuples():
        bar = -np.inf if row.threshold is None or np.isnan(row.threshold) else row.threshold
        right = wrong = silent = 0
        for value, shown in zip(latents[:, row.latent], pictures.factors[row.factor], strict=True):
            right += value > bar and shown == row.value
            wrong += value > bar and shown != row.value
            silent += value <= bar and shown == row.value
        assert (right, wrong, silent) == pytest.approx((row.right, row.wrong, row.silent), abs=1), row.value


def test_the_verdict_follows_the_numbers(published):
    found = copy.deepcopy(published)

    def verdict(start):
        return next(line.verdict for line in claims.conclude(found) if line.claim.startswith(start))

    names = [name for name in found.results if name.startswith("auroc/coarse ranks/") and " minus " in name]
    for low, high, expected in ((0.01, 0.03, Verdict.HOLDS), (-0.03, -0.01, Verdict.FAILS)):
        for name in names:
            found.results[name].update(value=(low + high) / 2, ci_low=low, ci_high=high)
        assert [line.verdict for line in claims.conclude(found)][1] is expected
    name = "absorption ×4/Matryoshka minus BatchTopK/absorbed"
    for low, high, expected in ((-0.2, -0.1, Verdict.HOLDS), (-0.2, 0.1, Verdict.FAILS)):
        found.results[name].update(value=low, ci_low=low, ci_high=high)
        assert verdict("Matryoshka training absorbs less") is expected
