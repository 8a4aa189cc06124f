"""Predicting transfer to languages left out: the regressions against plain ones, and that no fold sees its own scores."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from xling.analysis.questions.heldout import (
    HELD_OUT,
    compute_held_out,
    fit_ridge,
    list_predictor_sets,
    predict_held_out,
    summarise_held_out,
)

LANGUAGES = ("ar", "de", "en", "hi", "ru", "sw", "th", "zh")


def make_pairs(noise=0.01, sources=LANGUAGES, seed=0) -> pd.DataFrame:
    """Accuracy = 0.8 - 0.3 genetic + noise; syntactic distance and impact are noise."""
    rng = np.random.default_rng(seed)
    pairs = pd.DataFrame(itertools.product(sources, LANGUAGES), columns=["source_language", "target_language"])
    pairs["strategy"], pairs["layer_label"] = "none", "mean"
    pairs["is_in_language"] = pairs["source_language"] == pairs["target_language"]
    for name in ("genetic", "syntactic", "impact"):
        pairs[name], pairs[f"{name}_coverage"] = rng.uniform(size=len(pairs)), 1.0
    pairs = pairs.drop(columns="impact_coverage")
    pairs["score"] = 0.8 - 0.3 * pairs["genetic"] + noise * rng.standard_normal(len(pairs))
    pairs["score_in_language"] = 0.8
    return pairs


def test_ridge_without_penalty_is_least_squares():
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (20, 3)), rng.normal(size=20)
    coefficients, intercept = fit_ridge(x, y, 0.0)
    assert [intercept, *coefficients] == pytest.approx(sm.OLS(y, sm.add_constant(x)).fit().params)


def test_ridge_solves_its_normal_equations_and_shrinks():
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (20, 3)), rng.normal(size=20)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = np.linalg.solve(z.T @ z + 4 * np.eye(3), z.T @ (y - y.mean()))
    coefficients, intercept = fit_ridge(x, y, 4.0)
    assert coefficients * x.std(axis=0) == pytest.approx(expected)
    assert x.mean(axis=0) @ coefficients + intercept == pytest.approx(y.mean())
    assert np.linalg.norm(expected) < np.linalg.norm(fit_ridge(x, y, 0.0)[0] * x.std(axis=0))


def test_a_constant_predictor_gets_no_weight():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1)), rng.normal(size=20)
    coefficients, intercept = fit_ridge(np.column_stack([x, np.full(20, 0.1)]), y, 1.0)
    assert coefficients[1] == 0
    assert (coefficients[0], intercept) == pytest.approx((fit_ridge(x, y, 1.0)[0][0], fit_ridge(x, y, 1.0)[1]))


def test_every_fold_equals_a_regression_written_out():
    pairs = make_pairs(sources=LANGUAGES[:4])
    predictions = predict_held_out(pairs, ["genetic", "impact"], penalty=0.0)
    used = pairs[~pairs["is_in_language"]]
    for language, fold in predictions.groupby("held_out"):
        away = used[(used["source_language"] != language) & (used["target_language"] != language)]
        model = sm.OLS(away["score"], sm.add_constant(away[["genetic", "impact"]])).fit()
        test = used[(used["source_language"] == language) | (used["target_language"] == language)]
        assert fold["predicted"].to_numpy() == pytest.approx(
            model.predict(sm.add_constant(test[["genetic", "impact"]]))
        )
        assert fold["baseline"].to_numpy() == pytest.approx(np.full(len(test), away["score"].mean()))
        assert (fold["n_training"] == len(away)).all()
    assert predictions["held_out"].nunique() == 8


def test_predictions_for_a_language_do_not_see_its_accuracies():
    pairs = make_pairs()
    concerned = (pairs["source_language"] == "sw") | (pairs["target_language"] == "sw")
    other = pairs.assign(score=pairs["score"].where(~concerned, 0.123))
    one, two = (predict_held_out(p, ["genetic"]).query("held_out == 'sw'") for p in (pairs, other))
    pd.testing.assert_frame_equal(one[["predicted", "baseline"]], two[["predicted", "baseline"]])
    assert (two["score"] == 0.123).all()


def test_a_real_predictor_beats_the_mean_and_noise_does_not():
    table = compute_held_out(make_pairs()).set_index("predictors")
    assert table.loc["genetic", "r2"] > 0.95
    assert table.loc["genetic", "mae"] < 0.3 * table.loc["genetic", "mae_baseline"]
    assert table.loc["syntactic", "r2"] < 0.05
    assert table.loc["score_in_language", "r2"] == pytest.approx(0)  # constant: nothing but the mean


def test_summary_is_the_textbook_formula_over_predictions():
    rows = {"held_out": ["a", "b"], "source_language": "a", "target_language": "b", "n_training": 9}
    predictions = pd.DataFrame(rows | {"score": [0.5, 0.7], "predicted": [0.6, 0.7], "baseline": [0.4, 0.4]})
    summary = summarise_held_out(predictions)
    assert summary["mae"] == pytest.approx(0.05)
    assert summary["mae_baseline"] == pytest.approx(0.2)
    assert summary["r2"] == pytest.approx(1 - 0.01 / 0.1)
    assert (summary["n_predictions"], summary["n_pairs"], summary["n_languages"]) == (2, 1, 2)


def test_names_and_row_order_change_nothing():
    pairs = make_pairs()
    names = dict(zip(LANGUAGES, LANGUAGES[2:] + LANGUAGES[:2], strict=True))
    other = pairs.replace({"source_language": names, "target_language": names}).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(compute_held_out(other), compute_held_out(pairs))


def test_sets_leave_out_what_was_never_measured():
    sets = list_predictor_sets(make_pairs())
    assert sets == [
        ["genetic"],
        ["syntactic"],
        ["impact"],
        ["score_in_language"],
        ["genetic", "syntactic"],
        ["genetic", "syntactic", "impact"],
        ["genetic", "syntactic", "impact", "score_in_language"],
    ]
    assert ["genetic", "syntactic", "score_in_language"] in list_predictor_sets(make_pairs().assign(impact=np.nan))


def test_a_missing_predictor_leaves_out_its_pairs():
    pairs = make_pairs()
    pairs.loc[pairs["source_language"] == "sw", "genetic"] = np.nan
    table = compute_held_out(pairs).set_index("predictors")
    assert table.loc["genetic", "n_pairs"] == 56 - 7
    assert table.loc["syntactic", "n_pairs"] == 56


def test_too_few_pairs_give_a_reason_and_every_column():
    table = compute_held_out(make_pairs().query("source_language in ('ar', 'de') and target_language in ('ar', 'de')"))
    assert table["r2"].isna().all()
    assert table["reason"].str.contains("too few pairs").all()
    assert list(table.columns) == list(HELD_OUT)


def test_constant_accuracy_has_no_share_to_explain():
    table = compute_held_out(make_pairs().assign(score=0.3)).set_index("predictors")
    assert np.isnan(table.loc["genetic", "r2"])
    assert "constant" in table.loc["genetic", "reason"]
    assert table.loc["genetic", "mae"] == pytest.approx(0)
