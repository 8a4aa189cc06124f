"""Figures over made-up tables: what is drawn where, at the sizes a study can have."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from report_factory import make_pairs, make_tests

from xling.data.sources.xnli import XNLI_LANGUAGES
from xling.report.figures import curves, matrix, scatter, style
from xling.report.figures import label_places as labels
from xling.report.save import save_figure, save_table
from xling.report.words import frames

SOURCES = ("en", "ru", "sw", "zh")


@pytest.fixture(scope="module")
def pairs():
    return make_pairs(SOURCES, XNLI_LANGUAGES, missing=[("sw", "th")])


@pytest.fixture(scope="module")
def tests(pairs):
    return make_tests(pairs)


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def _hatched(ax):
    return [patch for patch in ax.patches if patch.get_hatch()]


def test_heat_map_shows_every_coefficient_and_hatches_the_missing_ones(tests):
    ax = matrix.plot_correlation_heatmap(tests)
    rows = frames.select_analysis(tests, "impact_vs_distance")
    assert len(_texts(ax)) == rows["pearson_r"].notna().sum()
    assert len(_hatched(ax)) == rows["pearson_r"].isna().sum() == 6


def test_heat_map_rows_are_layers_from_the_embeddings_down_to_the_mean(tests):
    ax = matrix.plot_correlation_heatmap(tests)
    assert [label.get_text() for label in ax.get_yticklabels()] == [*(str(i) for i in range(13)), "mean"]
    assert ax.get_ylim() == (13.5, -0.5)


def test_panels_that_share_an_axis_keep_layer_0_at_the_top(tests):
    figure = matrix.draw_correlation_heatmaps(tests)
    assert all(ax.get_ylim() == (13.5, -0.5) for ax in figure.axes[:2])


def test_stars_follow_the_corrected_p_values_of_the_coefficient_shown(tests):
    rows = tests.assign(p_max_t=[0.01, 0.2] * (len(tests) // 2) + [0.2] * (len(tests) % 2), p_bh=0.03)
    assert matrix.significance_marks(rows, "main").tolist()[:2] == ["**", "*"]
    assert set(matrix.significance_marks(rows.assign(p_max_t_pearson=0.5, p_bh_pearson=0.5), "pearson")) == {""}
    assert set(matrix.significance_marks(rows, "spearman")) == {""}


def test_stars_of_the_papers_form_are_taken_as_they_are():
    rows = pd.DataFrame({"pearson_stars": ["**", ""], "p_max_t": [1.0, 0.0]})
    assert matrix.significance_marks(rows, "pearson").tolist() == ["**", ""]


def test_missing_p_value_gets_no_star(tests):
    rows = tests.assign(p_max_t=np.nan, p_bh=np.nan)
    assert set(matrix.significance_marks(rows, "main")) == {""}


def test_transfer_matrix_hatches_the_missing_cell_and_outlines_the_diagonal(pairs):
    ax = matrix.plot_transfer_matrix(pairs)
    assert len(_texts(ax)) == 4 * 15 - 1
    assert len(_hatched(ax)) == 1
    assert sum(1 for patch in ax.patches if not patch.get_fill()) == 2 * len(SOURCES)


def test_letters_contrast_with_their_cell_by_at_least_4_5_to_1():
    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for colours in (style.DIVERGING, style.SEQUENTIAL):
        for level in np.linspace(0, 1, 101):
            cell, ink = luminance(colours(level)), 0.0 if style.text_colour(colours(level)) == "#000000" else 1.0
            assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) >= 4.5


def _lines_and_bands(ax):
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    return [path.vertices for path in lines.get_paths()], [path.vertices for band in bands for path in band.get_paths()]


def test_curves_draw_one_line_per_target_and_a_band_over_seeds(pairs):
    ax = curves.plot_impact_curves(pairs, source_language="sw")
    named = 2 * curves.ENDS_LABELLED + 1  # both ends and the source, which is at neither
    lines, bands = _lines_and_bands(ax)
    assert len(lines) == len(bands) == 14
    assert named - 1 <= len(_texts(ax)) <= named
    assert len(ax.lines) == len(_texts(ax)) + 1  # the named ones with a leader each, and the zero line
    target = sorted(pairs["target_language"].unique())[3]
    own = pairs[(pairs["source_language"] == "sw") & (pairs["target_language"] == target) & pairs["layer"].notna()]
    np.testing.assert_allclose(lines[3], own[["layer", "impact"]].to_numpy(float))
    low, high = ax.get_ylim()
    assert all(low <= text.get_position()[1] <= high for text in ax.texts)
    assert max(ax.get_xticks()) <= pairs["layer"].max()


def test_distances_are_coloured_over_the_range_they_have(pairs):
    scale = curves.distance_scale(pairs, "syntactic")
    between = pairs.loc[~pairs["is_in_language"], "syntactic"]
    assert (scale.vmin, scale.vmax) == (between.min(), between.max())
    assert (curves.distance_scale(pairs, "nowhere").vmin, curves.distance_scale(pairs, "nowhere").vmax) == (0, 1)


@pytest.mark.parametrize(("n_sources", "n_targets", "has_numbers"), [(3, 15, True), (3, 100, True), (40, 40, False)])
def test_a_matrix_of_many_targets_stands_upright(n_sources, n_targets, has_numbers):
    names = [f"l{i:02d}" for i in range(n_targets)]
    ax = matrix.plot_transfer_matrix(make_pairs(names[:n_sources], names, n_layers=2))
    across = [label.get_text() for label in ax.get_xticklabels()]
    assert across == (names if n_targets == 15 else names[:n_sources])
    assert any(text.get_text() for text in ax.texts) == has_numbers


def test_a_scatter_has_a_line_for_each_source_beside_the_pooled_one(pairs):
    ax = scatter.plot_pairs(pairs, "syntactic", "impact")
    lines, points = _lines_and_points(ax)
    assert len(lines) == len(points) == 4  # few sources have a look each, which a legend can name
    assert ax.get_legend_handles_labels()[1] == ["en", "ru", "sw", "zh"]
    own = scatter.select_points(pairs, "syntactic", "impact").query("source_language == 'ru'")
    ends = np.array([own["syntactic"].min(), own["syntactic"].max()])
    expected = np.polyval(np.polyfit(own["syntactic"], own["impact"], 1), ends)
    np.testing.assert_allclose(lines[1], np.column_stack([ends, expected]))
    assert len(ax.lines) == 1


def test_points_of_many_sources_are_one_artist_with_a_line_for_each_source():
    many = make_pairs(XNLI_LANGUAGES, XNLI_LANGUAGES, n_layers=2)
    ax = scatter.plot_pairs(many, "syntactic", "impact")
    assert ax.get_legend_handles_labels()[1] == []
    lines, points = _lines_and_points(ax)
    assert (len(lines), [len(own.get_offsets()) for own in points]) == (15, [15 * 14])


def _lines_and_points(ax):
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    return [path.vertices for path in lines.get_paths()], [c for c in ax.collections if c is not lines]


def test_curves_of_a_single_seed_show_the_runs_own_interval_or_none():
    single = make_pairs(("en",), XNLI_LANGUAGES, n_seeds=1)
    assert _lines_and_bands(curves.plot_impact_curves(single))[1] == []
    recorded = single.assign(impact_low=single["impact"] - 0.02, impact_high=single["impact"] + 0.03)
    assert len(_lines_and_bands(curves.plot_impact_curves(recorded))[1]) == len(XNLI_LANGUAGES)


def test_curves_and_bands_leave_a_gap_where_a_layer_has_no_number():
    single = make_pairs(("en",), ("en", "de"), n_layers=6, n_seeds=1)
    recorded = single.assign(impact_low=single["impact"] - 0.02, impact_high=single["impact"] + 0.03)
    recorded.loc[recorded["layer"] == 3, ["impact", "impact_low", "impact_high"]] = np.nan
    lines, bands = _lines_and_bands(curves.plot_impact_curves(recorded))
    assert all(np.isnan(line[3, 1]) and np.isfinite(line[2, 1]) for line in lines)
    assert [(band[:, 0].min(), band[:, 0].max()) for band in bands] == [(1, 2), (4, 5)] * 2


def test_scatter_leaves_out_in_language_pairs_and_missing_distances(pairs):
    points = scatter.select_points(pairs, "phonological", "impact")
    assert not points["is_in_language"].any()
    assert "ur" not in set(points["target_language"])
    ax = scatter.plot_impact_vs_distance(pairs, distance="phonological")
    assert sum(len(c.get_offsets()) for c in _lines_and_points(ax)[1]) == len(points) == 4 * 14 - 4 - 1


def test_scatter_takes_the_layer_asked_for(pairs):
    ax = scatter.plot_impact_vs_transfer(pairs, layer=5)
    shown = np.sort(np.concatenate([c.get_offsets()[:, 0] for c in _lines_and_points(ax)[1]]))
    wanted = pairs[(pairs["layer"] == 5) & ~pairs["is_in_language"]]["impact"]
    np.testing.assert_allclose(shown, np.sort(wanted))


def test_scatter_of_a_constant_distance_has_no_line(pairs):
    ax = scatter.plot_transfer_vs_distance(pairs.assign(genetic=1.0), distance="genetic")
    assert len(ax.lines) == 0


@pytest.mark.parametrize("sources", [("en",), pytest.param(XNLI_LANGUAGES, marks=pytest.mark.slow)])
def test_every_figure_is_drawn_for_one_source_and_for_fifteen(sources):
    pairs = make_pairs(sources, XNLI_LANGUAGES, n_layers=4, n_seeds=1)
    figures = [
        matrix.plot_transfer_matrix(pairs).figure,
        curves.draw_impact_curves(pairs),
        scatter.plot_impact_vs_distance(pairs).figure,
    ]
    for figure in figures:
        figure.draw_without_rendering()
        assert figure.axes


def test_labels_of_one_panel_do_not_overlap():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 80))
    ax = style.new_axes(3.4, 2.6)
    ax.scatter(x, y, s=13)
    ax.figure.draw_without_rendering()
    written = labels.place_labels(ax, x, y, ["xx"] * 80)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert written == len(boxes) > 20
    shrunk = [box.padded(-1.0) for box in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(shrunk) for b in shrunk[:i])


def test_spread_keeps_order_and_gap():
    values = np.random.default_rng(1).random(40)
    placed = labels.spread(values, gap=0.05)
    assert (np.argsort(placed) == np.argsort(values)).all()
    assert np.diff(np.sort(placed)).min() > 0.05 - 1e-9
    np.testing.assert_allclose(placed.mean(), values.mean())


def test_plotting_leaves_the_callers_matplotlib_settings_alone(pairs):
    import matplotlib

    before = dict(matplotlib.rcParams)
    matrix.plot_transfer_matrix(pairs)
    assert dict(matplotlib.rcParams) == before


def test_figures_draw_on_the_axes_they_are_given(pairs, tests):
    ax = style.new_axes(3, 3)
    assert matrix.plot_correlation_heatmap(tests, ax) is ax
    assert scatter.plot_impact_vs_transfer(pairs, style.new_axes(3, 3)).figure is not ax.figure


def test_saved_figure_is_sharp_complete_and_repeatable(tmp_path, pairs):
    first = save_figure(matrix.plot_transfer_matrix(pairs).figure, tmp_path / "a", "m")
    second = save_figure(matrix.plot_transfer_matrix(pairs).figure, tmp_path / "b", "m")
    assert first == second
    for ending, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        content = (tmp_path / "a" / f"m.{ending}").read_bytes()
        assert content.startswith(magic)
        assert content == (tmp_path / "b" / f"m.{ending}").read_bytes()
    assert int.from_bytes((tmp_path / "a" / "m.png").read_bytes()[16:20], "big") == round(style.PAGE * 200)


def test_tables_come_back_from_csv_as_they_were(tmp_path, pairs):
    save_table(pairs, tmp_path, "pairs")
    read = pd.read_csv(tmp_path / "pairs.csv", dtype={"layer": "Int64", "layer_label": str})
    pd.testing.assert_frame_equal(read, pairs.reset_index(drop=True), check_dtype=False)


def test_small_matrices_are_not_stretched_over_the_page(pairs):
    few = pairs[pairs["target_language"].isin(["en", "ru", "sw"])]
    assert matrix.plot_transfer_matrix(few).figure.get_size_inches()[0] < style.COLUMN
