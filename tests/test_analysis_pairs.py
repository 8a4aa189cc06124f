import numpy as np
import pandas as pd
import pytest
from analysis_factory import make_distances, make_runs

from xling.analysis.inputs.external import read_transfer
from xling.analysis.inputs.pairs import compute_pairs, estimator_of, impact_reasons, select_validation
from xling.analysis.schema import PAIRS
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError

LANGUAGES = ("de", "en", "sw")
DISTANCES = make_distances(LANGUAGES, ("genetic",))


def make(**options):
    return make_runs(DISTANCES, LANGUAGES, **options)


def cell(pairs, source="en", target="sw", label="mean"):
    chosen = pairs[pairs["layer_label"] == label].set_index(["source_language", "target_language"])
    return chosen.loc[(source, target)]


def test_pairs_hold_every_layer_and_the_mean_of_every_cell():
    pairs = compute_pairs(*make(n_layers=3), DISTANCES)
    assert list(pairs.columns) == [*PAIRS, "genetic", "genetic_coverage"]
    assert pairs.groupby(["source_language", "target_language"])["layer_label"].agg(list).map(
        tuple
    ).unique().tolist() == [("00", "01", "02", "03", "mean")]
    assert pairs["layer"].dtype == "Int64"


def test_mean_over_layers_leaves_out_the_embeddings_and_needs_all_others():
    transfer, impact = make(n_layers=2)
    is_cell = (impact["source_language"] == "en") & (impact["target_language"] == "sw")
    values = impact[is_cell].set_index("layer")["impact"]
    assert cell(compute_pairs(transfer, impact, DISTANCES))["impact"] == pytest.approx(values[[1, 2]].mean())
    impact.loc[is_cell & (impact["layer"] == 2), "impact"] = np.nan
    assert np.isnan(cell(compute_pairs(transfer, impact, DISTANCES))["impact"])


def test_seeds_are_averaged_and_counted():
    transfer, impact = make(seeds=(1, 2, 3))
    row = cell(compute_pairs(transfer, impact, DISTANCES))
    runs = transfer[(transfer["source_language"] == "en") & (transfer["target_language"] == "sw")]["score"]
    assert row["n_seeds"] == 3
    assert row["score"] == pytest.approx(runs.mean())
    assert row["score_sd"] == pytest.approx(runs.std(ddof=1))
    assert row["impact_sd"] > 0


@pytest.mark.parametrize(("seeds", "shown"), [((1,), True), ((1, 2), False)])
def test_the_interval_over_premises_belongs_to_a_single_run(seeds, shown):
    transfer, impact = make(seeds=seeds)
    impact = impact.assign(impact_low=impact["impact"] - 0.01, impact_high=impact["impact"] + 0.02)
    row = cell(compute_pairs(transfer, impact, DISTANCES), label="02")
    assert np.isfinite(row["impact_low"]) == np.isfinite(row["impact_high"]) == shown
    if shown:
        assert row["impact_high"] - row["impact"] == pytest.approx(0.02)


def test_transfer_is_expressed_in_four_ways():
    transfer, _ = make()
    transfer["score"] = transfer["target_language"].map({"en": 0.8, "de": 0.7, "sw": 0.6})
    pairs = compute_pairs(transfer, None, DISTANCES)
    row = cell(pairs)
    assert row["score_in_language"] == 0.8
    assert row["transfer_gap"] == pytest.approx(0.2)
    assert row["score_relative"] == pytest.approx(0.75)
    assert row["rank_within_source"] == 2
    assert np.isnan(cell(pairs, "en", "en")["rank_within_source"])


def test_only_the_last_validation_counts_unless_one_is_chosen():
    early, impact = make()
    late = early.assign(epoch=2, step=20, score=early["score"] + 0.1)
    both = pd.concat([early, late])
    impacts = pd.concat([impact, impact.assign(epoch=2, step=20, impact=impact["impact"] + 1)])
    row = cell(compute_pairs(both, impacts, DISTANCES), label="01")
    first = cell(compute_pairs(both, impacts, DISTANCES, epoch=1), label="01")
    assert row["score"] == pytest.approx(first["score"] + 0.1)
    assert row["impact"] == pytest.approx(first["impact"] + 1)
    assert cell(compute_pairs(both, impacts, DISTANCES, step=10))["score"] == first["score"]


def test_runs_of_different_length_keep_their_own_last_validation():
    transfer, _ = make()
    transfer.loc[transfer["source_language"] == "sw", "step"] = 4
    assert len(select_validation(transfer)) == len(transfer)


