"""Fits crossed random effects of source and target by REML, from sums per language instead of matrices as large as the pairs.

With Z the indicators of both effects, V = I + Z L L Z' (in units of the residual variance, L the effects' relative standard
deviations) and K = I + L Z'Z L, ``V^-1 = I - Z L K^-1 L Z'`` and ``|V| = |K|`` (Woodbury; Harville 1977, JASA 72): everything that
the likelihood needs comes from Z'Z, which counts how often two languages meet, and from sums of predictor and outcome per language.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_solve
from scipy.optimize import minimize

_STARTS = (0.1, 1.0, 5.0)
"""Standard deviations of the effects, in units of the residual's, among which the search begins."""

_LARGEST = 1e3
"""A standard deviation of an effect this large, in units of the residual's, means that there is no residual."""

_FLAT = 1e-6
"""A slope of the log-likelihood up to this, per observation, counts as 0."""

_NEWTON_STEPS = 20
"""Steps of Newton's method at most."""


@dataclass(frozen=True)
class CrossedFit:
    """The REML estimates.

    Attributes:
        slope: slope of y on x.
        slope_se: standard error of the slope, from the observed information of slope, intercept and the effects' variances (those
            at their bound of zero are taken as known).
        sd_effects: standard deviation of each random effect, ``[n_effects]``; 0 at its bound.
        sd_residual: standard deviation of the residual.
        log_likelihood: restricted log-likelihood, profiled over the residual variance, up to a constant of x, y and the design.
        converged: whether the likelihood is flat where the search stopped, or falls from the bound there.
    """

    slope: float
    slope_se: float
    sd_effects: np.ndarray
    sd_residual: float
    log_likelihood: float
    converged: bool


class CrossedEffects:
    """``y ~ x + (1 | source) + (1 | target)``, as a likelihood of the effects' variances.

    Args:
        x: float64 ``[n_pairs]``.
        y: float64 ``[n_pairs]``.
        effects: int ``[n_pairs]`` per effect: which of its levels each pair has, from 0.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *effects: np.ndarray) -> None:
        self.n = len(x)
        columns = np.column_stack([np.ones(self.n), x, y])
        indicators = [np.equal.outer(levels, np.arange(levels.max() + 1)).astype(float) for levels in effects]
        stacked = np.hstack(indicators)
        self.effect_of = np.repeat(np.arange(len(effects)), [own.shape[1] for own in indicators])
        self.n_effects = len(effects)
        self.counts, self.sums, self.products = stacked.T @ stacked, stacked.T @ columns, columns.T @ columns

    def at(self, ratios: np.ndarray) -> "_Likelihood":
        """Evaluate at variances of the effects in units of the residual variance, float64 ``[n_effects]``, none negative."""
        return _Likelihood(self, np.asarray(ratios, dtype=float))

    def fit(self) -> CrossedFit:
        """Maximise the restricted likelihood.

        Raises:
            numpy.linalg.LinAlgError: no residual variance is left, so that the likelihood grows without bound.
        """
        grid = np.stack(np.meshgrid(*[_STARTS] * self.n_effects), axis=-1).reshape(-1, self.n_effects)
        start = min(grid, key=lambda sds: -self.at(sds**2).value)
        ratios = self._search(start)
        stuck = (ratios == 0) & (self.at(ratios).gradient > _FLAT * self.n)
        if stuck.any():  # in standard deviations every bound is flat, also one from which the likelihood rises
            ratios = self._search(np.where(stuck, _STARTS[0], np.sqrt(ratios)))
        return self._summarise(self._polish(ratios))

    def _search(self, start: np.ndarray) -> np.ndarray:
        def falling(sds: np.ndarray) -> tuple[float, np.ndarray]:
            own = self.at(sds**2)
            return -own.value, -2 * sds * own.gradient

        bounds = [(0.0, _LARGEST)] * self.n_effects
        found = minimize(  # tighter than scipy's defaults, since Newton's steps must start near the maximum
            falling, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-8}
        )
        if (found.x >= 0.99 * _LARGEST).any():  # at the upper bound, or within what the search leaves of it
            raise np.linalg.LinAlgError("no residual variance is left")
        return (
            np.where(found.x < 1e-5, 0.0, found.x) ** 2
        )  # so near the lower bound, the likelihood does not tell it from 0

    def _polish(self, ratios: np.ndarray) -> np.ndarray:
        """Improve the estimates by Newton's method in the variances not at their bound, as long as the likelihood rises."""
        here = self.at(ratios)
        free = ratios > 0
        for _ in range(_NEWTON_STEPS if free.any() else 0):
            step = np.zeros(self.n_effects)
            step[free] = np.linalg.solve(here.hessian[np.ix_(free, free)], -here.gradient[free])
            if (here.ratios[free] + step[free] <= 0).any():
                break
            there = self.at(here.ratios + step)
            if not there.value >= here.value - 1e-12 * abs(here.value):  # a fall by more than rounding, or NaN
                break
            here, done = there, (np.abs(step) <= 1e-12 * (1 + here.ratios)).all()
            if done:
                break
        return here.ratios

    def _summarise(self, ratios: np.ndarray) -> CrossedFit:
        here = self.at(ratios)
        free = ratios > 0
        flat = np.abs(here.gradient * np.where(free, np.maximum(ratios, 1.0), 1.0)) <= _FLAT * self.n
        n_fixed = len(here.coefficients)
        estimated = np.concatenate([np.ones(n_fixed, dtype=bool), free])
        information = np.block([[here.fixed, here.mixed.T], [here.mixed, -here.hessian_beside]])[
            np.ix_(estimated, estimated)
        ]
        scale = here.scale
        return CrossedFit(
            slope=float(here.coefficients[1]),
            slope_se=float(np.sqrt(np.linalg.inv(information)[1, 1])),
            sd_effects=np.sqrt(scale * ratios),
            sd_residual=float(np.sqrt(scale)),
            log_likelihood=float(here.value),
            converged=bool(np.where(free, flat, here.gradient <= _FLAT * self.n).all()),
        )


