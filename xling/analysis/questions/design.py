"""Says what a study could find before it is run: which correlations with distance its sources and targets can detect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from xling.analysis.inference.demeaned import leaves_pairs, two_way_basis
from xling.analysis.inference.null_correlations import null_correlations
from xling.analysis.inference.permutations import (
    MIN_ARRANGEMENTS,
    count_arrangements,
    draw_permutations,
    keep_unknown_in_place,
    language_roles,
    positions_of,
)
from xling.analysis.inference.power import SimulatedStudies
from xling.errors import XlingValueError

_N_DRAWS = 2_000
"""Relabellings from which the family-wise critical value is taken."""

DESIGN = {
    "predictor": "distance kind",
    "n_pairs": "pairs S != T with that distance",
    "main": "the main coefficient of this design: 'demeaned', or 'pearson' from one source",
    "detectable_r": "smallest |r| that a single test (p <= .05) finds with a probability of 80 %",
    "detectable_family_wise": "the same for the test that is family-wise over these distances",
    "reliability": "share of the variance of pairs that is not noise; NaN unless the noise is given",
    "detectable_true_r": "smallest correlation with the outcome free of noise that the family-wise test finds",
    "reason": "why a number is NaN, else empty",
}
"""Columns of the table of a design."""


@dataclass(frozen=True)
class Noise:
    """The noise with which a cell's outcome is measured.

    Attributes:
        pair_sd: standard deviation of the true values over pairs, beyond source and target effects.
        seed_sd: standard deviation between seeds of one cell.
        seeds: number of seeds averaged.
        example_sd: standard deviation of a cell's value from the examples, for one example: sqrt(p (1 - p)) of an accuracy.
        examples: number of examples (of groups of dependent ones), for impact the size of the probe set.
    """

    pair_sd: float
    seed_sd: float = 0.0
    seeds: int = 1
    example_sd: float = 0.0
    examples: int = 1

    @property
    def reliability(self) -> float:
        """Fraction of the variance of measured pairs that is not noise, 0..1."""
        noise = self.seed_sd**2 / self.seeds + self.example_sd**2 / self.examples
        return self.pair_sd**2 / (self.pair_sd**2 + noise)


def assess_design(
    sources: Sequence[str],
    targets: Sequence[str],
    distances: Mapping[str, pd.DataFrame],
    noise: Noise | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Say what a design would find.

    Args:
        sources: languages to fine-tune on.
        targets: languages to evaluate; pairs S = T are left out.
        distances: kind -> square frame over all of these languages.
        noise: of a cell; None = detectable measured correlations alone.
        seed: of permutations and simulated studies.

    Returns:
        Columns of `DESIGN`, a row per distance.

    Raises:
        XlingValueError: no pair of two different languages.
    """
    languages = sorted({*sources, *targets})
    observed = np.isin(languages, sources)[:, None] & np.isin(languages, targets) & ~np.eye(len(languages), dtype=bool)
    if not observed.any():
        raise XlingValueError("expected sources and targets with at least one pair of different languages, found none")
    cells = positions_of(observed)
    matrices = {kind: frame.loc[languages, languages].to_numpy(float) for kind, frame in distances.items()}
    demeaned, roles = leaves_pairs(*cells), language_roles(*cells, len(languages))
    critical = _critical(matrices, cells, roles, demeaned, seed)
    rows = [_row(kind, matrix, cells, roles, demeaned, critical, noise, seed) for kind, matrix in matrices.items()]
    return pd.DataFrame(rows, columns=list(DESIGN))


def _critical(matrices, cells, roles, demeaned: bool, seed: int) -> float:
    """Find what the largest |r| over the distances reaches by chance in 5 % of the relabellings of a study without effect."""
    permutations = draw_permutations(roles, _N_DRAWS, seed)
    noise = np.random.default_rng(seed).normal(size=(1, len(cells[0])))
    design = two_way_basis(*cells) if demeaned else None
    nulls = [
        null_correlations(m, noise, cells, permutations, design, follows_labels=True)[:, 0] for m in matrices.values()
    ]
    largest = np.nanmax(np.abs(np.where(np.isnan(nulls), 0.0, nulls)), axis=0)
    return float(np.quantile(largest, 0.95))


def _row(kind, matrix, cells, roles, demeaned: bool, critical: float, noise: Noise | None, seed: int) -> dict:
    n_pairs = int(np.isfinite(matrix[cells]).sum())
    row = {"predictor": kind, "n_pairs": n_pairs, "main": "demeaned" if demeaned else "pearson", "reason": ""}
    row["reliability"] = np.nan if noise is None else noise.reliability
    groups = keep_unknown_in_place(draw_permutations(roles, 0, seed), matrix, cells).groups
    if n_pairs < 3 or count_arrangements(groups) < MIN_ARRANGEMENTS:
        return row | {
            "reason": f"fewer than {MIN_ARRANGEMENTS} arrangements of the languages with this distance: no test"
        }
    studies = SimulatedStudies(matrix, cells, roles, demeaned, seed)
    single, family = studies.detectable(), studies.detectable(critical)
    row |= {"detectable_r": single, "detectable_family_wise": family}
    if np.isnan(family):
        return row | {"reason": "no correlation up to .99 is found with a probability of 80 %"}
    if noise is not None:
        true = family / np.sqrt(noise.reliability)
        row |= {"detectable_true_r": true if true <= 1 else np.nan}
        row["reason"] = "" if true <= 1 else "so noisy that no true correlation is found with a probability of 80 %"
    return row
