"""Defines what every distance source returns: square matrices with their coverage, and the tidy table made from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from xling.errors import XlingValueError

COVERAGE_SUFFIX = "_coverage"
WITHOUT_FEATURES = ("genetic", "geographic")
"""Kinds whose coverage counts no typological features: family nodes, and points on the globe."""


class DistanceWarning(UserWarning):
    """Warns of something about distances that a careful reader would want to know; base of the warnings below."""


class CodeWarning(DistanceWarning):
    """Warns that a label was reduced to its language code, or means something else in another data set."""


class MacrolanguageWarning(DistanceWarning):
    """Warns that a macrolanguage was asked for, whose row in URIEL mixes several languages.

    Attributes:
        languages: labels of the macrolanguages, as they were asked for.
    """

    def __init__(self, message: str, languages: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.languages = tuple(languages)


class PlaceholderWarning(DistanceWarning):
    """Warns that some of the paper's distances are placeholders, not measurements."""


class Matrix(NamedTuple):
    """One kind of distance between n languages; each array [n, n], source language in rows, target in columns."""

    values: np.ndarray  # float: 0 on the diagonal, NaN = missing
    coverage: np.ndarray  # features observed for both languages; NaN = not known
    placeholders: np.ndarray  # bool: the value is no measurement


@dataclass(frozen=True)
class Distances:
    """Distances between languages, one or more kinds, from one source.

    Attributes:
        source: name of the source, e.g. repaired.
        languages: labels of the languages as the user gave them.
        values: kind -> square frame of distances, source language in rows, target language in columns; 0 on the
            diagonal; NaN = missing.
        coverage: kind -> square frame of the number of features observed for both languages; NaN = not known.
        placeholders: kind -> square boolean frame, true where the value is no measurement (only source `paper` has any).
    """

    source: str
    languages: tuple[str, ...]
    values: dict[str, pd.DataFrame]
    coverage: dict[str, pd.DataFrame]
    placeholders: dict[str, pd.DataFrame]

    @classmethod
    def from_matrices(cls, source: str, languages: Iterable[str], matrices: Mapping[str, Matrix]) -> "Distances":
        """Label matrices, one per kind, with their languages."""
        labels = tuple(languages)
        frames = {
            field: {kind: pd.DataFrame(getattr(m, field), index=labels, columns=labels) for kind, m in matrices.items()}
            for field in Matrix._fields
        }
        return cls(source, labels, **frames)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of distance that there are, in the order asked for."""
        return tuple(self.values)

    def n_placeholder_pairs(self, kind: str) -> int:
        """Count the unordered pairs of different languages whose distance is a placeholder."""
        return int(np.triu(self.placeholders[kind].to_numpy(), k=1).sum())

    def require_coverage(self, n_features: int) -> tuple["Distances", list[str]]:
        """Take out the pairs whose typological distance rests on few features.

        Args:
            n_features: smallest number of features that must be observed for both languages. Genetic and geographic distance rest
                on no features, and these two stay as they are, as does a kind whose coverage is not known.

        Returns:
            The distances, NaN where fewer features were observed, and a sentence per kind that lost pairs.

        Raises:
            XlingValueError: `n_features` is no whole number of at least 0.
        """
        if isinstance(n_features, bool) or not isinstance(n_features, int) or n_features < 0:
            raise XlingValueError(
                f"expected min_coverage as a whole number of features, at least 0, found {n_features!r}"
            )
        values, sentences = dict(self.values), []
        for kind in self.kinds:
            if kind in WITHOUT_FEATURES:
                continue
            thin = (self.coverage[kind] < n_features).to_numpy() & self.values[kind].notna().to_numpy()
            np.fill_diagonal(thin, False)
            values[kind] = self.values[kind].mask(thin)
            if n_pairs := int(np.triu(thin | thin.T).sum()):
                sentences.append(
                    f"The {kind} distance of {n_pairs} pairs of languages rests on fewer than {n_features} "
                    "features and is left out (min_coverage)."
                )
        return replace(self, values=values), sentences

    def to_table(self) -> pd.DataFrame:
        """Make a table with one row per ordered pair of languages, S = T included.

        Returns:
            Columns source_language, target_language, one per kind, then one ``<kind>_coverage`` per kind.
        """
        n = len(self.languages)
        columns = {"source_language": np.repeat(self.languages, n), "target_language": np.tile(self.languages, n)}
        columns |= {kind: frame.to_numpy().ravel() for kind, frame in self.values.items()}
        columns |= {kind + COVERAGE_SUFFIX: frame.to_numpy().ravel() for kind, frame in self.coverage.items()}
        return pd.DataFrame(columns)
