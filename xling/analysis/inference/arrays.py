"""Arranges pairs of languages as arrays: predictors over the full square of languages, outcomes over the observed cells."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from xling.analysis.inference.complete_design import largest_complete_part
from xling.analysis.inference.permutations import language_roles
from xling.analysis.schema import MEAN_LABEL

_PAIR = ["source_language", "target_language"]


@dataclass(frozen=True)
class PairArrays:
    """One analysis, ready for inference.

    Attributes:
        languages: the n languages that are rows and columns of the square.
        sources: int ``[n_cells]``, positions of the observed cells' source languages; S != T.
        targets: int ``[n_cells]``, positions of their target languages.
        predictors: float64 ``[n_predictors, n, n]``, NaN = missing; the diagonal is never used.
        outcomes: float64 ``[n_outcomes, n_cells]``, NaN = missing.
        controls: float64 ``[n_controls, n, n]``, NaN = missing.
        control_labels: name per control.
        predictor_labels: ``(predictor, layer_label)`` per predictor.
        outcome_labels: ``(outcome, layer_label)`` per outcome; equal outcome names form one family of tests.
        strata: int ``[n]``, e.g. of language families: languages of different strata never change places; None = one stratum.
    """

    languages: tuple[str, ...]
    sources: np.ndarray
    targets: np.ndarray
    predictors: np.ndarray
    outcomes: np.ndarray
    controls: np.ndarray
    control_labels: tuple[str, ...]
    predictor_labels: tuple[tuple[str, str], ...]
    outcome_labels: tuple[tuple[str, str], ...]
    strata: np.ndarray | None = None

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the observed cells."""
        return self.sources, self.targets

    @property
    def roles(self) -> np.ndarray:
        """Role of every language, see :func:`~xling.analysis.inference.permutations.language_roles`, within its stratum."""
        roles = language_roles(self.sources, self.targets, len(self.languages))
        return roles if self.strata is None else 4 * self.strata + roles

    @property
    def cell_predictors(self) -> np.ndarray:
        """The predictors at the observed cells, ``[n_predictors, n_cells]``."""
        return self.predictors[:, self.sources, self.targets]


def list_languages(cells: pd.DataFrame) -> tuple[str, ...]:
    """List the languages of a pair table, sources and targets together, sorted."""
    return tuple(sorted(set(cells["source_language"]) | set(cells["target_language"])))


def square(frame: pd.DataFrame, column: str, languages: tuple[str, ...]) -> np.ndarray:
    """Arrange a column as ``[n, n]`` float64, rows sources, columns targets, NaN where there is no row."""
    wide = frame.pivot(index="source_language", columns="target_language", values=column)
    return wide.reindex(index=languages, columns=languages).to_numpy(dtype=float)


def distance_arrays(
    pairs: pd.DataFrame, outcomes: list[str], distances: pd.DataFrame, kinds: list[str], controls: pd.DataFrame | None
) -> PairArrays:
    """Set distances against outcomes over the observed cells S != T.

    Args:
        pairs: one strategy's rows of the pair table.
        outcomes: columns of `pairs`; ``["impact"]`` is taken per layer and for the mean, others once per cell.
        distances: the distance table, all ordered pairs.
        kinds: columns of the distance table to use.
        controls: source_language, target_language and a column per control, or None.
    """
    between = pairs[~pairs["is_in_language"]]
    per_layer = outcomes == ["impact"]
    labels = _layer_labels(between) if per_layer else [""]
    values = {
        (outcome, label): between[between["layer_label"] == (label or MEAN_LABEL)].set_index(_PAIR)[outcome]
        for outcome in outcomes
        for label in labels
    }
    observed = pd.DataFrame(values).dropna(how="all")
    languages = list_languages(observed.index.to_frame())
    names = [] if controls is None else [column for column in controls.columns if column not in _PAIR]
    position = {language: i for i, language in enumerate(languages)}
    return PairArrays(
        languages=languages,
        sources=observed.index.get_level_values(0).map(position).to_numpy(dtype=np.intp),
        targets=observed.index.get_level_values(1).map(position).to_numpy(dtype=np.intp),
        predictors=_stack([square(distances, kind, languages) for kind in kinds], len(languages)),
        outcomes=observed.to_numpy(dtype=float).T,
        controls=_stack([square(controls, name, languages) for name in names], len(languages)),
        control_labels=tuple(names),
        predictor_labels=tuple((kind, "") for kind in kinds),
        outcome_labels=tuple(values),
    )


def impact_arrays(
    pairs: pd.DataFrame, outcomes: list[str], controls: pd.DataFrame | None, column: str = "impact"
) -> PairArrays:
    """Set impact, or another `column` measured at layers, per layer and for the mean, against outcomes of transfer.

    Args:
        pairs: one strategy's rows of the pair table; outcomes are read from the rows of the mean over layers.
        outcomes: columns of `pairs` to use as outcomes.
        controls: see :func:`distance_arrays`.
        column: column of `pairs` to use as predictor.
    """
    between = pairs[~pairs["is_in_language"]]
    arrays = distance_arrays(pairs, outcomes, between.iloc[:0], [], controls)
    labels = _layer_labels(between)
    layers = [square(between[between["layer_label"] == label], column, arrays.languages) for label in labels]
    return replace(
        arrays,
        predictors=_stack(layers, len(arrays.languages)),
        predictor_labels=tuple((column, label) for label in labels),
    )


def in_strata(arrays: PairArrays, strata: Mapping[str, str]) -> PairArrays:
    """Let languages change places within strata alone; one without a stratum keeps its place."""
    names = [strata.get(language, f"{language} by itself") for language in arrays.languages]
    return replace(arrays, strata=np.unique(names, return_inverse=True)[1])


def restrict_to_complete(arrays: PairArrays) -> PairArrays | None:
    """Keep the largest complete part of the design, in which both measured sides can be relabelled alike.

    Complete means: every outcome, and every predictor that has a value anywhere, is there for every pair of one of its
    sources and one of its targets. A study without gaps is complete as it is, however few its sources.

    Returns:
        The arrays of that part; None where no pair is complete.
    """
    known = arrays.predictors[np.isfinite(arrays.predictors).any(axis=(1, 2))]
    observed = np.zeros((len(arrays.languages),) * 2, dtype=bool)
    observed[arrays.cells] = np.isfinite(arrays.outcomes).all(axis=0)
    sources, targets = largest_complete_part(observed & np.isfinite(known).all(axis=0))
    if not len(sources):
        return None
    inside = np.isin(arrays.sources, sources) & np.isin(arrays.targets, targets)
    members = np.union1d(sources, targets)
    rows, columns = np.ix_(members, members)
    outside = ~(np.isin(members, sources)[:, None] & np.isin(members, targets)[None])
    return replace(
        arrays,
        languages=tuple(arrays.languages[i] for i in members),
        sources=np.searchsorted(members, arrays.sources[inside]),
        targets=np.searchsorted(members, arrays.targets[inside]),
        predictors=np.where(outside, np.nan, arrays.predictors[:, rows, columns]),
        outcomes=arrays.outcomes[:, inside],
        controls=arrays.controls[:, rows, columns],
        strata=None if arrays.strata is None else arrays.strata[members],
    )


def _layer_labels(pairs: pd.DataFrame) -> list[str]:
    return sorted(pairs["layer_label"].unique())  # '00' .. '12', 'mean'


def _stack(squares: list[np.ndarray], n: int) -> np.ndarray:
    return np.stack(squares) if squares else np.empty((0, n, n))
