"""Compares several studies: their maps of impact against distance, how far they agree, and what holds in all of them.

A map is a study's correlations of impact with every distance at every layer. Encoders differ in depth, so layers are
matched by relative depth: the rows are the layers of the shallowest encoder, and a deeper one gives to layer i of n the
layer of its own N nearest to ``i N / n`` (the upper of two equally near).
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from xling.analysis.inference.agreement import compare_maps, compare_pairs
from xling.analysis.inference.arrays import PairArrays, distance_arrays, list_languages, square
from xling.analysis.inference.qap import benjamini_hochberg
from xling.analysis.inputs.measurements import Resampling
from xling.analysis.questions.meta_analysis import pool_studies
from xling.analysis.schema import IMPACT_VS_DISTANCE, MEAN_LABEL, Analysis, distance_kinds
from xling.errors import XlingValueError

LEVEL = 0.05
TABLES = ("comparison_studies", "comparison_maps", "comparison_agreement", "comparison_everywhere", "comparison_pooled")

MAPS = {
    "study": "name of the study",
    "predictor": "distance kind",
    "row": "'00', '01', ...: layer of the shallowest encoder; or 'mean'",
    "layer_label": "the study's own layer of that relative depth",
    "n_pairs": "ordered pairs S != T with both values",
    "main": "which coefficient: see the table correlations",
    "r": "main coefficient of impact with distance in that study",
    "p_max_t": "its family-wise p-value within that study",
    "reason": "why there is no coefficient, else empty",
}
AGREEMENT = {
    "study_a": "one study",
    "study_b": "another",
    "what": "map (correlations of all layers and distances), impact (of language pairs), or score (of language pairs)",
    "row": "as in comparison_maps, for impact; else empty",
    "n": "cells of the map, or pairs S != T, that both studies have",
    "main": "'demeaned': source and target effects are removed from both; 'pearson' where that leaves nothing; '' for maps",
    "pearson_r": "correlation over these",
    "n_permuted": "of these, how many the permutation is taken over",
    "p_value": "two-sided, by permutation of languages",
    "p_bh": "Benjamini-Hochberg adjusted over the whole table",
    "reason": "why a number is NaN, else empty",
}
EVERYWHERE = {
    "predictor": "distance kind",
    "row": "as in comparison_maps",
    "n_studies": "studies with a coefficient there",
    "n_significant": f"studies with a family-wise p-value of at most {LEVEL}",
    "r_low": "smallest coefficient",
    "r_high": "largest coefficient",
    "p_value": "largest family-wise p-value: that of the claim that all studies show it; NaN unless all have the cell",
    "holds": f"in every study, with one sign, p_value <= {LEVEL}",
}


@dataclass(frozen=True)
class AnalysedStudy:
    """A study's own analysis, and the distances that it was made with."""

    distances: pd.DataFrame
    analysis: Analysis

    @property
    def pairs(self) -> pd.DataFrame:
        """The rows of its main strategy."""
        pairs = self.analysis.tables["pairs"]
        return pairs[pairs["strategy"] == self.analysis.facts["strategy"]]

    @property
    def n_layers(self) -> int:
        """Depth, as far as impact was measured; 0 = not at all."""
        layers = self.pairs.loc[self.pairs["impact"].notna(), "layer"].dropna()
        return int(layers.max()) if len(layers) else 0


