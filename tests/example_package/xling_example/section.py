"""A section of the report with a figure: the pairs of languages that transfer best and worst."""

from matplotlib.axes import Axes

from xling.analysis.schema import Analysis
from xling.report.figures import style
from xling.report.section import Absent, Picture, Section


@style.styled
def plot_extremes(pairs, n: int = 3) -> Axes:
    """Draw the scores of the `n` best and worst pairs S != T of table ``pairs`` as bars."""
    cells = pairs[(pairs["layer_label"] == "mean") & ~pairs["is_in_language"]].sort_values("score")
    shown = cells.drop_duplicates(["source_language", "target_language"])
    shown = shown if len(shown) <= 2 * n else shown.iloc[[*range(n), *range(-n, 0)]]
    ax = style.new_axes(style.COLUMN, 2.0)
    ax.barh(
        [f"{s} → {t}" for s, t in zip(shown["source_language"], shown["target_language"], strict=True)], shown["score"]
    )
    ax.set_xlabel("score")
    return ax


def extremes_section(analysis: Analysis) -> Section | Absent:
    """The best and worst pairs, where transfer was measured."""
    pairs = analysis.tables["pairs"]
    if pairs["score"].isna().all():
        return Absent("Best and worst pairs", "no transfer was measured")
    figure = plot_extremes(pairs).figure
    picture = Picture(
        "extremes", figure, "Bars of the scores of the best and worst pairs.", "Best and worst pairs S ≠ T."
    )
    return Section("extremes", "Best and worst pairs", ["Which pairs transfer best and worst."], [picture])