def test_cells_without_impact_stay():
    transfer, impact = make()
    pairs = compute_pairs(transfer, impact[impact["target_language"] != "sw"], DISTANCES)
    assert np.isnan(cell(pairs, label="01")["impact"])
    assert cell(pairs)["score"] > 0
    alone = compute_pairs(transfer, None, DISTANCES)
    assert len(alone) == 9
    assert alone["impact"].isna().all()


def test_layers_without_impact_give_their_reason():
    _, impact = make()
    assert impact_reasons(impact) == {"00": "constant"}
    assert impact_reasons(None) == {}
    assert impact_reasons(impact.assign(reason=""))["00"] == "no reason was recorded"


def test_a_missing_column_names_the_nearest():
    transfer, impact = make()
    with pytest.raises(XlingValueError, match=r"transfer table needs a column 'score'.*did you mean 'scroe'"):
        compute_pairs(transfer.rename(columns={"score": "scroe"}), impact, DISTANCES)


def test_a_cell_measured_twice_is_refused():
    transfer, impact = make()
    with pytest.raises(XlingValueError, match="transfer table repeats 1 rows"):
        compute_pairs(pd.concat([transfer, transfer.iloc[:1]]), impact, DISTANCES)
    with pytest.raises(XlingValueError, match="distance table repeats 9 rows"):
        compute_pairs(transfer, impact, pd.concat([DISTANCES, DISTANCES]))


def test_an_epoch_nobody_validated_is_refused():
    with pytest.raises(XlingValueError, match=r"no run was validated at epoch 7; there are epochs \[1\]"):
        compute_pairs(*make(), DISTANCES, epoch=7)


def write(tmp_path, text):
    path = tmp_path / "transfer.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_percentages_become_fractions_and_say_so(tmp_path):
    path = write(tmp_path, "source_language,target_language,accuracy\nen,en,82.1\nen,na,50\n")
    transfer, sentences = read_transfer(path)
    assert transfer["score"].tolist() == [0.821, 0.5]
    assert transfer["target_language"].tolist() == ["en", "na"]
    assert transfer["is_in_language"].tolist() == [True, False]
    assert "percentages" in sentences[0]


def test_fractions_and_gaps_are_read_as_they_stand(tmp_path):
    path = write(tmp_path, "source_language,target_language,accuracy,seed\nen,de,0.7,1\nen,de,0.8,2\nen,sw,,1\n")
    transfer, sentences = read_transfer(path)
    assert transfer["score"].tolist()[:2] == [0.7, 0.8]
    assert transfer["score"].isna().tolist() == [False, False, True]
    assert sentences == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source_language,target_language\nen,de\n", "needs a column 'score'"),
        ("source_language,target_language,accuracy\n", "a header alone"),
        ("source_language,target_language,accuracy\nen,de,good\n", "needs numbers, found 'good' in data row 1"),
        ("source_language,target_language,accuracy\nen,de,-3\n", "must lie in"),
        ("source_language,target_language,accuracy\nen,de,820\n", "must lie in"),
    ],
)
def test_a_csv_that_does_not_fit_says_why(tmp_path, text, message):
    with pytest.raises(XlingValueError, match=message):
        read_transfer(write(tmp_path, text))


def test_a_csv_that_is_none_says_so(tmp_path):
    with pytest.raises(MissingFileError, match="expected a CSV of scores"):
        read_transfer(tmp_path / "none.csv")
    for content in (b"", b"\xff\xfe\x00", b'a,b\n"1,2\n'):
        (tmp_path / "broken.csv").write_bytes(content)
        with pytest.raises(CorruptArtefactError, match="expected a CSV in UTF-8"):
            read_transfer(tmp_path / "broken.csv")


def estimated(impact, **columns):
    return impact.assign(n_groups=200, estimator="cka_grouped", impact_debiased=impact["impact"], **columns)


def test_runs_of_two_estimators_are_not_mixed_and_are_named():
    transfer, impact = make(n_layers=2, seeds=(0, 1))
    new = estimated(impact)
    is_old = (impact["seed"] == 1) & (impact["source_language"] == "en")
    mixed = new.assign(estimator=new["estimator"].mask(is_old), n_groups=new["n_groups"].mask(is_old))
    with pytest.raises(
        XlingValueError, match=r"estimated in different ways .*cka_debiased: simulated/en/none/seed_1; cka_gr"
    ):
        compute_pairs(transfer, mixed, DISTANCES)
    assert estimator_of(new) == "cka_grouped"
    assert estimator_of(impact) == "cka_debiased"


def test_rows_that_are_groups_by_themselves_go_with_either_estimator():
    transfer, impact = make(n_layers=2, seeds=(0, 1))
    new = estimated(impact).assign(n_groups=impact["n_examples"])
    mixed = new.assign(estimator=new["estimator"].where(impact["seed"] == 0))
    assert len(compute_pairs(transfer, mixed, DISTANCES))
