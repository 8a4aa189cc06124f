"""Writes the section on how much of the distances was observed, and draws its figure."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from xling.analysis.schema import Analysis, distance_kinds
from xling.report.figures import style
from xling.report.figures.matrix import draw_cells, label_cells
from xling.report.section import Absent, Picture, Section
from xling.report.words import frames, numbers
from xling.report.words.lookup import has_rows, main_pairs

TITLE = "Coverage of the distances"


def mean_coverage(pairs: pd.DataFrame) -> pd.DataFrame:
    """Average the features observed for both languages, per distance (row) and language (column), over pairs S != T.

    A pair without a distance counts as 0 features; where coverage is not known at all the cell is NaN.
    """
    cells = frames.cross_language(frames.layer_mean(frames.one_strategy(pairs)))
    both = [cells.assign(language=cells[side]) for side in ("source_language", "target_language")]
    kinds = frames.distance_order(distance_kinds(pairs))
    observed = pd.concat(both, ignore_index=True)
    counts = pd.DataFrame(
        {kind: observed[f"{kind}_coverage"].astype(float).mask(observed[kind].isna(), 0.0) for kind in kinds}
    )
    return counts.groupby(observed["language"]).mean().T


@style.styled
def plot_distance_coverage(pairs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the mean number of features observed for both languages of a pair, per distance and language.

    Args:
        pairs: table ``pairs``.
        ax: axes to draw on; None: those of a new figure.

    Returns:
        The axes; colour is relative to the best covered language of the row; hatched = not known.
    """
    counts = mean_coverage(pairs)
    share = counts.div(counts.max(axis=1).where(lambda top: top > 0, 1.0), axis=0)
    ax = ax or style.new_axes(style.matrix_width(counts.shape[1]), 0.75 + 0.26 * len(counts))
    texts = counts.map(lambda count: "" if pd.isna(count) else f"{count:.0f}")
    draw_cells(ax, share.to_numpy(float), texts.to_numpy(object), style.SEQUENTIAL, Normalize(0, 1))
    label_cells(ax, counts.index.tolist(), counts.columns.tolist())
    ax.set(xlabel="language", ylabel="distance")
    return ax


def coverage_section(analysis: Analysis) -> Section | Absent:
    """Write the section on how many observed features the distances rest on."""
    if not has_rows(analysis, "pairs") or not distance_kinds(analysis.tables["pairs"]):
        return Absent(TITLE, "no distance was given")
    pairs = main_pairs(analysis)
    text = _describe_missing(frames.cross_language(frames.layer_mean(pairs)))
    if mean_coverage(pairs).isna().all(axis=None):
        return Section("coverage", TITLE, [text, "The source of the distances records no coverage."])
    picture = Picture(
        "distance_coverage",
        style.figure_of(plot_distance_coverage(pairs)),
        f"Matrix of feature counts, distances by languages. {text}",
        "Number of features observed for both languages, mean over the pairs S ≠ T that a language is part of; a pair "
        "without a distance counts as 0. Colour is relative to the best covered language of the row. Hatched: not "
        "known.",
    )
    return Section("coverage", TITLE, [text], [picture], references=["littell2017"])


def _describe_missing(cells: pd.DataFrame) -> str:
    missing = {kind: int(cells[kind].isna().sum()) for kind in frames.distance_order(distance_kinds(cells))}
    named = [f"{kind} {count}" for kind, count in missing.items() if count]
    total = f"{numbers.plural(len(cells), 'pair')} S ≠ T"
    return f"Of {total}, without a distance: {', '.join(named)}." if named else f"All {total} have every distance."
