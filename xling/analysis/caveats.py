"""Writes plain sentences on what an analysis left out and what its reader should know."""

import math
from collections.abc import Sequence

import pandas as pd

from xling.analysis.inference.associations import CONSTANT, NO_PART, RAW, TOO_FEW
from xling.analysis.schema import MEAN_LABEL

FEW_EXAMPLES = 500
"""Below this, the standard error of an accuracy can exceed 2 percentage points (sqrt(.25 / 500))."""

_LISTED = 12
"""Names that a sentence lists at most; of more it says how many there are."""


def missing_cells(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """List the source x target cells of one strategy without a score and without impact."""
    measured = cells[cells[["score", "impact"]].notna().any(axis=1)]
    present = set(zip(measured["source_language"], measured["target_language"], strict=True))
    sources, targets = sorted(set(cells["source_language"])), sorted(set(cells["target_language"]))
    return [(s, t) for s in sources for t in targets if (s, t) not in present]


def describe_study(pairs: pd.DataFrame, skipped: list[tuple[str, str]]) -> list[str]:
    """Say what is missing or thin in one strategy's pairs: runs, cells, seeds, examples, in-language score."""
    cells = pairs[pairs["layer_label"] == MEAN_LABEL]
    sentences = [f"Skipped {path}: {reason}." for path, reason in skipped]
    gaps = [f"{source}→{target}" for source, target in missing_cells(cells)]
    if gaps:
        sentences.append(f"{_count(gaps, 'cell')} of source and target not measured: {_list(gaps)}.")
    sentences += _describe_seeds(cells)
    fewest = cells["n_examples"].min()
    if fewest < FEW_EXAMPLES:
        error = 100 * math.sqrt(0.25 / fewest)
        sentences.append(
            f"Few examples ({fewest:g} per cell): the standard error of a fraction of them is up to {error:.1f} points."
        )
    alone = sorted(cells.loc[cells["score_in_language"].isna(), "source_language"].unique())
    if alone:
        sentences.append(f"No in-language score, hence no transfer gap, for {_list(alone)}.")
    return sentences


def _describe_seeds(cells: pd.DataFrame) -> list[str]:
    least, most = cells["n_seeds"].min(), cells["n_seeds"].max()
    if most == 1:
        return ["Every cell rests on a single seed: variation between seeds is unknown."]
    if least < most:
        return [f"Cells rest on {least} to {most} seeds; each counts once, whatever its number of seeds."]
    return []


def describe_impact(pairs: pd.DataFrame, reasons: dict[str, str]) -> list[str]:
    """Say at which layers impact is missing, and why.

    Args:
        pairs: one strategy's rows.
        reasons: layer label -> why the layer has no impact at all.
    """
    if pairs["impact"].isna().all():
        biased = pairs["impact_biased"].notna().any()
        return ["No debiased impact, only the biased one; impact enters paper mode alone."] if biased else []
    sentences = []
    for label, layer in pairs.groupby("layer_label"):
        missing = int(layer["impact"].isna().sum())
        if missing and label != MEAN_LABEL:
            why = f" ({reasons[label]})" if reasons.get(label) else ""
            sentences.append(f"Layer {label}: impact is missing in {missing} of {len(layer)} cells{why}.")
    return sentences


def describe_distances(pairs: pd.DataFrame, kinds: list[str], distances: pd.DataFrame) -> list[str]:
    """Say which pairs S != T a distance leaves out, by language where a language has none at all.

    Args:
        pairs: one strategy's rows of the pair table.
        kinds: distance columns.
        distances: the distance table of all ordered pairs, which shows which languages have no data: where a source has none, its
            targets have no distance in the study either, but only the source is the cause.
    """
    cells = pairs[(pairs["layer_label"] == MEAN_LABEL) & ~pairs["is_in_language"]]
    alike: dict[str, list[str]] = {}
    for kind in kinds:
        missing = cells[cells[kind].isna()]
        if len(missing):
            without = _languages_without(cells, kind, distances)
            who = f" (no data for {_list(without)})" if without else ""
            alike.setdefault(f"missing for {len(missing)} of {len(cells)} pairs{who}", []).append(kind)
    return [
        f"The {_list(names)} {'distances are' if len(names) > 1 else 'distance is'} {what}."
        for what, names in alike.items()
    ]


def _languages_without(cells: pd.DataFrame, kind: str, distances: pd.DataFrame) -> list[str]:
    measured = set(cells["source_language"]) | set(cells["target_language"])
    between = distances[distances["source_language"] != distances["target_language"]]
    known = between[between[kind].notna()]
    return sorted(measured - set(known["source_language"]) - set(known["target_language"]))


def describe_tests(correlations: pd.DataFrame) -> list[str]:
    """Say which correlations and p-values could not be computed, and how small an exact p-value can get."""
    sentences = []
    undefined = correlations[correlations["pearson_r"].isna()]
    for (analysis, reason), rows in undefined.groupby(["analysis", "reason"], sort=False):
        layers = [label for label in rows["layer_label"].unique() if label]
        where = f" at layer {_list(layers)}" if layers else ""
        sentences.append(
            f"{_words(analysis)}: no correlation for {_list(rows['predictor'].unique())}{where}: {reason}."
        )
    for analysis, rows in correlations[correlations["pearson_r"].notna()].groupby("analysis"):
        untested = rows[rows["p_qap_pearson"].isna()]
        for reason in (NO_PART, TOO_FEW, CONSTANT):
            affected = untested[untested["reason"].str.contains(reason, regex=False)]
            if len(affected):
                sentences.append(f"{_words(analysis)}: no permutation p-value in {len(affected)} rows: {reason}.")
        if (rows["main"] == RAW).all():
            sentences.append(
                f"{_words(analysis)}: the design leaves nothing after source and target effects are removed, so the "
                "raw correlation stands in; it cannot tell near targets from easy ones."
            )
        sentences += _describe_permutations(_words(analysis), rows[rows["p_qap_pearson"].notna()])
    return sentences


def _describe_permutations(analysis: str, tested: pd.DataFrame) -> list[str]:
    sentences = []
    if len(tested) and tested["exact"].any():
        n = int(tested["n_permutations"].max())
        sentences.append(
            f"{analysis}: all {n:,} arrangements of the languages are enumerated; no p-value can fall below {1 / n:.2g}."
        )
    reduced = tested[tested["n_pairs_permuted"] < tested["n_pairs"]]
    if len(reduced):
        n_pairs, n_all = reduced.iloc[0][["n_pairs_permuted", "n_pairs"]]
        sentences.append(
            f"{analysis}: p-values speak of the largest part of the design without gaps, {n_pairs} of the {n_all} pairs."
        )
    return sentences


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _count(things: list, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:_LISTED]))
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"