def compare_studies(studies: Mapping[str, AnalysedStudy], resampling: Resampling | None = None) -> Analysis:
    """Set studies side by side.

    Args:
        studies: name -> study, at least two, each analysed in default mode.
        resampling: number of permutations and their seed; None = the defaults.

    Returns:
        The tables of ``TABLES``, with what differs between the studies as warnings.

    Raises:
        XlingValueError: fewer than two studies, or one without the tests of default mode.
    """
    if len(studies) < 2:
        raise XlingValueError(f"a comparison needs at least two studies, found {', '.join(studies) or 'none'}")
    for name, study in studies.items():
        if "correlations" not in study.analysis.tables:
            raise XlingValueError(
                f"study {name} has no tested correlations to compare; analyse with mode=default or both"
            )
    resampling = resampling or Resampling()
    rows = match_layers({name: study.n_layers for name, study in studies.items() if study.n_layers})
    maps = _maps(studies, rows)
    tables = {
        "comparison_studies": pd.DataFrame([_describe(name, study) for name, study in studies.items()]),
        "comparison_maps": maps,
        "comparison_agreement": _agreement(studies, rows, resampling),
        "comparison_everywhere": find_everywhere(maps, list(studies)),
        "comparison_pooled": pool_studies(
            {name: _matched_tests(study, rows.get(name)) for name, study in studies.items()}
        ),
    }
    facts = {"studies": list(studies), "permutations": resampling.permutations, "seed": resampling.seed}
    return Analysis(tables, _what_differs(tables["comparison_studies"]), facts)


