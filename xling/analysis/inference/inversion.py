"""Inverts a permutation test: the interval holds all effects that the test of that effect does not reject.

For an effect ``b`` of the predictor x, the test looks at ``y - b x``: is what is left still related to x? With x and y freed
of the design and of length 1, observed correlation r, and under a relabelling the correlations ``c_y`` of the relabelled
predictor with y and ``c_x`` with x itself, the relabelling is at least as extreme as what was observed where
``|c_y - b c_x| >= |r - b|``. That is an interval of b around r, between ``(r - c_y) / (1 - c_x)`` and
``(r + c_y) / (1 + c_x)``. The effects on one side of r that are not rejected at level alpha are those that more than a
share alpha of these intervals reach, so both ends are quantiles: no search, no grid, and the interval excludes 0 exactly
where p <= alpha.

The coverage is that of the test: exact where sources, targets and errors are exchangeable within their roles, however few
the sources. A bootstrap of languages covers .72 to .81 at a nominal .95 with three sources. The interval is one of the
standardised slope; it is printed beside r, which it equals at b = r.

References: Manly 2007, Randomization, Bootstrap and Monte Carlo Methods in Biology (1.4, intervals by randomisation).
"""

import numpy as np

ALPHA = 0.05
_SAME = 1e-9
"""Rounding: a relabelled predictor that correlates with itself by 1 (or -1) up to this is the predictor (or its negative),
and alpha times the number of relabellings is a whole number where it is one up to this."""


def invert_test(
    observed: np.ndarray, null: np.ndarray, own: np.ndarray, exact: bool, alpha: float = ALPHA
) -> tuple[np.ndarray, np.ndarray]:
    """Invert the two-sided permutation test of a correlation.

    Args:
        observed: float64 ``[...]``, the correlations, NaN = undefined.
        null: float64 ``[n_permutations, ...]``, correlations of the relabelled predictor with the outcome.
        own: float64 ``[n_permutations, ...]`` (or broadcast to it), correlations of the relabelled predictor with itself.
        exact: all relabellings are there (the identity among them), otherwise the observed one is counted besides.
        alpha: 1 - the coverage.

    Returns:
        ``(low, high)``, float64 ``[...]`` in -1..1: -1 or 1 where the effects that are not rejected have no bound; NaN where
        `observed` is or no relabelling is defined.
    """
    own = np.broadcast_to(own, null.shape)
    low, high = (_ends(sign * observed, sign * null, own, exact, alpha) for sign in (1, -1))
    return low, -high


def _ends(observed: np.ndarray, null: np.ndarray, own: np.ndarray, exact: bool, alpha: float) -> np.ndarray:
    """Find the lower end of each interval, ``[...]``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first = np.where(1 - own > _SAME, (observed - null) / (1 - own), -np.inf)
        second = np.where(1 + own > _SAME, (observed + null) / (1 + own), -np.inf)
    reach = np.where(np.isfinite(null) & np.isfinite(own), np.minimum(first, second), np.nan)
    if not exact:
        reach = np.concatenate([np.full((1, *observed.shape), -np.inf), reach])
    known = (~np.isnan(reach)).sum(axis=0)
    place = np.floor(alpha * known + _SAME).astype(int)
    ordered = np.sort(reach, axis=0)  # NaN comes last
    end = np.take_along_axis(ordered, np.minimum(place, len(reach) - 1)[None], axis=0)[0]
    enough = np.isfinite(observed) & (known > (0 if exact else 1))
    return np.where(enough, np.clip(end, -1, 1), np.nan)
