"""Impact by several measures: one long table; one measure for all runs, never two mixed; each in its own family."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_factory import make_distances, make_runs

from xling.analysis.inputs.measurements import Measurements, Resampling, Settings
from xling.analysis.inputs.measures import choose_measure, correct_for_chance, one_measure
from xling.analysis.pipeline import analyse
from xling.errors import XlingValueError
from xling.runs.measures import to_long
from xling.similarity import above_chance

DISTANCES = make_distances()
FAST = Settings(resampling=Resampling(200, 20))


def make_long(**options):
    transfer, wide = make_runs(DISTANCES, sources=("en", "de", "sw", "ru"), **options)
    wide = wide.assign(
        estimator="cka_grouped", n_groups=200, impact_debiased=wide["impact"] * 0.95, svcca=1 - wide["impact"] ** 2
    )
    return transfer, to_long(wide)


def test_a_wide_table_becomes_long_and_keeps_every_number():
    _, wide = make_runs(DISTANCES, sources=("en",))
    wide["rsa"] = 0.25
    wide["impact_se"] = 0.01
    long = to_long(wide)
    assert len(long) == 3 * len(wide)
    assert long["measure"].unique().tolist() == ["cka_debiased", "cka_biased", "rsa"]
    by = {name: rows.reset_index(drop=True) for name, rows in long.groupby("measure")}
    pd.testing.assert_series_equal(by["cka_debiased"]["impact"], wide["impact"], check_names=False)
    pd.testing.assert_series_equal(by["cka_biased"]["impact"], wide["impact_biased"], check_names=False)
    assert by["rsa"]["impact"].eq(0.75).all()
    assert by["cka_debiased"]["impact_se"].eq(0.01).all()
    assert by["rsa"]["impact_se"].isna().all()


def test_rows_from_before_estimators_were_named_are_debiased_over_rows():
    _, wide = make_runs(DISTANCES, sources=("en",), seeds=(1, 2))
    new = wide["seed"] == 2
    wide["estimator"] = pd.Series("cka_grouped", index=wide.index).where(new)
    wide["impact_debiased"] = wide["impact"].where(new)
    long = to_long(wide)
    assert set(long.loc[long["seed"] == 1, "measure"]) == {"cka_debiased", "cka_biased"}
    assert set(long.loc[long["seed"] == 2, "measure"]) == {"cka_grouped", "cka_debiased", "cka_biased"}


def test_the_grouped_measure_is_the_main_one_where_every_run_has_it():
    _, long = make_long()
    assert choose_measure(long) == ("cka_grouped", [])
    assert choose_measure(long, "svcca") == ("svcca", [])


def test_runs_of_two_estimators_are_analysed_by_the_one_they_share_and_that_is_said():
    _, long = make_long(seeds=(1, 2))
    is_old = (long["seed"] == 2) & (long["source_language"] == "en")
    mixed = long[~(is_old & (long["measure"] == "cka_grouped"))]
    name, sentences = choose_measure(mixed)
    assert name == "cka_debiased"
    assert sentences == [
        "Impact is by cka_debiased throughout: en/none/2 has no impact by cka_grouped, and the two are not mixed."
    ]
    with pytest.raises(XlingValueError, match=r"every run to have impact by cka_grouped, and en/none/2 has not"):
        choose_measure(mixed, "cka_grouped")


def test_an_unknown_measure_and_runs_without_a_common_one_are_refused():
    _, long = make_long()
    with pytest.raises(XlingValueError, match="no run has impact by the measure 'svca'; did you mean 'svcca'"):
        choose_measure(long, "svca")
    apart = long[(long["source_language"] == "en") ^ (long["measure"] == "svcca")]
    with pytest.raises(XlingValueError, match="no measure of impact is common to all runs"):
        choose_measure(apart)


def test_every_measure_is_tested_within_its_own_family():
    transfer, long = make_long(planted={("syntactic", 2): 0.4})
    analysis = analyse(Measurements(transfer, DISTANCES, long), FAST)
    table = analysis.tables["correlations_measures"]
    assert table["measure"].unique().tolist() == ["cka_grouped", "cka_biased", "cka_debiased", "svcca"]
    own = analysis.tables["correlations"]
    own = own[own["analysis"] != "transfer_vs_distance"].reset_index(drop=True)
    pd.testing.assert_frame_equal(table[table["measure"] == "cka_grouped"].reset_index(drop=True), own)
    # a family of the other measures changes nothing: the same measure alone gives the same corrected p-values
    alone = analyse(Measurements(transfer, DISTANCES, long[long["measure"] == "svcca"]), FAST).tables["correlations"]
    for_svcca = table[table["measure"] == "svcca"]
    planted = (for_svcca["predictor"] == "syntactic") & (for_svcca["layer"] == 2)
    assert for_svcca.loc[planted, "p_max_t"].item() <= 0.05
    alone = alone[
        (alone["predictor"] == "syntactic") & (alone["layer"] == 2) & (alone["analysis"] == "impact_vs_distance")
    ]
    assert alone["p_max_t"].item() == for_svcca.loc[planted, "p_max_t"].item()


def test_the_chosen_measure_fills_pairs_and_correlations():
    transfer, long = make_long()
    analysis = analyse(
        Measurements(transfer, DISTANCES, long), Settings(measure="svcca", resampling=Resampling(50, 20))
    )
    assert analysis.tables["pairs"]["measure"].eq("svcca").all()
    expected = one_measure(long, "svcca").groupby(["source_language", "target_language", "layer"])["impact"].mean()
    pairs = analysis.tables["pairs"].dropna(subset=["layer"])
    found = pairs.set_index(["source_language", "target_language", "layer"])["impact"]
    assert np.allclose(found.sort_index(), expected.sort_index(), equal_nan=True)
    tests = analysis.tables["correlations"]
    assert set(tests.loc[tests["analysis"] != "transfer_vs_distance", "measure"]) == {"svcca"}
    assert set(tests.loc[tests["analysis"] == "transfer_vs_distance", "measure"]) == {""}


def test_impact_above_chance_is_counted_from_the_level_of_groups_paired_anew():
    long = make_long()[1]
    with_chance = long.assign(chance=0.2, impact_se=0.01)
    found, sentence = correct_for_chance(with_chance)
    similarity = 1 - with_chance["impact"]
    assert (1 - found["impact"]).to_numpy() == pytest.approx(
        [above_chance(value, 0.2) for value in similarity], nan_ok=True
    )
    assert found["impact_se"].to_numpy() == pytest.approx(0.01 / 0.8)
    assert "0.200 to 0.200" in sentence


def test_an_analysis_above_chance_says_so_and_keeps_correlations_where_chance_is_one_level():
    transfer, long = make_long()
    measured = Measurements(transfer, DISTANCES, long.assign(chance=0.2))
    plain, above = (analyse(measured, replace(FAST, above_chance=flag)) for flag in (False, True))
    assert any("(similarity - chance) / (1 - chance)" in warning for warning in above.warnings)
    ratio = above.tables["pairs"]["impact"] / plain.tables["pairs"]["impact"]
    assert ratio.dropna().to_numpy() == pytest.approx(1 / 0.8)
    r = [analysis.tables["correlations"]["demeaned_r"].to_numpy() for analysis in (plain, above)]
    assert r[1] == pytest.approx(r[0], nan_ok=True)


@pytest.mark.parametrize(
    "forget",
    [lambda long: long, lambda long: long.assign(chance=np.where(long["impact"] == long["impact"].max(), np.nan, 0.1))],
)
def test_impact_above_chance_needs_the_level_of_every_run(forget):
    with pytest.raises(
        XlingValueError, match="above_chance=true needs the chance level of every similarity, and .* none"
    ):
        correct_for_chance(forget(make_long()[1]))