def match_layers(depths: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Match layers by relative depth: study -> row -> the study's own layer label.

    >>> match_layers({"a": 2, "b": 4})["b"]
    {'00': '00', '01': '02', '02': '04', 'mean': 'mean'}
    """
    fewest = min(depths.values(), default=0)
    own = {name: [math.floor(i * n / max(fewest, 1) + 0.5) for i in range(fewest + 1)] for name, n in depths.items()}
    return {
        name: {f"{i:02d}": f"{layer:02d}" for i, layer in enumerate(layers)} | {MEAN_LABEL: MEAN_LABEL}
        for name, layers in own.items()
    }


def _describe(name: str, study: AnalysedStudy) -> dict:
    cells = study.pairs[study.pairs["layer_label"] == MEAN_LABEL]
    between = cells[~cells["is_in_language"]]
    facts = study.analysis.facts
    return {
        "study": name,
        "metric": cells["metric"].iloc[0],
        "strategy": facts["strategy"],
        "n_layers": study.n_layers,
        "sources": " ".join(facts["sources"]),
        "n_targets": len(facts["targets"]),
        "n_pairs": len(between),
        "n_seeds": len(facts["seeds"]),
        "kinds": " ".join(facts["kinds"]),
        "mean_score": between["score"].mean(),
        "mean_impact": between["impact"].mean(),
        "recipe": " / ".join(facts.get("recipes", [])),
    }


def _maps(studies: Mapping[str, AnalysedStudy], rows: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    tables = []
    for name, own in rows.items():
        tests = studies[name].analysis.tables["correlations"]
        tests = tests[tests["analysis"] == IMPACT_VS_DISTANCE]
        matched = pd.DataFrame({"row": list(own), "layer_label": list(own.values())})
        tables.append(matched.merge(tests, on="layer_label").assign(study=name))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(MAPS))
    return table[list(MAPS)]


def _matched_tests(study: AnalysedStudy, rows: Mapping[str, str] | None) -> pd.DataFrame:
    """Take a study's tests with the row that their layer is matched with; leave out those of other layers."""
    tests = study.analysis.tables["correlations"]
    matched = {label: row for row, label in (rows or {}).items()} | {"": ""}
    return tests.assign(row=tests["layer_label"].map(matched)).dropna(subset="row")


def find_everywhere(maps: pd.DataFrame, studies: list[str]) -> pd.DataFrame:
    """Say of every distance and row in how many studies impact correlates with it, and whether in all with one sign.

    Args:
        maps: columns of ``MAPS``.
        studies: all that are compared; a cell that one of them lacks does not hold everywhere.

    Returns:
        Columns of ``EVERYWHERE``. A claim about all studies is as doubtful as its most doubtful part, so its p-value is
        the largest of the studies' (intersection-union test), each family-wise over that study's map.
    """
    rows = []
    for (predictor, row), cell in maps.groupby(["predictor", "row"], sort=False):
        known = cell.dropna(subset="r")
        low, high = known["r"].min(), known["r"].max()
        is_complete = len(known) == len(studies) and known["p_max_t"].notna().all()
        p_value = known["p_max_t"].max() if is_complete else np.nan
        counts = {"n_studies": len(known), "n_significant": int((known["p_max_t"] <= LEVEL).sum())}
        values = {"r_low": low, "r_high": high, "p_value": p_value, "holds": bool(p_value <= LEVEL and low * high > 0)}
        rows.append({"predictor": predictor, "row": row} | counts | values)
    return pd.DataFrame(rows, columns=list(EVERYWHERE))


def _agreement(
    studies: Mapping[str, AnalysedStudy], rows: Mapping[str, Mapping[str, str]], resampling: Resampling
) -> pd.DataFrame:
    found = []
    for (a, of_a), (b, of_b) in itertools.combinations(studies.items(), 2):
        names = {"study_a": a, "study_b": b}
        if a in rows and b in rows:
            found.append(names | {"what": "map", "row": ""} | _compare_maps(of_a, of_b, rows[a], rows[b], resampling))
            for row, label in rows[a].items():
                values = _squares(of_a, of_b, "impact", label, rows[b][row])
                found.append(names | {"what": "impact", "row": row} | compare_pairs(*values, resampling))
        values = _squares(of_a, of_b, "score", MEAN_LABEL, MEAN_LABEL)
        found.append(names | {"what": "score", "row": ""} | compare_pairs(*values, resampling))
    table = pd.DataFrame(found).rename(columns={"n_pairs": "n", "n_pairs_permuted": "n_permuted"})
    return table.assign(p_bh=benjamini_hochberg(table["p_value"].to_numpy(float)))[list(AGREEMENT)]


def _squares(a: AnalysedStudy, b: AnalysedStudy, column: str, of_a: str, of_b: str) -> tuple[np.ndarray, np.ndarray]:
    """Arrange a column of both studies, at a layer of each, as squares over the languages of both."""
    languages = list_languages(pd.concat([a.pairs, b.pairs]))
    chosen = (study.pairs[study.pairs["layer_label"] == label] for study, label in ((a, of_a), (b, of_b)))
    square_a, square_b = (square(rows, column, languages) for rows in chosen)
    return square_a, square_b


def _compare_maps(
    a: AnalysedStudy, b: AnalysedStudy, rows_a: Mapping[str, str], rows_b: Mapping[str, str], resampling: Resampling
) -> dict:
    """Compare over the distances that both know and the matched layers; the mean over layers is no further cell."""
    kinds = [kind for kind in distance_kinds(a.distances) if kind in distance_kinds(b.distances)]
    labels = [row for row in rows_a if row != MEAN_LABEL]
    of_a, of_b = (_arrays(study, kinds, [own[row] for row in labels]) for study, own in ((a, rows_a), (b, rows_b)))
    found = compare_maps(of_a, of_b, resampling)
    n = found.pop("n_cells")
    return {"n_pairs": n, "n_pairs_permuted": n, "main": ""} | found


def _arrays(study: AnalysedStudy, kinds: list[str], labels: list[str]) -> PairArrays:
    arrays = distance_arrays(study.pairs, ["impact"], study.distances, kinds, None)
    position = {label: i for i, (_, label) in enumerate(arrays.outcome_labels)}
    return replace(arrays, outcomes=arrays.outcomes[[position[label] for label in labels]])


def _what_differs(studies: pd.DataFrame) -> list[str]:
    """Write sentences on what makes the studies less than comparable."""
    sentences = []
    metrics = studies["metric"].unique()
    if len(metrics) > 1:
        sentences.append(
            f"Transfer is measured by {', '.join(metrics)} in different studies: scores are correlated, never subtracted."
        )
    depths = sorted(set(studies["n_layers"]) - {0})
    if len(depths) > 1:
        sentences.append(
            f"Encoders have {' and '.join(map(str, depths))} layers: they are matched by relative depth, and rows carry the "
            f"numbers of the {depths[0]}."
        )
    for column, what in (("sources", "source languages"), ("strategy", "freezing strategy"), ("kinds", "distances")):
        if studies[column].nunique() > 1:
            each = "; ".join(f"{name}: {value}" for name, value in studies[["study", column]].itertuples(index=False))
            sentences.append(f"The studies differ in their {what} ({each}).")
    sentences += [f"{name} has no impact." for name in studies.loc[studies["n_layers"] == 0, "study"]]
    return sentences
