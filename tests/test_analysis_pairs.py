"""The table of pairs: which runs, validations and layers a pair's values are taken from, and how they are averaged."""

import numpy as np
import pandas as pd
import pytest
from analysis_factory import make_distances, make_runs

from xling.analysis.inputs.external import read_transfer
from xling.analysis.inputs.pairs import compute_pairs, impact_reasons, select_validation
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


@pytest.mark.parametrize("scores", [[0.5, 0.6, 0.7, 71], [0.5, 0.6, 0.7, 1.2], [0, 0.5, 0.6, 50]])
def test_fractions_and_percentages_in_one_file_are_refused(scores, tmp_path):
    path = tmp_path / "mixed.csv"
    rows = [f"en,{target},{score}" for target, score in zip(("de", "fr", "ru", "sw"), scores, strict=True)]
    path.write_text("\n".join(["source_language,target_language,accuracy", *rows]), encoding="utf-8")
    with pytest.raises(XlingValueError, match="expected all scores as fractions, or all as percentages; [23] of 4 lie"):
        read_transfer(path)


@pytest.mark.parametrize("scores", [[0.5, 60, 0.7, 71], [0, 0, 0.4, 50], [0, 1, 1, 2]])
def test_low_percentages_stay_percentages(scores, tmp_path):
    path = tmp_path / "low.csv"
    rows = [f"en,{target},{score}" for target, score in zip(("de", "fr", "ru", "sw"), scores, strict=True)]
    path.write_text("\n".join(["source_language,target_language,accuracy", *rows]), encoding="utf-8")
    assert (100 * read_transfer(path)[0]["score"]).to_list() == pytest.approx(scores)


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
    ("header", "metric"),
    [
        ("source,target,f1", "f1"),
        ("Train_Lang,Test_Lang,Acc", "accuracy"),
        ("src,tgt,las", "las"),
        ("source_language,target_language,score", "score"),
        ("source_lang,target_lang,my_measure", "my_measure"),
    ],
)
def test_columns_are_found_under_the_names_of_the_field(tmp_path, header, metric):
    transfer, _ = read_transfer(write(tmp_path, f"{header}\nen,de,0.7\nen,sw,0.6\n"))
    assert transfer[["source_language", "target_language"]].to_numpy().tolist() == [["en", "de"], ["en", "sw"]]
    assert transfer["score"].tolist() == [0.7, 0.6]
    assert set(transfer["metric"]) == {metric}


def test_the_reading_of_langranks_columns_is_told_and_can_be_swapped(tmp_path):
    path = write(tmp_path, "task_lang,transfer_lang,accuracy\nde,en,0.7\n")
    transfer, sentences = read_transfer(path)
    assert transfer[["source_language", "target_language"]].to_numpy().tolist() == [["en", "de"]]
    assert (
        "'transfer_lang' was read as the source and 'task_lang' as the target (swap_languages=true reads"
        in sentences[0]
    )
    swapped, sentences = read_transfer(path, swap=True)
    assert swapped[["source_language", "target_language"]].to_numpy().tolist() == [["de", "en"]]
    assert "as swap_languages=true asks" in sentences[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("origin,target_language,accuracy\nen,de,0.5\n", r"needs a column 'source_language' \(or source, source_lang"),
        ("source_language,target_language,f1,accuracy\nen,de,0.5,0.6\n", "one column of scores, found f1, accuracy"),
        ("source_language,target_language,accuracy\nen,,0.5\n", "a language in column 'target_language'.*data row 1"),
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
