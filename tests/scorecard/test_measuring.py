"""The measures of a scorecard against slow recomputations, and at the edges."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
import small_card

from vlm_sae_lib.controls.directions import random
from vlm_sae_lib.experiments.factors import FACTORS
from vlm_sae_lib.experiments.measure import AT_LEAST
from vlm_sae_lib.scorecard.draws import Draws, mean_of
from vlm_sae_lib.scorecard.measures import NAMES
from vlm_sae_lib.scorecard.measuring import NO_DECODER, NO_SECOND, Measuring
from vlm_sae_lib.scorecard.place import Place, material
from vlm_sae_lib.scorecard.scattered import absorbed, split
from vlm_sae_lib.scores.absorption import absorption, splitting
from vlm_sae_lib.scores.detectors import firing
from vlm_sae_lib.scores.matching import correlations, matched, of_values
from vlm_sae_lib.scores.reconstruction import reconstruction
from vlm_sae_lib.taxonomy import RANKS


def codes(sae, on):
    return (sae.encode_sparse(rows.astype(np.float32)) for rows in (on.splits.choosing, on.splits.test))


def test_reconstruction_is_that_of_the_book(values, sae, on):
    theirs = reconstruction(sae, on.splits.test.astype(np.float32))
    assert values["r2"].value == pytest.approx(theirs.r2, rel=1e-4)
    assert values["l0"].value == pytest.approx(theirs.l0, rel=1e-5)
    assert values["dead"].value == pytest.approx(theirs.never_fired / sae.n_latents, rel=1e-5)
    assert values["dead"].low is None and "No interval" in values["dead"].why


def test_monosemanticity_comes_again_pair_by_pair(values, sae, on):
    _, final = codes(sae, on)
    code, unit = final.toarray(), on.embeddings["second CLIP"]
    scores = np.array([oracles.monosemanticity(code[:, latent], unit) for latent in range(sae.n_latents)])
    often = (code > code.min(axis=0)).sum(axis=0)
    assert values["ms_second_clip"].value == pytest.approx(np.nanmean(scores), rel=1e-4)
    assert values["ms_second_clip"].n == (~np.isnan(scores)).sum()
    kept = (often >= AT_LEAST) & ~np.isnan(scores)
    assert values["ms_second_clip_of_10_pictures"].value == pytest.approx(scores[kept].mean(), rel=1e-4)


def test_recovery_is_that_of_the_book_and_of_every_draw(values, sae, on, measuring):
    choosing, final = codes(sae, on)
    told, truth = on.known["choosing"], on.known["test"]
    theirs = of_values(choosing, told, final, truth)
    for name in ("correlation", "found", "f1"):
        assert values[f"recovery_{name}"].value == pytest.approx(getattr(theirs, name), rel=1e-4), name
    again = np.repeat(np.arange(on.n), measuring.draws.counts[3].astype(int))
    drawn = of_values(choosing, told, final[again], truth[again])
    alone = Draws(measuring.draws.counts[[3]])
    pairs = matched(correlations(choosing, told))
    correlation, found, f1 = alone.recovered(final[:, pairs[0]].toarray(), truth[:, pairs[1]], truth.shape[1])
    assert values["recovery_f1"].n == 64 < values["recovery_found"].n == truth.shape[1]
    assert (correlation.value, found.value, f1.value) == pytest.approx((drawn.correlation, drawn.found, drawn.f1))


def test_scattering_is_that_of_the_book(values, sae, on):
    fires, final = (firing(code) for code in codes(sae, on))
    told, shown = on.splits.choosing_factors, on.splits.test_factors
    table = absorption(fires, told, final, shown, RANKS[:-1], RANKS[-1])
    assert np.nan_to_num(share_by_value(absorbed(fires, final, on))) == pytest.approx(
        np.nan_to_num(table["absorbed"].to_numpy(float)[table["main"] >= 0])
    )
    book = splitting(fires, told, final, shown, FACTORS)
    lost = (book["union_recall"] - book["recall"])[book["latents"] > 0]
    assert len(lost) and np.nan_to_num(share_by_value(split(fires, final, on))) == pytest.approx(np.nan_to_num(lost))
    assert values["split"].value == pytest.approx(np.nanmean(lost), rel=1e-4)


def share_by_value(parts):
    with np.errstate(invalid="ignore"):
        return (parts.part.sum(axis=0) / parts.whole.sum(axis=0))[parts.defined]


def test_absorption_is_seen_where_it_is_made(on):
    """A latent for a kingdom that is silent on one species, which has a latent of its own."""
    kingdom = on.splits.test_factors["kingdom"].mode()[0]
    splits = (on.splits.choosing_factors, on.splits.test_factors)
    both = [facts[facts["kingdom"] == kingdom]["species"] for facts in splits]
    species = min(set(both[0]) & set(both[1]))

    def fires(facts):
        own = (facts["species"] == species).to_numpy()
        return np.stack([(facts["kingdom"] == kingdom).to_numpy() & ~own, own], axis=1)

    often = on.splits.choosing_factors  # ten pictures are the least that a latent of one's own fires on
    told = on.splits.choosing_factors.loc[np.repeat(often.index, 12)].reset_index(drop=True)
    many = replace(on, splits=replace(on.splits, choosing_factors=told))
    parts = absorbed(fires(told), fires(on.splits.test_factors), many)
    assert parts.part.sum() == fires(on.splits.test_factors)[:, 1].sum() * parts.part.any(axis=0).sum() > 0


def test_every_interval_holds_its_value(values):
    for name, value in values.items():
        if value.low is not None:
            assert value.low <= value.value <= value.high, name
    assert set(values) | {f"{t}_{o}" for t in ("insertion", "suppression") for o in ("success", "both")} == set(NAMES)


def test_a_second_that_is_itself_is_perfectly_stable(values, measuring, sae, on):
    assert values["stability"].value == pytest.approx(1) and values["stability"].n == sae.n_latents
    assert measuring.all(sae)["stability"].why == NO_SECOND
    assert measuring.all(sae, small_card.sae_on(on, seed=1))["stability"].value < 0.6


def test_what_has_no_decoder_says_so(measuring, on):
    found = measuring.all(random(on.splits.train, 40).cut(on.splits.train, 5))
    assert {found[name].why for name in ("r2", "cause", "isolation")} == {NO_DECODER}
    assert found["probe_1"].value > 0


def test_a_dead_sae_is_measured_where_there_is_something_to_measure(measuring):
    found = measuring.all(small_card.dead_sae())
    assert found["dead"].value == 1 and found["l0"].value == 0 and found["recovery_f1"].value == 0
    assert found["ms_second_clip"].value is None and found["ms_second_clip"].n == 0 and found["ms_second_clip"].why
    assert found["split"].value is None and "of its own" in found["split"].why
    assert found["cause"].value == pytest.approx(0)


def test_one_final_picture_leaves_undefined_what_needs_two(runs, sae):
    found = Measuring.start(material(small_card.bench("pocket:1:14"), small_card.PLACE), resamples=5).all(sae)
    assert found["l0"].value is not None and found["l0"].low == found["l0"].high
    assert found["r2"].value is None and found["ms_self_supervised"].value is None


def test_several_tokens_are_averaged_after_encoding(runs):
    place = Place("block_4", "random:3")
    on = material(small_card.bench("pocket:30:13", place), place)
    assert on.per_picture == 3 and len(on.splits.test) == 90
    sae = small_card.sae_on(on)
    code = on.code(sae)(on.splits.test).toarray()
    latents = sae.encode_sparse(on.splits.test.astype(np.float32)).toarray()
    np.testing.assert_allclose(code[4], latents[12:15].mean(axis=0), rtol=1e-6)
    found = Measuring.start(on, resamples=5).all(sae)
    assert found["r2"].value == pytest.approx(oracles.r2(on.splits.test, rebuilt(sae, latents)), rel=1e-4)
    assert found["l0"].value == pytest.approx((latents > 0).sum(axis=1).mean(), rel=1e-4)
    assert "several tokens" in found["cause"].why


def rebuilt(sae, latents):
    return latents @ sae.w_dec.numpy() + sae.b_dec.numpy()


def test_draws_of_whole_pictures_move_r2_as_repeated_rows_would():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    x_hat = x + 0.3 * rng.normal(size=(30, 4))
    draws = Draws.of(10, 1, seed=3)
    again = np.repeat(np.arange(10), draws.counts[1].astype(int))
    rows = (again[:, None] * 3 + np.arange(3)).ravel()
    assert Draws(draws.counts[1:]).r2(x, x_hat, 3).value != draws.r2(x, x_hat, 3).value
    centred = x[rows] - x[rows].mean(axis=0)
    expected = 1 - ((x - x_hat)[rows] ** 2).sum() / (centred**2).sum()
    assert Draws(draws.counts[1:]).r2(x, x_hat, 3).value == pytest.approx(expected)


def test_a_value_that_a_draw_does_not_define_stays_where_it_was():
    table = np.array([[0.2, np.nan, 0.6], [np.nan, 0.9, 0.8]])
    assert mean_of(table) == pytest.approx([0.4, 0.5])
    assert np.isnan(mean_of(table[:, [1]])).all()
