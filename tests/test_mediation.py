"""Mediation: effects against statsmodels, planted shares that are recovered, and the permutations behind p-values."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from xling.analysis.inference.correlations import orthonormal_basis
from xling.analysis.inference.permutations import draw_permutations, language_roles
from xling.analysis.questions.mediation import MEDIATION, compute_mediation
from xling.analysis.questions.mediation import mediate as mediate_cells
from xling.analysis.questions.mediation_paths import (
    Cells,
    _partial_correlations,
    compute_paths,
    path_b_p,
    resample_paths,
)

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr")


def make_distance(languages=LANGUAGES, seed=0) -> pd.DataFrame:
    places = np.random.default_rng(seed).uniform(size=(len(languages), 2))
    return pd.DataFrame(np.linalg.norm(places[:, None] - places[None], axis=-1), languages, languages)


def make_pairs(distance: pd.DataFrame, path_b=-0.6, direct=-0.3, noise=0.05, sources=None, seed=1) -> pd.DataFrame:
    """Layer 1: impact = -0.5 distance + noise, score = path_b impact + direct distance + noise; layer 2: noise."""
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame(
        itertools.product(sources or distance.index, distance.index), columns=["source_language", "target_language"]
    )
    cells["strategy"] = "none"
    cells["is_in_language"] = cells["source_language"] == cells["target_language"]
    far = np.array([distance.loc[s, t] for s, t in zip(cells.source_language, cells.target_language, strict=True)])
    impact = -0.5 * far + noise * rng.standard_normal(len(cells))
    cells["score"] = path_b * impact + direct * far + noise * rng.standard_normal(len(cells))
    layers = [cells.assign(layer=1, layer_label="01", impact=impact)]
    layers.append(cells.assign(layer=2, layer_label="02", impact=rng.standard_normal(len(cells))))
    layers.append(cells.assign(layer=pd.NA, layer_label="mean", impact=impact))
    return pd.concat([layer.astype({"layer": "Int64"}) for layer in layers], ignore_index=True)


def mediate(pairs, distance, is_demeaned=False, **options):
    options = {"n_permutations": 499, "n_bootstraps": 300} | options
    table = compute_mediation(pairs, as_long(distance), **options)
    return table[table["is_demeaned"] == is_demeaned].set_index("layer_label")


def as_long(distance: pd.DataFrame) -> pd.DataFrame:
    table = distance.rename_axis(index="source_language", columns="target_language").stack(future_stack=True)
    return table.rename("genetic").reset_index().assign(genetic_coverage=1.0)


def fit(y, *x, weights=None):
    return sm.WLS(y, sm.add_constant(np.column_stack(x)), weights=1.0 if weights is None else weights).fit().params[1:]


def test_effects_equal_those_of_statsmodels():
    distance = make_distance()
    pairs = make_pairs(distance)
    row = mediate(pairs, distance).loc["01"]
    cells = pairs[(pairs["layer_label"] == "01") & ~pairs["is_in_language"]]
    x = np.array([distance.loc[s, t] for s, t in zip(cells.source_language, cells.target_language, strict=True)])
    m, y = cells["impact"].to_numpy(), cells["score"].to_numpy()
    (total,), (path_a,), (direct, path_b) = fit(y, x), fit(m, x), fit(y, x, m)
    expected = {
        "total_raw": total,
        "direct_raw": direct,
        "indirect_raw": path_a * path_b,
        "share": path_a * path_b / total,
    }
    expected |= {
        "path_a": path_a * x.std() / m.std(),
        "path_b": path_b * m.std() / y.std(),
        "total": total * x.std() / y.std(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-9), name


def test_total_is_direct_plus_indirect_at_every_layer():
    distance = make_distance()
    table = mediate(make_pairs(distance), distance)
    assert np.allclose(table["total"], table["direct"] + table["indirect"], atol=1e-12)
    assert np.allclose(table["total_raw"], table["direct_raw"] + table["indirect_raw"], atol=1e-12)


def test_a_planted_share_is_recovered_and_a_layer_of_noise_carries_nothing():
    distance = make_distance()
    pairs = make_pairs(distance, path_b=0.6, direct=-0.3)  # indirect -0.3, total -0.6: one half
    table = mediate(pairs, distance)
    assert table.loc["01", "share"] == pytest.approx(0.5, abs=0.1)
    assert table.loc["01", "share_low"] < 0.5 < table.loc["01", "share_high"]
    assert table.loc["01", "p_qap_indirect"] < 0.01
    assert table.loc["01", "p_qap_total"] < 0.01
    assert table.loc["02", "share"] == pytest.approx(0, abs=0.05)
    assert table.loc["02", "indirect_low"] < 0 < table.loc["02", "indirect_high"]


def test_weighted_draws_equal_weighted_regressions():
    distance, rng = make_distance().to_numpy(), np.random.default_rng(3)
    sources, targets = np.nonzero(~np.eye(12, dtype=bool))
    m, y = rng.normal(5, 0.1, (2, 132)), rng.normal(0.6, 0.1, 132)
    weights = rng.integers(0, 3, (4, 132)).astype(float)
    x = distance[sources, targets]
    paths = compute_paths(x[None], m, y, weights)
    for draw, layer in itertools.product(range(4), range(2)):
        sd = [np.sqrt(np.cov(v, aweights=weights[draw], ddof=0)) for v in (x, m[layer], y)]
        direct, path_b = fit(y, x, m[layer], weights=weights[draw])
        assert paths.direct[draw, layer] == pytest.approx(direct * sd[0] / sd[2], rel=1e-8)
        assert paths.path_b[draw, layer] == pytest.approx(path_b * sd[1] / sd[2], rel=1e-8)
        assert paths.total[draw, layer] == pytest.approx(fit(y, x, weights=weights[draw])[0] * sd[0] / sd[2], rel=1e-8)


def test_p_values_of_path_a_and_total_count_relabelled_regressions():
    distance = make_distance(LANGUAGES[:6])
    pairs = make_pairs(distance, noise=0.3)
    row = mediate(pairs, distance, n_permutations=720).loc["01"]
    assert row["exact"]
    own = pairs.query("layer == 1 and not is_in_language")
    sources, targets = (distance.index.get_indexer(own[name]) for name in ("source_language", "target_language"))
    matrix, cells = (
        distance.to_numpy(),
        Cells(sources, targets, own["impact"].to_numpy()[None], own["score"].to_numpy()),
    )
    null = [
        compute_paths(matrix[order[sources], order[targets]][None], cells.impact, cells.outcome, np.ones((1, 1)))
        for order in map(np.array, itertools.permutations(range(6)))
    ]
    for name in ("path_a", "total"):
        effects = np.array([getattr(paths, name)[0, 0] for paths in null])
        expected = (np.abs(effects) >= abs(row[name]) - 1e-9).mean()
        assert 1 / 720 <= row[f"p_qap_{name}"] == pytest.approx(expected, abs=1e-12)


def test_p_value_counts_every_relabelling_of_four_languages():
    distance = make_distance(LANGUAGES[:4])
    row = mediate(make_pairs(distance, noise=0.3), distance).loc["01"]
    assert row["exact"]
    assert row["n_permutations"] == 24
    assert row[["p_qap_path_a", "p_qap_path_b", "p_qap_total"]].mul(24).map(float.is_integer).all()
    assert row["p_qap_indirect"] == max(row["p_qap_path_a"], row["p_qap_path_b"])


def test_p_value_of_path_b_is_double_semi_partialling_by_enumeration():
    matrix, rng = make_distance(LANGUAGES[:6]).to_numpy(), np.random.default_rng(5)
    s, t = np.nonzero(~np.eye(6, dtype=bool) & (np.arange(6) < 2)[:, None])  # two sources
    y = rng.normal(size=10)
    m = rng.normal(size=10) + 0.5 * y
    cells = Cells(s, t, m[None], y)
    x = sm.add_constant(matrix[s, t])
    table = np.full((6, 6), np.nan)
    table[s, t] = sm.OLS(m, x).fit().resid

    def partial(order) -> float:
        residuals = [sm.OLS(v, x).fit().resid for v in (table[order[s], order[t]], y)]
        return abs(np.corrcoef(*residuals)[0, 1])

    orders = itertools.product(itertools.permutations(range(2)), itertools.permutations(range(2, 6)))
    null = [partial(np.array([*a, *b])) for a, b in orders]
    p_values, n_permuted = path_b_p(matrix, cells, 100, seed=0)
    assert n_permuted == 10
    assert p_values[0] == pytest.approx(np.mean(np.array(null) >= null[0] - 1e-9))


def test_impact_that_carries_nothing_is_seldom_called_a_mediator():
    """Distance moves impact and score, impact does nothing; the product under permuted distances alone misleads."""
    matrix, rng = make_distance(LANGUAGES[:8]).to_numpy(), np.random.default_rng(0)
    sources, targets = np.nonzero(~np.eye(8, dtype=bool))
    x, n_sets, rejected, misled = matrix[sources, targets], 60, 0, 0
    for seed in range(n_sets):
        effects, noise = rng.normal(size=(2, 2, 8)), rng.normal(size=(2, len(x)))
        impact, outcome = (
            -2 * x + 0.3 * (e[0, sources] + e[1, targets] + z) for e, z in zip(effects, noise, strict=True)
        )
        cells = Cells(sources, targets, impact[None], outcome)
        row = mediate_cells(matrix, cells, n_permutations=99, n_bootstraps=2, seed=seed)[0]
        labels = draw_permutations(8, 99, seed).labels
        permuted = matrix[labels[:, sources], labels[:, targets]]
        products = compute_paths(permuted, cells.impact, cells.outcome, np.ones((1, 1))).indirect
        rejected += row["p_qap_indirect"] <= 0.05
        misled += (abs(products) >= abs(row["indirect"])).sum() < 5
    assert rejected <= 8  # 3 expected; more than 8 of 60 at 5 % has probability .003
    assert misled > 10


def test_shuffled_labels_find_nothing_more_often_than_by_chance():
    distance, rng = make_distance(LANGUAGES[:8]), np.random.default_rng(0)
    pairs, rejections = make_pairs(distance).query("layer_label == '01'"), 0
    for _ in range(60):
        order = rng.permutation(8)
        shuffled = pd.DataFrame(distance.to_numpy()[np.ix_(order, order)], distance.index, distance.columns)
        row = mediate(pairs, shuffled, n_permutations=99, n_bootstraps=10).loc["01"]
        rejections += row["p_qap_total"] <= 0.05
    assert rejections <= 8


def test_a_pair_counts_as_often_as_both_of_its_languages_were_drawn():
    matrix = make_distance().to_numpy()
    sources, targets = np.nonzero(~np.eye(12, dtype=bool))
    rng = np.random.default_rng(5)
    cells = Cells(sources, targets, rng.normal(size=(1, 132)), rng.normal(size=132))
    counts = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), 1)[0]
    x, weights = matrix[sources, targets], counts[sources] * counts[targets]
    direct, _ = fit(cells.outcome, x, cells.impact[0], weights=weights)
    scale = np.sqrt(np.cov(cells.outcome, fweights=weights, ddof=0) / np.cov(x, fweights=weights, ddof=0))
    assert resample_paths(matrix, cells, 1, seed=7).direct[0, 0] * scale == pytest.approx(direct, rel=1e-8)


def test_names_units_and_row_order_change_nothing():
    distance = make_distance()
    pairs = make_pairs(distance)
    table = mediate(pairs, distance)
    scaled = mediate(pairs.assign(impact=3 * pairs["impact"] + 7).sample(frac=1, random_state=0), 5 * distance)
    columns = [
        "path_a",
        "total",
        "direct",
        "indirect",
        "share",
        "share_low",
        "share_high",
        "p_qap_total",
        "p_qap_indirect",
    ]
    pd.testing.assert_frame_equal(scaled[columns], table[columns])
    names = dict(zip(LANGUAGES, reversed(LANGUAGES), strict=True))
    renamed = pairs.replace({"source_language": names, "target_language": names})
    other = mediate(renamed, distance.rename(index=names, columns=names))
    effects = ["path_a", "path_b", "total", "direct", "indirect", "share", "total_raw"]
    pd.testing.assert_frame_equal(other[effects], table[effects])


def test_a_total_effect_near_zero_has_no_share():
    distance = make_distance()
    row = mediate(make_pairs(distance, path_b=-0.6, direct=-0.3, seed=2), distance).loc["01"]  # +0.3 - 0.3 = 0
    assert abs(row["total"]) < 0.1
    assert np.isnan(row["share"])
    assert np.isnan(row["share_low"])
    assert "near 0" in row["reason"]
    assert np.isfinite(row["indirect"])


def test_missing_impact_and_distance_leave_out_what_they_concern():
    distance = make_distance()
    pairs = make_pairs(distance)
    pairs.loc[pairs["layer_label"] == "02", "impact"] = np.nan
    distance.loc["sw", :] = distance.loc[:, "sw"] = np.nan
    table = mediate(pairs, distance)
    assert table.loc["02", "n_pairs"] == 0
    assert "at least 5" in table.loc["02", "reason"]
    assert table.loc["01", ["n_pairs", "n_languages"]].tolist() == [110, 11]
    without = pairs[(pairs["source_language"] != "sw") & (pairs["target_language"] != "sw")]
    expected = mediate(without, distance.drop(index="sw", columns="sw"))
    pd.testing.assert_series_equal(table.loc["01"], expected.loc["01"])


def test_constant_impact_and_unknown_languages_give_a_reason():
    distance = make_distance()
    pairs = make_pairs(distance)
    constant = mediate(pairs.assign(impact=0.1), distance)
    assert constant["reason"].str.contains("constant").all()
    assert constant["indirect"].isna().all()
    unknown = mediate(pairs, make_distance(("xx", "yy")))
    assert (unknown["n_pairs"] == 0).all()


def test_three_languages_have_effects_and_no_p_value():
    distance = make_distance(LANGUAGES[:3])
    row = mediate(make_pairs(distance), distance).loc["01"]
    assert np.isfinite(row["indirect"])
    assert np.isnan(row["p_qap_indirect"])
    assert "fewer than 20 arrangements" in row["reason"]


@pytest.mark.parametrize("n_sources", [1, 3])
def test_few_sources_have_p_values_but_no_bootstrap_interval(n_sources):
    distance = make_distance()
    row = mediate(make_pairs(distance, sources=LANGUAGES[:n_sources]), distance).loc["01"]
    assert row[["p_qap_total", "p_qap_path_a", "p_qap_path_b", "p_qap_indirect"]].notna().all()
    assert np.isnan(row["indirect_low"])
    assert f"no interval: {n_sources} sources; at least 5" in row["reason"]


def test_effects_of_the_languages_make_no_indirect_path_once_they_are_removed():
    """A source that trains badly moves little and scores badly, whatever the distance."""
    distance, rng = make_distance(), np.random.default_rng(4)
    pairs = make_pairs(distance, path_b=0, direct=0)
    quality = dict(zip(LANGUAGES, rng.normal(size=len(LANGUAGES)), strict=True))
    shift = pairs["source_language"].map(quality)
    pairs = pairs.assign(impact=pairs["impact"] + shift, score=pairs["score"] + shift)
    assert abs(mediate(pairs, distance).loc["01", "path_b"]) > 0.9
    demeaned = mediate(pairs, distance, is_demeaned=True).loc["01"]
    unshifted = mediate(make_pairs(distance, path_b=0, direct=0), distance, is_demeaned=True).loc["01"]
    pd.testing.assert_series_equal(demeaned, unshifted, rtol=1e-6)
    assert abs(demeaned["path_b"]) < 0.3


def test_demeaned_paths_are_the_regressions_on_residuals():
    distance = make_distance()
    pairs = make_pairs(distance).query("layer_label == '01' and not is_in_language")
    far = np.array([distance.loc[s, t] for s, t in zip(pairs.source_language, pairs.target_language, strict=True)])
    effects = pd.get_dummies(pairs[["source_language", "target_language"]]).to_numpy(float)
    x, m, y = (
        v - effects @ np.linalg.lstsq(effects, v)[0]
        for v in (far, pairs["impact"].to_numpy(), pairs["score"].to_numpy())
    )
    x, m, y = (v / v.std() for v in (x, m, y))
    found = mediate(make_pairs(distance), distance, is_demeaned=True).loc["01"]
    assert found["path_a"] == pytest.approx(np.asarray(sm.OLS(m, x).fit().params)[0])
    direct, path_b = np.asarray(sm.OLS(y, np.column_stack([x, m])).fit().params)
    assert found[["direct", "path_b"]].tolist() == pytest.approx([direct, path_b])


def test_four_sources_and_twelve_targets_work_and_fill_every_column():
    distance = make_distance()
    table = mediate(make_pairs(distance, sources=LANGUAGES[:4]), distance).reset_index()
    assert (table["n_pairs"] == 44).all()
    assert table["n_languages"].eq(12).all()
    assert table["n_pairs_permuted"].eq(44).all()
    assert set(table.columns) == set(MEDIATION)
    assert table["layer"].tolist() == [1, 2, pd.NA]


def test_moving_the_outcome_back_equals_moving_impact_about():
    """The fast way of path_b's null, against each permutation written out."""
    rng = np.random.default_rng(0)
    n, n_layers = 7, 3
    own = np.nonzero(~np.eye(n, dtype=bool) & (np.arange(n) < 5)[:, None])
    residuals = np.full((n_layers, n, n), np.nan)
    residuals[:, own[0], own[1]] = rng.normal(size=(n_layers, len(own[0])))
    basis = orthonormal_basis(np.column_stack([np.ones(len(own[0])), rng.normal(size=len(own[0]))]))
    outcome = rng.normal(size=len(own[0]))
    outcome -= basis @ (basis.T @ outcome)
    drawn = draw_permutations(language_roles(*own, n), 50, 0)
    expected = []
    for labels in drawn.labels:
        moved = residuals[:, labels[own[0]], labels[own[1]]]
        moved -= moved @ basis @ basis.T
        expected.append(moved @ outcome / np.linalg.norm(moved, axis=1) / np.linalg.norm(outcome))
    np.testing.assert_allclose(_partial_correlations(residuals, outcome, basis, own, drawn), expected, atol=1e-12)
