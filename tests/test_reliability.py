"""How much of a quantity is noise, and what a correlation would be without it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_studies import DEFAULT, small

from xling.analysis.inputs.pairs import compute_pairs
from xling.analysis.pipeline import analyse
from xling.analysis.questions.reliability import DISATTENUATED, RELIABILITY, compute_reliability, disattenuate
from xling.analysis.schema import Analysis
from xling.report.sections.reliability import reliability_section

LANGUAGES = tuple("abcdefghijklmn")
NONE = pd.DataFrame(columns=["source_language", "target_language", "near", "near_coverage"])


def make_tables(seeds=(1, 2, 3), noise=0.02, effects=0.0, impact=True, metric="accuracy", n_examples=400, shared=0.0):
    """True values with sd .03 over pairs, effects of source and target besides, independent noise, and noise of a whole run."""
    rng = np.random.default_rng(0)
    true = 0.5 + 0.03 * rng.normal(size=(len(LANGUAGES),) * 2)
    true += effects * (rng.normal(size=(len(LANGUAGES), 1)) + rng.normal(size=len(LANGUAGES)))
    of_run = shared * rng.normal(size=(len(LANGUAGES), max(seeds) + 1))
    rows, layers = [], []
    for i, source in enumerate(LANGUAGES):
        for j, target in enumerate(LANGUAGES):
            for seed in seeds:
                keys = {"study": "s", "strategy": "none", "seed": seed, "epoch": 1, "step": 1, "is_in_language": i == j}
                keys |= {"source_language": source, "target_language": target, "n_examples": n_examples}
                rows.append(keys | {"metric": metric, "score": true[i, j] + of_run[i, seed] + noise * rng.normal()})
                value = true[i, j] + of_run[i, seed] + noise * rng.normal()
                measured = {"layer": 1, "impact": value, "impact_biased": value, "is_frozen": False, "reason": ""}
                layers.append(keys | measured)
    return pd.DataFrame(rows), pd.DataFrame(layers) if impact else None


def make_main(**options):
    return compute_pairs(*make_tables(**options), NONE)


def of_seeds(transfer, impact):
    seeds = transfer["seed"].unique()
    return [compute_pairs(*(table[table["seed"] == seed] for table in (transfer, impact)), NONE) for seed in seeds]


@pytest.mark.parametrize("effects", [0.0, 0.2])
def test_reliability_is_the_share_that_is_not_noise(effects):
    table = compute_reliability(make_main(effects=effects)).set_index(["outcome", "layer_label"])
    expected = 0.03**2 / (0.03**2 + 0.02**2 / 3)
    for key in (("impact", "01"), ("score", "")):
        assert table.loc[key, "reliability_demeaned"] == pytest.approx(expected, abs=0.05)
        assert table.loc[key, "noise_sd"] == pytest.approx(0.02 / np.sqrt(3), rel=0.1)
        assert table.loc[key, "noise_from"] == "seeds"
    assert (table.loc[("score", ""), "reliability"] > 0.95) == (effects > 0)
    assert list(table.reset_index().columns.sort_values()) == sorted(RELIABILITY)


@pytest.mark.parametrize("seeds", [(1, 2), (1, 2, 3)])
@pytest.mark.parametrize("shared", [0.0, 0.2])
def test_noise_that_all_targets_of_a_run_share_is_not_left_beyond_source_and_target(shared, seeds):
    tables = make_tables(seeds=seeds, shared=shared)
    found = compute_reliability(compute_pairs(*tables, NONE), of_seeds(*tables)).set_index(["outcome", "layer_label"])
    expected = 0.03**2 / (0.03**2 + 0.02**2 / len(seeds))
    for key in (("impact", "01"), ("impact", "mean"), ("score", "")):
        assert found.loc[key, "reliability_demeaned"] == pytest.approx(expected, abs=0.06)
    if shared:  # the noise of single cells is far larger than what their pairs differ by
        assert found.loc[("score", ""), "noise_sd"] > found.loc[("score", ""), "sd_demeaned"]


def test_seeds_that_measured_other_targets_are_compared_over_those_they_share():
    transfer, impact = make_tables(seeds=(1, 2), shared=0.2)
    lacking = (transfer["seed"] == 2) & transfer["target_language"].isin(["a", "b"])
    tables = transfer[~lacking], impact[~lacking.to_numpy()]
    found = compute_reliability(compute_pairs(*tables, NONE), of_seeds(*tables)).set_index(["outcome", "layer_label"])
    assert found.loc[("score", ""), "reliability_demeaned"] == pytest.approx(
        0.03**2 / (0.03**2 + 0.02**2 / 2), abs=0.08
    )


def test_a_single_seed_takes_the_examples_and_the_jackknife():
    main = make_main(seeds=(1,))
    main["impact_low"], main["impact_high"] = main["impact"] - 0.0392, main["impact"] + 0.0392
    table = compute_reliability(main).set_index(["outcome", "layer_label"])
    assert table.loc[("score", ""), "noise_from"] == "examples (binomial)"
    assert table.loc[("score", ""), "noise_sd"] == pytest.approx(np.sqrt(0.25 / 400), rel=0.02)
    assert table.loc[("impact", "01"), "noise_from"] == "jackknife over premises"
    assert table.loc[("impact", "01"), "noise_sd"] == pytest.approx(0.02, rel=1e-6)


def test_unknown_noise_has_no_reliability_but_a_reason():
    table = compute_reliability(make_main(seeds=(1,), metric="f1", impact=False))
    assert table["reliability"].isna().all()
    assert table["reason"].str.contains("no seeds, no jackknife").all()
    assert "several seeds" in reliability_section(Analysis({"reliability": table})).reason


def row_of(r, main="demeaned"):
    keys = {"analysis": "transfer_vs_distance", "predictor": "near", "layer_label": "", "main": main}
    return pd.DataFrame([keys | {"r": r}])


def make_reliability(raw, demeaned):
    return pd.DataFrame([{"outcome": "score", "layer_label": "", "reliability": raw, "reliability_demeaned": demeaned}])


def test_the_disattenuated_coefficient_recovers_what_was_planted():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(30):
        x = rng.normal(size=400)
        true = -0.5 * x + np.sqrt(0.75) * rng.normal(size=400)
        r = np.corrcoef(x, true + rng.normal(size=400))[0, 1]
        found.append(disattenuate(row_of(r), make_reliability(0.5, 0.5)))
    assert np.mean([table["r_disattenuated"].iloc[0] for table in found]) == pytest.approx(-0.5, abs=0.03)
    assert list(found[0].columns) == list(DISATTENUATED)


def test_the_form_of_r_decides_which_reliability_counts_and_noise_alone_is_not_divided_by():
    reliability = make_reliability(0.81, 0.04)
    assert disattenuate(row_of(0.45, "pearson"), reliability)["r_disattenuated"].tolist() == pytest.approx([0.5])
    low = disattenuate(row_of(0.45), reliability)
    assert np.isnan(low["r_disattenuated"]).all()
    assert "nearly all is noise" in low["reason"].iloc[0]
    assert disattenuate(row_of(np.nan), reliability)["reason"].tolist() == ["no main coefficient"]
    assert disattenuate(row_of(0.4), make_reliability(0.8, np.nan))["reason"].tolist() == ["the noise is not known"]


def test_the_section_tells_the_noise_of_score_and_impact():
    main = make_main()
    section = reliability_section(Analysis({"reliability": compute_reliability(main), "pairs": main}))
    assert any("of the variance of accuracy over pairs is noise" in text for text in section.paragraphs)
    assert any("of the variance of mean impact" in text for text in section.paragraphs)


def test_a_seed_without_the_step_asked_for_is_left_out():
    measured = small(seeds=(1, 2))
    early = [table.assign(step=5, epoch=0) for table in (measured.transfer, measured.impact)]
    only_first = [table[table["seed"] == 1] for table in early]
    both = [pd.concat(pair) for pair in zip((measured.transfer, measured.impact), only_first, strict=True)]
    analysis = analyse(replace(measured, transfer=both[0], impact=both[1]), replace(DEFAULT, step=5))
    reliability = analysis.tables["reliability"].set_index("outcome")
    assert reliability.loc["score", "noise_from"] == "examples (binomial)"
    whole = (
        analyse(replace(measured, transfer=both[0], impact=both[1]), DEFAULT).tables["reliability"].set_index("outcome")
    )
    assert whole.loc["score", "noise_from"] == "seeds"