class _Likelihood:
    """The profiled restricted log-likelihood at given variance ratios, with its derivatives in them."""

    def __init__(self, model: CrossedEffects, ratios: np.ndarray) -> None:
        self.model, self.ratios = model, ratios
        self.sds = np.sqrt(ratios)[model.effect_of]
        inner = np.eye(len(self.sds)) + self.sds[:, None] * model.counts * self.sds
        self.cholesky = np.linalg.cholesky(inner)
        self._scaled = self.sds[:, None] * model.sums
        weighted = model.products - self._scaled.T @ self._solve(self._scaled)  # [1 x y]' V^-1 [1 x y]
        self.of_x, with_y = weighted[:2, :2], weighted[:2, 2]
        self.coefficients = np.linalg.solve(self.of_x, with_y)
        self.residual_sum = weighted[2, 2] - with_y @ self.coefficients  # r' V^-1 r
        if not self.residual_sum > 1e-13 * model.products[2, 2]:  # a difference of large sums that is rounding alone
            raise np.linalg.LinAlgError("no residual variance is left")
        self.degrees = model.n - len(self.coefficients)
        self.scale = self.residual_sum / self.degrees

    def _solve(self, values: np.ndarray) -> np.ndarray:
        return cho_solve((self.cholesky, True), values, check_finite=False)

    @cached_property
    def value(self) -> float:
        """Restricted log-likelihood (REML) at these ratios, but for a constant, with the residual variance profiled out."""
        determinants = 2 * np.log(np.diag(self.cholesky)).sum() + np.linalg.slogdet(self.of_x)[1]
        return -0.5 * (self.degrees * np.log(self.residual_sum) + determinants)

    @cached_property
    def _across(self) -> np.ndarray:
        """Z' V^-1 Z."""
        scaled = self.sds[:, None] * self.model.counts
        return self.model.counts - scaled.T @ self._solve(scaled)

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Z' V^-1 [1 x], and Z' V^-1 r."""
        scaled = self.sds[:, None] * self.model.counts
        columns = self.model.sums - scaled.T @ self._solve(self._scaled)
        return columns[:, :2], columns[:, 2] - columns[:, :2] @ self.coefficients

    @cached_property
    def _members(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.model.effect_of == effect) for effect in range(self.model.n_effects)]

    @cached_property
    def _changes_of_x(self) -> list[np.ndarray]:
        """X' V^-1 dV V^-1 X per effect."""
        of_x, _ = self._columns
        return [of_x[own].T @ of_x[own] for own in self._members]

    @cached_property
    def _changes_of_residual_sum(self) -> np.ndarray:
        """r' V^-1 dV V^-1 r per effect."""
        _, of_r = self._columns
        return np.array([(of_r[own] ** 2).sum() for own in self._members])

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivative of the log-likelihood in each ratio."""
        traces = np.array([np.trace(self._across[np.ix_(own, own)]) for own in self._members])
        of_fixed = np.array([np.trace(np.linalg.solve(self.of_x, change)) for change in self._changes_of_x])
        return -0.5 * (traces - self.degrees * self._changes_of_residual_sum / self.residual_sum - of_fixed)

    @cached_property
    def hessian(self) -> np.ndarray:
        """Second derivatives of the log-likelihood in the ratios, coefficients at their best for each."""
        return self.hessian_beside + self.mixed @ np.linalg.solve(self.fixed, self.mixed.T)

    @cached_property
    def hessian_beside(self) -> np.ndarray:
        """Second derivatives of the log-likelihood in the ratios, coefficients staying as they are."""
        of_x, of_r = self._columns
        solved = [np.linalg.solve(self.of_x, change) for change in self._changes_of_x]
        result = np.empty((self.model.n_effects,) * 2)
        for i, own in enumerate(self._members):
            for j, other in enumerate(self._members):
                across = self._across[np.ix_(own, other)]
                of_residual_sum = 2 * of_r[own] @ across @ of_r[other]
                of_fixed = 2 * of_x[own].T @ across @ of_x[other]
                change = (across**2).sum() + np.trace(solved[i] @ solved[j])
                change -= np.trace(np.linalg.solve(self.of_x, (of_fixed + of_fixed.T) / 2))
                product = self._changes_of_residual_sum[i] * self._changes_of_residual_sum[j]
                result[i, j] = 0.5 * (
                    change - self.degrees * (of_residual_sum / self.residual_sum - product / self.residual_sum**2)
                )
        return result

    @property
    def fixed(self) -> np.ndarray:
        """Observed information of the coefficients."""
        return self.of_x / self.scale

    @property
    def mixed(self) -> np.ndarray:
        """Observed information between the ratios and the coefficients, ``[n_effects, 2]``."""
        of_x, of_r = self._columns
        return np.array([of_r[own] @ of_x[own] for own in self._members]) / self.scale
