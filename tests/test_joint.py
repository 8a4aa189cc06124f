"""All predictors in one model, against statsmodels, double loops and enumeration."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from xling.analysis.inference.arrays import PairArrays
from xling.analysis.inference.dyadic import dyadic_errors
from xling.analysis.inference.joint import JOINT, infer_joint
from xling.analysis.inputs.measurements import Resampling
from xling.analysis.schema import Analysis
from xling.report.sections.joint import joint_section

FEW = Resampling(200, 0, 0)


def make_arrays(n=8, n_sources=None, n_predictors=3, seed=0) -> PairArrays:
    rng = np.random.default_rng(seed)
    sources, targets = np.nonzero(~np.eye(n, dtype=bool)[: n_sources or n])
    predictors = rng.random((n_predictors, n, n))
    predictors[1] += 0.8 * predictors[0]
    effects = rng.normal(size=(2, n))
    y = (
        effects[0][sources]
        + effects[1][targets]
        - predictors[0][sources, targets]
        + 0.3 * rng.normal(size=len(sources))
    )
    return PairArrays(
        languages=tuple("abcdefghijkl"[:n]),
        sources=sources,
        targets=targets,
        predictors=predictors,
        outcomes=y[None],
        controls=np.empty((0, n, n)),
        control_labels=(),
        predictor_labels=tuple((name, "") for name in ("genetic", "syntactic", "lexical")[:n_predictors]),
        outcome_labels=(("score", ""),),
    )


def dummies(arrays):
    return np.hstack([np.equal.outer(side, np.unique(side)).astype(float) for side in arrays.cells])


def residual(values, columns):
    return values - columns @ np.linalg.lstsq(columns, values)[0]


def test_slopes_and_shares_are_those_of_least_squares_with_dummies():
    arrays = make_arrays()
    table = infer_joint(arrays, FEW).set_index("predictor")
    effects = dummies(arrays)
    x = np.array([residual(values, effects) for values in arrays.cell_predictors]).T
    y = residual(arrays.outcomes[0], effects)
    fitted = sm.OLS(y, x).fit()
    assert list(table.reset_index().columns.sort_values()) == sorted(JOINT)
    assert table["r_squared"].tolist() == pytest.approx([fitted.rsquared] * 3)
    expected = fitted.params * np.linalg.norm(x, axis=0) / np.linalg.norm(y)
    assert table["beta"].to_numpy() == pytest.approx(expected)
    for k, name in enumerate(table.index):
        without = sm.OLS(y, np.delete(x, k, axis=1)).fit()
        alone = sm.OLS(y, x[:, k]).fit()
        assert table.loc[name, "unique"] == pytest.approx(fitted.rsquared - without.rsquared)
        assert table.loc[name, "total"] == pytest.approx(alone.rsquared)
        assert table.loc[name, "shared"] == pytest.approx(alone.rsquared - (fitted.rsquared - without.rsquared))
        others = sm.OLS(x[:, k], np.delete(x, k, axis=1)).fit()
        assert table.loc[name, "vif"] == pytest.approx(1 / (1 - others.rsquared))


@pytest.mark.parametrize("n_sources", [None, 3, 1])
def test_dyadic_errors_equal_the_double_loop_over_pairs_that_share_a_language(n_sources):
    arrays = make_arrays(n_sources=n_sources)
    rng = np.random.default_rng(1)
    x, e = rng.normal(size=(2, len(arrays.sources)))
    leverage = rng.uniform(0.1, 0.9, size=len(x))
    raw, e = e, e / np.sqrt(1 - leverage)
    cells = list(zip(*arrays.cells, strict=True))
    middle = sum(
        x[a] * e[a] * x[b] * e[b]
        for a, b in itertools.product(range(len(cells)), repeat=2)
        if set(cells[a]) & set(cells[b])
    )
    variance = max(middle * 8 / 7, sum((x * e) ** 2)) / (x @ x) ** 2
    found, freedom = dyadic_errors(x[None], raw, leverage, *arrays.cells)
    assert freedom.tolist() == [7]
    assert found[0] == pytest.approx(np.sqrt(variance))


def test_dyadic_errors_use_the_leverage_of_the_whole_model():
    arrays = make_arrays()
    design = np.column_stack([dummies(arrays), arrays.cell_predictors.T])
    hat = np.diag(design @ np.linalg.pinv(design))
    own = residual(arrays.cell_predictors[0], np.column_stack([dummies(arrays), arrays.cell_predictors[1:].T]))
    left = residual(arrays.outcomes[0], design)
    expected = dyadic_errors(own[None], left, hat, *arrays.cells)[0][0]
    effects_alone = dummies(arrays)
    scale = np.linalg.norm(residual(arrays.cell_predictors[0], effects_alone)) / np.linalg.norm(
        residual(arrays.outcomes[0], effects_alone)
    )  # beta is standardised
    found = infer_joint(arrays, FEW).set_index("predictor").loc["genetic", "se_dyadic"]
    assert found == pytest.approx(expected * scale)


def test_a_pair_that_the_model_determines_adds_nothing_to_dyadic_errors():
    arrays = make_arrays()
    x, e = np.random.default_rng(2).normal(size=(2, len(arrays.sources)))
    leverage = np.full(len(x), 0.3)
    e[0], leverage[0] = 1e-17, 1.0
    without = np.where(np.arange(len(x)) == 0, 0.0, e)
    found = dyadic_errors(x[None], e, leverage, *arrays.cells)[0]
    assert found[0] == pytest.approx(dyadic_errors(x[None], without, np.full(len(x), 0.3), *arrays.cells)[0][0])


def test_p_values_are_double_semi_partialling_by_enumeration():
    arrays = make_arrays(n=5, n_predictors=2, seed=3)
    table = infer_joint(arrays, Resampling(1_000, 0, 0)).set_index("predictor")
    effects, (s, t) = dummies(arrays), arrays.cells
    x = arrays.cell_predictors
    square = np.zeros((5, 5))
    square[s, t] = residual(x[0], np.column_stack([effects, x[1]]))
    given = np.column_stack([effects, x[1]])

    def partial(order):
        moved = square[np.ix_(order, order)][s, t]
        return abs(np.corrcoef(residual(moved, given), residual(arrays.outcomes[0], given))[0, 1])

    null = np.array([partial(list(order)) for order in itertools.permutations(range(5))])
    assert table.loc["genetic", "partial_r"] == pytest.approx(-null[0])
    assert table.loc["genetic", "p_qap"] == pytest.approx((null >= null[0] - 1e-9).mean())
    assert (table["p_max_t"] >= table["p_qap"]).all()


def test_from_one_source_the_mean_alone_is_removed():
    table = infer_joint(make_arrays(n_sources=1, n=12), FEW)
    assert (table["main"] == "pearson").all()
    assert table["p_qap"].notna().all()


def test_slopes_from_one_source_are_those_of_least_squares_with_a_constant():
    arrays = make_arrays(n_sources=1)
    table = infer_joint(arrays, FEW).set_index("predictor")
    x, y = arrays.cell_predictors.T, arrays.outcomes[0]
    fitted = sm.OLS(y, sm.add_constant(x)).fit()
    assert (table["main"] == "pearson").all()
    assert table["r_squared"].tolist() == pytest.approx([fitted.rsquared] * 3)
    expected = fitted.params[1:] * x.std(axis=0) / y.std()
    assert table["beta"].to_numpy() == pytest.approx(expected)


def test_what_cannot_be_fitted_says_why():
    arrays = make_arrays()
    doubled = replace(arrays, predictors=np.stack([arrays.predictors[0], arrays.predictors[0], arrays.predictors[2]]))
    table = infer_joint(doubled, FEW)
    assert table["reason"].tolist() == ["a combination of the others", "a combination of the others", ""]
    additive = np.add.outer(np.arange(8.0), np.arange(8.0) ** 2)
    table = infer_joint(replace(arrays, predictors=np.stack([additive, *arrays.predictors[1:]])), FEW)
    assert table["reason"][0] == "source and target effects leave nothing of it"
    assert table["p_qap"].notna().tolist() == [False, True, True]
    missing = arrays.predictors.copy()
    missing[2, :6] = np.nan
    table = infer_joint(replace(arrays, predictors=missing), FEW).set_index("predictor")
    assert "missing for 75% of the pairs" in table.loc["lexical", "reason"]
    assert (table.drop("lexical")["n_pairs"] == 56).all()
    assert infer_joint(
        replace(arrays, predictors=arrays.predictors[:1], predictor_labels=(("genetic", ""),)), FEW
    ).empty
    constant = infer_joint(replace(arrays, outcomes=np.ones_like(arrays.outcomes)), FEW)
    assert constant["reason"].str.contains("constant outcome").all()


def test_a_language_without_data_in_one_predictor_leaves_the_model_and_keeps_its_place():
    arrays = make_arrays()
    missing = arrays.predictors.copy()
    missing[2, 7] = missing[2, :, 7] = np.nan
    table = infer_joint(replace(arrays, predictors=missing), FEW)
    inside = (arrays.sources < 7) & (arrays.targets < 7)
    smaller = replace(
        arrays, languages=arrays.languages[:7], sources=arrays.sources[inside], targets=arrays.targets[inside],
        predictors=arrays.predictors[:, :7, :7], outcomes=arrays.outcomes[:, inside], controls=np.empty((0, 7, 7)),
    )  # fmt: skip
    expected = infer_joint(smaller, FEW)
    assert table["n_pairs"].tolist() == [42] * 3
    assert table["beta"].to_numpy() == pytest.approx(expected["beta"].to_numpy())
    assert table["p_qap"].to_numpy() == pytest.approx(expected["p_qap"].to_numpy(), abs=0.12)


def test_the_section_names_what_adds_to_the_others_and_what_cannot_be_told_apart():
    table = infer_joint(make_arrays(n=9), FEW)
    section = joint_section(Analysis({"joint_models": table}))
    assert "all 3 predictors together explain" in section.paragraphs[0]
    assert "given all others genetic (β" in section.paragraphs[0]
    alike = joint_section(Analysis({"joint_models": table.assign(vif=20.0, p_max_t=0.6)}))
    assert "none differs from 0 family-wise" in alike.paragraphs[0]
    assert (
        "Too alike to be told apart (variance inflation above 10): genetic, syntactic and lexical"
        in alike.paragraphs[0]
    )
    untested = joint_section(Analysis({"joint_models": table.assign(p_max_t=np.nan, reason="few")}))
    assert "not tested (few)" in untested.paragraphs[0]
    assert "at least two distances" in joint_section(Analysis({})).reason
