"""Crossed random effects, against statsmodels, dense matrices and finite differences."""

import warnings

import numpy as np
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from xling.analysis.inference.crossed_effects import CrossedEffects


def make_pairs(n, sd_source, sd_target, sd_residual, gaps=0.0, seed=0):
    """x with a target effect of its own, y, sources and targets of n languages, S != T, some pairs missing."""
    generator = np.random.default_rng(seed)
    sources, targets = np.nonzero(~np.eye(n, dtype=bool) & (generator.random((n, n)) >= gaps))
    x = generator.normal(size=len(sources)) + generator.normal(size=n)[targets]
    of_source, of_target = sd_source * generator.normal(size=n), sd_target * generator.normal(size=n)
    y = 0.2 * x + of_source[sources] + of_target[targets] + sd_residual * generator.normal(size=len(sources))
    return x, y, sources, targets


def fit_by_statsmodels(x, y, *effects):
    indicators = [[np.equal.outer(own, np.unique(own)).astype(float)] for own in effects]
    names = [[np.unique(own).tolist()] for own in effects]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        specification = VCSpec([str(i) for i in range(len(effects))], names, indicators)
        design = np.column_stack([np.ones_like(x), x])
        model = MixedLM(y, design, groups=np.ones(len(y)), exog_vc=specification)
        fitted = model.fit(reml=True, method="powell", xtol=1e-10, ftol=1e-14)
        return fitted, fitted.bse[1]


@pytest.mark.parametrize(
    "pairs",
    [
        make_pairs(8, 1, 1, 1),
        make_pairs(15, 0.3, 1, 0.2),
        make_pairs(12, 2, 0.5, 0.5, gaps=0.3, seed=1),
        make_pairs(15, 0.3, 1, 0.5, gaps=0.1, seed=2),
    ],
)
def test_estimates_and_standard_errors_equal_those_of_statsmodels(pairs):
    found = CrossedEffects(*pairs).fit()
    expected, slope_se = fit_by_statsmodels(*pairs)
    assert found.converged
    assert found.slope == pytest.approx(expected.fe_params[1], abs=1e-6)
    assert found.slope_se == pytest.approx(slope_se, abs=1e-6)
    np.testing.assert_allclose(found.sd_effects, np.sqrt(expected.vcomp), atol=1e-6)
    assert found.sd_residual == pytest.approx(np.sqrt(expected.scale), abs=1e-6)


def test_few_sources_of_many_targets_equal_statsmodels():
    x, y, sources, targets = make_pairs(15, 0.5, 1, 0.5, seed=3)
    few = sources < 3
    pairs = x[few], y[few], sources[few], np.unique(targets[few], return_inverse=True)[1]
    expected, slope_se = fit_by_statsmodels(*pairs)
    found = CrossedEffects(*pairs).fit()
    assert (found.slope, found.slope_se) == pytest.approx((expected.fe_params[1], slope_se), abs=1e-6)


def test_an_effect_at_its_bound_of_zero_leaves_the_model_without_it():
    x, y, sources, targets = make_pairs(12, 0.05, 0.5, 1, gaps=0.1, seed=0)
    both, alone = CrossedEffects(x, y, sources, targets).fit(), CrossedEffects(x, y, targets).fit()
    assert both.sd_effects[0] == 0
    expected, slope_se = fit_by_statsmodels(x, y, targets)
    for found in (both, alone):
        assert found.converged
        assert found.slope == pytest.approx(expected.fe_params[1], abs=1e-6)
        assert found.slope_se == pytest.approx(slope_se, abs=1e-6)


def dense_log_likelihood(x, y, sources, targets, ratios):
    indicators = [np.equal.outer(own, np.unique(own)).astype(float) for own in (sources, targets)]
    v = np.eye(len(y)) + sum(ratio * own @ own.T for ratio, own in zip(ratios, indicators, strict=True))
    design, inverse = np.column_stack([np.ones_like(x), x]), np.linalg.inv(v)
    of_x = design.T @ inverse @ design
    left = y - design @ np.linalg.solve(of_x, design.T @ inverse @ y)
    logs = [np.linalg.slogdet(part)[1] for part in (v, of_x)]
    return -0.5 * ((len(y) - 2) * np.log(left @ inverse @ left) + sum(logs))


@pytest.mark.parametrize("ratios", [(0.5, 2.0), (0.0, 1.0), (30.0, 0.01)])
def test_the_likelihood_is_that_of_matrices_as_large_as_the_pairs(ratios):
    pairs = make_pairs(9, 1, 1, 1, gaps=0.2)
    assert CrossedEffects(*pairs).at(ratios).value == pytest.approx(dense_log_likelihood(*pairs, ratios), abs=1e-9)


@pytest.mark.parametrize("ratios", [(0.5, 2.0), (4.0, 0.3)])
def test_derivatives_are_those_of_finite_differences(ratios):
    model = CrossedEffects(*make_pairs(9, 1, 1, 1, gaps=0.2))
    here, step = model.at(ratios), 1e-5
    for i in range(2):
        up, down = (model.at(ratios + sign * step * np.eye(2)[i]) for sign in (1, -1))
        assert here.gradient[i] == pytest.approx((up.value - down.value) / (2 * step), rel=1e-5, abs=1e-7)
        np.testing.assert_allclose(here.hessian[i], (up.gradient - down.gradient) / (2 * step), rtol=1e-5, atol=1e-7)


def test_no_variances_on_a_grid_are_more_likely_than_the_estimates():
    pairs = make_pairs(8, 0.2, 1, 0.7, seed=4)
    found = CrossedEffects(*pairs).fit()
    grid = [(a, b) for a in (0, *np.logspace(-3, 3, 13)) for b in (0, *np.logspace(-3, 3, 13))]
    assert max(CrossedEffects(*pairs).at(ratios).value for ratios in grid) <= found.log_likelihood


def test_an_outcome_without_residual_is_refused():
    x, _, sources, targets = make_pairs(8, 1, 1, 1)
    for y in (0.3 * x, 0.3 * x + np.arange(8.0)[sources] ** 2 + np.sin(targets)):
        with pytest.raises(np.linalg.LinAlgError, match="no residual variance is left"):
            CrossedEffects(x, y, sources, targets).fit()


@pytest.mark.parametrize("sds", [(1, 1, 1), (0.3, 1, 0.5), (0.5, 0.3, 1)])
def test_the_likelihood_is_flat_at_the_estimates(sds):
    model = CrossedEffects(*make_pairs(12, *sds, gaps=0.1, seed=5))
    found = model.fit()
    assert (found.sd_effects > 0).all()
    assert np.abs(model.at((found.sd_effects / found.sd_residual) ** 2).gradient).max() < 1e-9
