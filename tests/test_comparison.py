"""Several studies side by side: planted effects are found, chance is not, and what differs is named."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_factory import LANGUAGES, make_distances, make_measurements
from scipy import stats

from xling.analysis.inference.agreement import NO_PERMUTATION, compare_maps, compare_pairs
from xling.analysis.inference.arrays import distance_arrays
from xling.analysis.inference.associations import infer_associations
from xling.analysis.inputs.gather import gather_studies
from xling.analysis.inputs.measurements import Resampling, Settings
from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.pipeline import analyse
from xling.analysis.questions.comparison import TABLES, AnalysedStudy, compare_studies, find_everywhere, match_layers
from xling.analysis.questions.meta_analysis import POOLED, pool_correlations, pool_studies
from xling.analysis.schema import IMPACT_VS_DISTANCE, Analysis
from xling.commands.analyze import analyze
from xling.errors import XlingValueError
from xling.report.save import write_page
from xling.report.sections.comparison import draw_maps, list_comparison_findings, write_comparison
from xling.runs.study import Study

DRAWS = Resampling(200, 20)
SETTINGS = Settings("default", resampling=DRAWS)
SIX = LANGUAGES[:6]
MEANS = {("genetic", "mean"), ("syntactic", "mean")}


def study(planted=None, seed=1, distances=None, metric="accuracy", name="simulated", **options) -> AnalysedStudy:
    distances = make_distances() if distances is None else distances
    measured = make_measurements(distances, planted=planted, seed=seed, **options)
    measured = replace(measured, transfer=measured.transfer.assign(metric=metric, study=name))
    measured = replace(measured, impact=measured.impact.assign(study=name))
    return AnalysedStudy(measured.distances, only_tests(measured))


def only_tests(measured) -> Analysis:
    """What a comparison reads of an analysis in default mode, without the rest of it, which takes most of the time."""
    analysis = analyse(measured, Settings("paper"))
    arrays = distance_arrays(analysis.tables["pairs"], ["impact"], measured.distances, analysis.facts["kinds"], None)
    tests = infer_associations(arrays, arrays, DRAWS).assign(analysis=IMPACT_VS_DISTANCE)
    tests["layer"] = pd.to_numeric(tests["layer_label"], errors="coerce").astype("Int64")
    return replace(analysis, tables=analysis.tables | {"correlations": tests})


@pytest.fixture(scope="module")
def alike():
    """Three studies with one planted effect, of different depth, task and distances."""
    shallow = {("genetic", 1): -0.3, ("syntactic", 3): 0.3}
    without = make_distances().drop(columns=["phonological", "phonological_coverage"])
    return {
        "a": study(shallow, n_layers=3, transfer_slope=-0.2),
        "b": study(shallow, n_layers=3, transfer_slope=-0.2, seed=2, metric="f1"),
        "c": study(
            {("genetic", 2): -0.3, ("syntactic", 6): 0.3}, n_layers=6, seed=3, distances=without, sources=LANGUAGES[:3]
        ),
    }


@pytest.fixture(scope="module")
def comparison(alike) -> Analysis:
    return compare_studies(alike, DRAWS)


def agreement(comparison, a, b, what, row="") -> pd.Series:
    table = comparison.tables["comparison_agreement"]
    return table.query("study_a == @a and study_b == @b and what == @what and row == @row").iloc[0]


def test_a_common_effect_is_found_in_every_study(comparison):
    held = comparison.tables["comparison_everywhere"].query("holds")
    cells = set(zip(held["predictor"], held["row"], strict=True))
    assert {("genetic", "01"), ("syntactic", "03")} <= cells <= {("genetic", "01"), ("syntactic", "03"), *MEANS}
    assert held.set_index(["predictor", "row"])["r_high"]["genetic", "01"] < 0
    assert "genetic, negative: layer 1" in dict(list_comparison_findings(comparison))["In every study"]


def test_maps_with_a_common_effect_agree(comparison):
    for a, b in itertools.combinations("abc", 2):
        row = agreement(comparison, a, b, "map")
        assert row["pearson_r"] > 0.5
        assert row["p_value"] <= 0.05


def test_a_cell_that_a_study_lacks_does_not_hold_everywhere(comparison):
    missing = comparison.tables["comparison_everywhere"].query("predictor == 'phonological'")
    assert missing["n_studies"].eq([0, 2, 2, 2, 2]).all()
    assert not missing["holds"].any()
    assert missing["p_value"].isna().all()


def test_layers_are_matched_by_relative_depth(comparison):
    maps = comparison.tables["comparison_maps"].query("study == 'c' and predictor == 'genetic'")
    own = {"00": "00", "01": "02", "02": "04", "03": "06", "mean": "mean"}
    assert dict(zip(maps["row"], maps["layer_label"], strict=True)) == own
    assert match_layers({"small": 8, "large": 12})["large"]["01"] == "02"  # 1.5: the upper one
    assert match_layers({"small": 6, "large": 12, "huge": 24})["huge"]["06"] == "24"
    assert match_layers({}) == {}


def test_what_differs_between_studies_is_said(comparison):
    text = " ".join(comparison.warnings)
    assert "accuracy, f1 in different studies" in text
    assert "3 and 6 layers: they are matched by relative depth" in text
    assert "source languages" in text
    assert "distances" in text


def test_scores_of_the_same_pairs_agree_where_distance_drives_both(comparison):
    row = agreement(comparison, "a", "b", "score")
    assert (row["n"], row["n_permuted"]) == (90, 90)
    assert row["pearson_r"] > 0.5
    assert row["p_value"] <= 0.05
    few_sources = agreement(comparison, "a", "c", "score")
    assert (few_sources["n"], few_sources["n_permuted"]) == (27, 27)


def test_opposed_studies_are_not_called_agreeing(alike):
    opposed = compare_studies(
        {"a": alike["a"], "d": study({("genetic", 1): 0.3, ("syntactic", 3): -0.3}, n_layers=3, seed=4)}, DRAWS
    )
    row = agreement(opposed, "a", "d", "map")
    assert row["pearson_r"] < -0.5
    assert not opposed.tables["comparison_everywhere"]["holds"].any()
    findings = dict(list_comparison_findings(opposed))
    assert "the maps are opposed" in findings["Agreement"]
    assert "none is significant" in findings["In every study"]


def keep(given, kept):
    return replace(given, sources=given.sources[kept], targets=given.targets[kept], outcomes=given.outcomes[:, kept])


def arrays(seed: int, n_layers: int = 3):
    distances = make_distances(SIX)
    measured = make_measurements(distances, sources=SIX, n_layers=n_layers, seed=seed)
    pairs = compute_pairs(measured.transfer, measured.impact, distances)
    return distance_arrays(pairs, ["impact"], distances, ["genetic", "syntactic", "phonological"], None)


def test_unrelated_maps_agree_no_more_often_than_chance():
    found = [compare_maps(arrays(seed), arrays(1000 + seed), Resampling(60, 0)) for seed in range(20)]
    assert sum(result["p_value"] <= 0.05 for result in found) <= 3  # the larger of two p-values: at most 5 % of 20
    assert np.mean([result["pearson_r"] for result in found]) == pytest.approx(0, abs=0.25)


def test_a_map_agrees_with_itself_and_says_why_it_cannot_be_compared():
    one = arrays(1)
    assert compare_maps(one, one, Resampling(100, 0))["pearson_r"] == pytest.approx(1)
    empty = replace(one, outcomes=np.full_like(one.outcomes, np.nan))
    assert compare_maps(one, empty, DRAWS)["reason"] == "0 cells are known in both studies, at least 3 are needed"
    few = replace(one, predictors=np.where(np.arange(6)[:, None] < 3, one.predictors, np.nan)[:, :, :])
    few = replace(few, predictors=np.where(np.arange(6) < 3, few.predictors, np.nan))
    assert (
        "0 cells are known in both" in compare_maps(one, few, DRAWS)["reason"]
    )  # 6 pairs of 3 languages: effects alone
    from_one = keep(one, (one.sources == 0) & (one.targets < 4))
    assert "fewer than 20 arrangements" in compare_maps(from_one, one, DRAWS)["reason"]


def brute_force(a: np.ndarray, b: np.ndarray, cells: list, groups: list[list[int]], demeaned: bool) -> float:
    """Two-sided p-value by enumeration, written without the package."""
    effects = np.ones((len(cells), 1))
    if demeaned:
        effects = np.array(
            [[*(i == k for k in range(len(a))), *(j == k for k in range(len(a)))] for i, j in cells], float
        )

    def left(values):
        return np.array(values) - effects @ np.linalg.lstsq(effects, np.array(values))[0]

    def r(labels):
        return np.corrcoef(left([a[labels[i], labels[j]] for i, j in cells]), left([b[i, j] for i, j in cells]))[0, 1]

    null = []
    for orders in itertools.product(*map(itertools.permutations, groups)):
        labels = np.arange(len(a))
        for own, order in zip(groups, orders, strict=True):
            labels[own] = order
        null.append(abs(r(labels)))
    return np.mean(np.array(null) >= abs(r(np.arange(len(a)))) - 1e-9)


def test_pairs_of_a_square_are_permuted_whole():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 5)), rng.random((5, 5))
    cells = [(i, j) for i in range(5) for j in range(5) if i != j]
    found = compare_pairs(a, b, Resampling(1000, 0))
    assert found["p_value"] == pytest.approx(brute_force(a, b, cells, [list(range(5))], True))
    assert (found["n_pairs"], found["n_pairs_permuted"], found["reason"]) == (20, 20, "")


@pytest.mark.parametrize("n_sources", [1, 2])
def test_pairs_of_few_sources_are_permuted_within_their_roles(n_sources):
    rng = np.random.default_rng(1)
    a, b = rng.random((7, 7)), rng.random((7, 7))
    a[n_sources:] = np.nan
    cells = [(i, j) for i in range(n_sources) for j in range(7) if i != j]
    found = compare_pairs(a, b, Resampling(1000, 0))
    groups = [list(range(n_sources)), list(range(n_sources, 7))]
    assert found["p_value"] == pytest.approx(brute_force(a, b, cells, groups, n_sources > 1))
    assert (found["n_pairs"], found["n_pairs_permuted"]) == (6 * n_sources, 6 * n_sources)
    assert found["main"] == ("demeaned" if n_sources > 1 else "pearson")


def test_pairs_that_cannot_be_compared_say_why():
    a = np.random.default_rng(2).random((4, 4))
    assert compare_pairs(a[:3, :3], a[:3, :3], DRAWS)["reason"] == NO_PERMUTATION
    assert "constant over the common pairs" in compare_pairs(a, np.ones((4, 4)), DRAWS)["reason"]
    assert "at least 3 are needed" in compare_pairs(a, np.full((4, 4), np.nan), DRAWS)["reason"]


def test_a_claim_about_all_studies_takes_the_largest_p_value():
    cells = {"predictor": "genetic", "row": "01", "layer_label": "01", "n_pairs": 90, "reason": ""}
    maps = pd.DataFrame([cells | {"study": name, "r": -0.5, "p_max_t": p} for name, p in (("a", 0.01), ("b", 0.04))])
    row = find_everywhere(maps, ["a", "b"]).iloc[0]
    assert (row["p_value"], row["n_significant"], row["holds"]) == (0.04, 2, True)
    assert not find_everywhere(maps, ["a", "b", "c"])["holds"].any()
    assert not find_everywhere(maps.assign(r=[-0.5, 0.5]), ["a", "b"])["holds"].any()


def test_a_comparison_needs_two_studies_with_tests(alike):
    with pytest.raises(XlingValueError, match="needs at least two studies, found a"):
        compare_studies({"a": alike["a"]})
    untested = AnalysedStudy(alike["a"].distances, replace(alike["a"].analysis, tables={}))
    with pytest.raises(XlingValueError, match="study b has no tested correlations to compare"):
        compare_studies({"a": alike["a"], "b": untested})


def test_a_study_without_impact_is_compared_by_its_scores(alike, tmp_path):
    measured = replace(make_measurements(make_distances(), seed=1), impact=None)
    measured = replace(measured, transfer=measured.transfer.assign(metric="accuracy", study="scores"))
    tests = alike["b"].analysis.tables["correlations"].iloc[:0]
    analysis = analyse(measured, Settings("paper"))
    scores_alone = AnalysedStudy(
        measured.distances, replace(analysis, tables=analysis.tables | {"correlations": tests})
    )
    compared = compare_studies({"a": alike["a"], "s": scores_alone}, DRAWS)
    assert compared.tables["comparison_agreement"]["what"].tolist() == ["score"]
    assert "s has no impact." in compared.warnings
    assert "nothing is claimed of all" in write_comparison(compared, tmp_path).read_text(encoding="utf-8")


def test_maps_share_one_scale_and_frame_what_holds(comparison):
    everywhere = comparison.tables["comparison_everywhere"]
    figure = draw_maps(comparison.tables["comparison_maps"], everywhere, ["a", "b", "c"])
    panels = figure.axes[:3]
    assert [ax.get_title(loc="left") for ax in panels] == ["a", "b", "c"]
    assert {(ax.collections[0].norm.vmin, ax.collections[0].norm.vmax) for ax in panels} == {(-1, 1)}
    framed = [sum(not patch.get_fill() for patch in ax.patches) for ax in panels]
    assert framed == [2 * int(everywhere["holds"].sum())] * 3


class Distances:
    """Distances as a source gives them."""

    source = "simulated"

    def to_table(self):
        return make_distances(SIX)


@pytest.fixture
def folders(monkeypatch):
    """Folders with runs: both with the study x, the second with the study y besides."""
    tables = {}
    for folder, names in {"one": ["x"], "two": ["x", "y"]}.items():
        parts = [
            make_measurements(make_distances(SIX), sources=SIX, n_layers=2, seed=i, planted={("genetic", 1): -0.3})
            for i in range(len(names))
        ]
        transfer, impact = (
            pd.concat([getattr(m, key).assign(study=name) for m, name in zip(parts, names, strict=True)])
            for key in ("transfer", "impact")
        )
        runs = pd.DataFrame({"path": names, "study": names, "recipe": "Trained.", "source_language": "en"})
        runs = runs.assign(strategy="none", seed=1, files=[{} for _ in names], design=[{} for _ in names])
        skipped = [(f"{folder}/y/en", "no manifest"), (f"{folder}/z/en", "no manifest")]
        tables[folder] = Study(impact, transfer, pd.DataFrame(columns=["study"]), runs, skipped)
    monkeypatch.setattr("xling.analysis.inputs.gather.load_study", lambda directory: tables[str(directory)])


def test_studies_are_never_pooled_and_told_apart_by_folder(folders):
    studies, sentences = gather_studies(["one", "two"])
    assert list(studies) == ["x (one)", "x (two)", "y"]
    assert all(own.transfer["study"].nunique() == 1 for own in studies.values())
    assert studies["y"].skipped == (("two/y/en", "no manifest"),)
    assert sentences == ["Skipped two/z/en: no manifest."]


def write_nothing_but_the_page(analysis, output_dir, further_sections=(), workers=None):
    (output_dir / "report.html").touch()


def test_the_command_writes_every_study_and_all_side_by_side(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "xling.commands.analyze.analyse", lambda measured, settings: only_tests(measured)
    )  # test_analysis_distances.py runs it whole
    monkeypatch.setattr("xling.report.write_report", write_nothing_but_the_page)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "correlations.csv").touch()
    (tmp_path / "suggestion.json").touch()
    compared = analyze(lambda languages: Distances(), tmp_path, runs="two", settings=SETTINGS)
    assert compared.facts["studies"] == ["x", "y"]
    written = {path.stem for path in (tmp_path / "tables").glob("*.csv")}
    assert written == set(TABLES)
    assert (tmp_path / "x" / "report.html").is_file()
    assert (tmp_path / "y" / "suggestion.json").is_file()
    assert not (tmp_path / "suggestion.json").exists()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Studies side by side" in page
    assert "2 studies: x and y." in page
    analysis = analyze(lambda languages: Distances(), tmp_path, runs=["one"], settings=SETTINGS)
    monkeypatch.undo()
    write_page(analysis, [], tmp_path, [])
    assert not list((tmp_path / "tables").glob("comparison_*"))


def test_paper_mode_has_nothing_to_compare(folders, tmp_path):
    with pytest.raises(XlingValueError, match="mode=paper tests nothing that could be compared"):
        analyze(lambda languages: Distances(), tmp_path, runs=["one", "two"], settings=Settings("paper"))


def test_pooling_agrees_with_a_random_effects_meta_analysis_by_hand():
    r, se = np.array([-0.5, -0.2, -0.35]), np.array([0.1, 0.15, 0.12])
    z = np.arctanh(r)
    found = pool_correlations(r, np.tanh(z - 1.959964 * se), np.tanh(z + 1.959964 * se), wald_p(z, se))
    w = 1 / se**2
    q = (w * (z - (w * z).sum() / w.sum()) ** 2).sum()
    tau2 = max(0, (q - 2) / (w.sum() - (w**2).sum() / w.sum()))
    v = 1 / (se**2 + tau2)
    mean = (v * z).sum() / v.sum()
    half = stats.t.ppf(0.975, 2) * np.sqrt(max(1, (v * (z - mean) ** 2).sum() / 2) / v.sum())
    assert found["r"] == pytest.approx(np.tanh(mean), abs=1e-6)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((np.tanh(mean - half), np.tanh(mean + half)), abs=1e-6)
    p_value = 2 * stats.norm.sf(
        abs((w * z).sum()) / np.sqrt(w.sum())
    )  # of normal estimates: that of their weighted mean
    assert found["p_value"] == pytest.approx(p_value, rel=1e-5)
    assert found["tau"] == pytest.approx(np.sqrt(tau2), abs=1e-6)
    assert found["i_squared"] == pytest.approx((q - 2) / q, abs=1e-6)


@pytest.mark.parametrize("n_studies", [2, 4])
def test_the_p_value_of_pooled_null_studies_keeps_its_level_and_the_interval_is_careful(n_studies):
    rng, se = np.random.default_rng(0), 0.1
    z = rng.normal(size=(2_000, n_studies)) * se
    found = [
        pool_correlations(np.tanh(own), np.tanh(own - 1.96 * se), np.tanh(own + 1.96 * se), wald_p(own, se))
        for own in z
    ]
    assert np.mean([row["p_value"] <= 0.05 for row in found]) == pytest.approx(0.05, abs=0.02)
    assert np.mean([row["ci_low"] > 0 or row["ci_high"] < 0 for row in found]) <= 0.05


def wald_p(z, se):
    return 2 * stats.norm.sf(np.abs(z) / se)


def test_the_pooled_p_value_is_that_of_the_studies_own_tests_not_of_their_intervals():
    r, p = np.array([0.4, 0.4]), np.array([0.01, 0.01])
    wide = pool_correlations(r, r - 0.5, r + 0.5, p)["p_value"]
    assert wide == pytest.approx(stats.combine_pvalues(p / 2, method="stouffer")[1] * 2)
    assert wide == pytest.approx(pool_correlations(r, r - 0.1, r + 0.1, p)["p_value"])
    assert pool_correlations(np.array([0.4, -0.4]), r - 0.5, r + 0.5, p)["p_value"] > 0.5


def test_pooling_does_not_mind_order_and_keeps_equal_coefficients():
    r, low, high = np.array([0.3, 0.3, 0.3]), np.array([0.1, 0.0, 0.2]), np.array([0.48, 0.55, 0.4])
    p = np.array([0.01, 0.06, 0.001])
    found = pool_correlations(r, low, high, p)
    assert found["r"] == pytest.approx(0.3)
    assert found["tau"] == found["i_squared"] == 0
    turned = pool_correlations(r, low[::-1], high[::-1], p[::-1])
    assert turned == pytest.approx(pool_correlations(r[::-1], low, high, p))


def test_studies_are_pooled_cell_by_cell_and_say_why_they_are_not(comparison):
    pooled = comparison.tables["comparison_pooled"]
    assert list(pooled.columns) == list(POOLED)
    syntactic = pooled.query("analysis == 'impact_vs_distance' and predictor == 'syntactic' and row == '03'").iloc[0]
    assert syntactic["n_studies"] == 3
    assert syntactic["r_low"] <= syntactic["r"] <= syntactic["r_high"]
    tests = pd.DataFrame(
        {
            "analysis": "transfer_vs_distance", "predictor": "genetic", "row": "", "main": "demeaned",
            "r": [-0.4], "ci_low": [-0.6], "ci_high": [-0.1], "p_qap": [0.01], "p_max_t": [0.02],
        }
    )  # fmt: skip
    assert pool_studies({"a": tests, "b": tests.assign(main="pearson")})["reason"].str.contains("raw in some").all()
    assert pool_studies({"a": tests, "b": tests.assign(r=np.nan)})["reason"].str.contains("1 of the studies").all()
    assert "Pooled" in dict(list_comparison_findings(comparison))
