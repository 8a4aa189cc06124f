"""Layers put back, swapped and averaged after training: what is measured, what the trend says, what is refused."""

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from xling.analysis.questions.random_sets import is_random_set
from xling.analysis.questions.restoration import TREND, compute_trend
from xling.commands.restore import main
from xling.commands.train import train
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.interventions import blend_layers, parse_shares
from xling.runs.study import load_study
from xling.runs.tables import RESTORED
from xling.storage.atomic import read_json, write_json
from xling.training.derived import score_state
from xling.training.finished import load_run
from xling.training.restoring import Restoration, check_of_one_base, draw_restorations, tabulate_restorations
from xling.training.trainer import build_trainer

TARGETS = ("en", "de", "ru", "hi", "sw", "zh")
DISTANCE = dict(zip(TARGETS, (0.0, 0.2, 0.4, 0.6, 0.9, 1.0), strict=True))


def make_table(restorations, source_language="en") -> pd.DataFrame:
    """Scores that layer 1's weights lower, more so for distant languages; layer 0 does not matter."""

    def scores(shares, weight):
        kept = 1 - weight * shares.get(1, 0)
        return {target: 0.8 - 0.1 * (1 + far) * kept for target, far in DISTANCE.items()}

    restored = [(Restoration(shares, weight), scores(shares, weight)) for shares, weight in restorations]
    table = tabulate_restorations(scores({}, 0), restored, source_language)
    return table.assign(genetic=table["target_language"].map(DISTANCE))


def test_every_restoration_is_measured_against_the_finetuned_model():
    table = make_table([({0: 1.0}, 1.0), ({1: 1.0}, 0.5), ({0: 1.0, 1: 1.0}, 1.0)])
    assert list(table.columns) == [*RESTORED, "genetic"]
    assert table["restored_layers"].unique().tolist() == ["", "0", "1", "0+1"]
    assert (table.loc[table["restored_layers"].isin(["", "0"]), "change"] == 0).all()
    half, whole = (table[table["restored_layers"] == name]["change"].to_numpy() for name in ("1", "0+1"))
    assert half == pytest.approx(whole / 2)
    assert whole == pytest.approx([0.1 * (1 + far) for far in DISTANCE.values()])
    assert table.loc[table["is_in_language"], "target_language"].unique().tolist() == ["en"]


def test_trend_finds_the_layer_that_hurts_distant_languages():
    trend = compute_trend(make_table([({0: 1.0}, 1.0), ({1: 1.0}, 1.0)]), ["genetic"]).set_index("restored_layers")
    assert list(trend.reset_index().columns) == list(TREND)
    assert trend.loc["1", "slope"] == pytest.approx(0.1)
    assert trend.loc["1", "pearson_r"] == pytest.approx(1)
    assert trend.loc["1", ["n_targets", "change_on_source"]].tolist() == pytest.approx([5, 0.1])
    assert trend.loc["1", "p_value"] == pytest.approx(1 / 120)  # only the order itself is as strong
    assert np.isnan(trend.loc["0", "p_value"])
    assert "same for all targets" in trend.loc["0", "reason"]


def make_noise(missing=()) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        itertools.product(("1", "2"), (1.0,), TARGETS), columns=["restored_layers", "weight", "target_language"]
    )
    table["source_language"], table["is_in_language"] = "en", table["target_language"] == "en"
    table["score"], table["change"] = 0.5, rng.normal(size=len(table))
    table["genetic"] = table["target_language"].map(DISTANCE)
    table["syntactic"] = table["target_language"].map(dict(zip(TARGETS, rng.uniform(size=6), strict=True)))
    return table.assign(genetic=table["genetic"].mask(table["target_language"].isin(missing)))


def test_trend_equals_scipy_and_an_enumeration_in_plain_python():
    table = make_noise()
    trend = compute_trend(table, ["genetic", "syntactic"]).set_index(["restored_layers", "distance"])
    away = table[~table["is_in_language"]]
    strongest = []
    sets = {name: group["change"].to_numpy() for name, group in away.groupby("restored_layers")}
    far = {kind: away[away["restored_layers"] == "1"][kind].to_numpy() for kind in ("genetic", "syntactic")}
    for order in itertools.permutations(range(5)):
        strongest.append(
            [abs(stats.pearsonr(x[list(order)], y).statistic) for x in far.values() for y in sets.values()]
        )
    strongest = np.array(strongest)
    for i, (kind, layers) in enumerate(itertools.product(far, sets)):
        fit, row = stats.linregress(far[kind], sets[layers]), trend.loc[(layers, kind)]
        assert row[["slope", "pearson_r"]].tolist() == pytest.approx([fit.slope, fit.rvalue])
        assert row["spearman_rho"] == pytest.approx(stats.spearmanr(far[kind], sets[layers]).statistic)
        assert row["p_value"] == pytest.approx((strongest[:, i] >= abs(fit.rvalue) - 1e-9).mean())
        assert row["p_max_t"] == pytest.approx((strongest.max(axis=1) >= abs(fit.rvalue) - 1e-9).mean())


def test_a_target_without_distance_is_left_out():
    trend = compute_trend(make_noise(missing=["ru"]), ["genetic"])
    without = compute_trend(make_noise().query("target_language != 'ru'"), ["genetic"])
    assert (trend["n_targets"] == 4).all()
    columns = ["mean_change", "slope", "pearson_r", "spearman_rho", "p_value"]
    pd.testing.assert_frame_equal(trend[columns], without[columns])


def test_few_targets_give_a_reason_instead_of_a_p_value():
    trend = compute_trend(make_noise(missing=["ru", "hi"]), ["genetic"])
    assert trend["p_value"].isna().all()
    assert trend["pearson_r"].notna().all()
    assert trend["reason"].str.contains("at least 4").all()


def test_a_distance_that_is_missing_everywhere_gives_a_reason():
    trend = compute_trend(make_noise(missing=TARGETS), ["genetic", "syntactic"]).set_index("distance")
    assert trend.loc["genetic", ["slope", "p_value"]].isna().all(axis=None)
    assert trend.loc["genetic", "reason"].str.contains("0 targets with a distance").all()
    assert trend.loc["syntactic", "p_value"].notna().all()


def test_the_finetuned_model_alone_has_no_trend():
    assert compute_trend(make_table([]), ["genetic"]).empty


TRAINED = ("target_languages=[en,de,ru,hi,sw]", "trainer.max_epochs=1")


@pytest.fixture
def trained(make_config, cache_dir, tmp_path):
    """Train a small run, once a session since a complete run is not repeated, and copy it to where it would lie."""

    def make(*settings):
        path = train(make_config(*TRAINED, f"output_dir={cache_dir}", *settings)).path
        copied = tmp_path.joinpath("runs", *path.parts[-4:])
        return copied if copied.exists() else shutil.copytree(path, copied)

    return make


@pytest.fixture
def finished_run(trained):
    return trained()


def final_scores(path, table="transfer.parquet"):
    transfer = pd.read_parquet(path / table)
    return transfer[transfer["step"] == transfer["step"].max()].set_index("target_language")["score"].to_dict()


def test_the_command_measures_the_finetuned_model_as_the_run_did_and_every_layer(finished_run):
    assert main([str(finished_run)]) == 0
    table = pd.read_csv(finished_run / "restored.csv", dtype={"restored_layers": str}, keep_default_na=False)
    transfer = pd.read_parquet(finished_run / "transfer.parquet")
    final = transfer[transfer["step"] == transfer["step"].max()].set_index("target_language")["score"]
    finetuned = table[table["restored_layers"] == ""].set_index("target_language")
    assert finetuned["score"].to_dict() == final.to_dict()
    assert table["restored_layers"].unique().tolist() == ["", "0", "1", "2", "3"]
    assert (table.loc[table["target_language"] == "de", "genetic"].astype(float) == 0.4286).all()
    trend = pd.read_csv(finished_run / "restored_trend.csv")
    assert len(trend) == 4 * 6  # layers x distances
    assert (trend["n_targets"] == 4).all()


def test_a_run_with_all_layers_restored_computes_what_the_base_encoder_computes(finished_run):
    run = load_run(finished_run)
    base = {name: tensor.clone() for name, tensor in run.module.encoder.state_dict().items()}
    owners = [[f"encoder.{name}"] for name in ("embeddings", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2")]
    restored = blend_layers(run.finetuned, run.module.state_dict(), owners, parse_shares("0-3"))
    run.module.load_state_dict(restored)
    assert all(torch.equal(tensor, base[name]) for name, tensor in run.module.encoder.state_dict().items())
    assert any(not torch.equal(run.finetuned[f"encoder.{name}"], tensor) for name, tensor in base.items())


def test_the_command_ends_with_one_sentence_on_a_folder_without_a_run(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "expected a run directory with config.yaml" in capsys.readouterr().err


def test_a_run_of_several_processes_is_measured_by_one(finished_run, monkeypatch):
    def build_for_one(settings, *rest):
        assert (settings.trainer.strategy, settings.trainer.devices) == ("auto", 1)  # else copies would start
        return build_trainer(settings, *rest)

    monkeypatch.setattr("xling.training.derived.build_trainer", build_for_one)
    run = load_run(finished_run)
    several = replace(run, settings=run.settings.changed(trainer={"strategy": "ddp", "devices": 2}))
    assert score_state(several, run.finetuned) == final_scores(finished_run)


def records(runs, kind):
    """Strategy -> directory of the records of one kind."""
    return {path.parent.name: path for path in sorted(runs.glob(f"test/*/*{kind}*/seed_*"))}


def test_a_reverted_run_is_recorded_as_a_run_that_the_analysis_reads(finished_run):
    runs = finished_run.parents[3]
    assert main([str(finished_run), "--layers", "1-2", "--layers", "0:0.5"]) == 0
    found = records(runs, "revert")
    assert list(found) == ["revert_0x0.5", "revert_1-2"]
    study = load_study(runs)
    assert not study.skipped
    of_run = study.runs.set_index("strategy")
    assert of_run["treated_layers"].to_dict() == {"none": [], "revert_0x0.5": [0], "revert_1-2": [1, 2]}
    assert of_run["dose"].to_dict() == {"none": 0.0, "revert_0x0.5": 0.5, "revert_1-2": 1.0}
    assert "intervention revert 1-2 after training" in of_run.loc["revert_1-2", "recipe"]
    assert set(study.predictions["strategy"]) == {"none", "revert_0x0.5", "revert_1-2"}
    last = study.impact[study.impact["step"] == study.impact["step"].max()]
    impact = last[last["measure"] == "cka_grouped"].set_index(["strategy", "target_language", "layer"])["impact"]
    assert (impact["revert_1-2"] != impact["none"]).any()
    assert impact["revert_1-2"]["de"][0] == impact["none"]["de"][0]  # below the reverted layers nothing changes
    assert impact["revert_0x0.5"]["de"][0] < impact["none"]["de"][0]
    before = study.alignment[study.alignment["step"] == 0]
    assert before.groupby("strategy").size().nunique() == 1  # the base's alignment is that of every run
    restored = pd.read_csv(finished_run / "restored.csv", dtype={"restored_layers": str}, keep_default_na=False)
    own = restored[restored["restored_layers"] == "1+2"].set_index("target_language")["score"].to_dict()
    assert own == final_scores(found["revert_1-2"])
    assert main([str(finished_run), "--layers", "1-2"]) == 0  # a complete record is not made again


def test_random_sets_are_recorded_as_such_and_differ_from_the_chosen_one(finished_run):
    assert main([str(finished_run), "--layers", "1-2", "--random", "2"]) == 0
    study = load_study(finished_run.parents[3])
    sets = study.runs.set_index("strategy")["treated_layers"].drop("none").to_dict()
    drawn = {name: layers for name, layers in sets.items() if is_random_set(name)}
    assert len(drawn) == 2
    assert sorted(sets.values()) == [[1, 2], [1, 3], [2, 3]]
    assert all(name.startswith("revert_random_2_seed") for name in drawn)
    assert pd.read_csv(finished_run / "restored.csv")["restored_layers"].dropna().unique().tolist() == ["1+2"]
    assert (
        main([str(finished_run), "--random", "2", "--size", "2"]) == 0
    )  # drawn alike, but no set is kept out of the draw
    assert len(records(finished_run.parents[3], "random")) == 3


def test_one_encoder_is_given_the_same_random_sets_in_every_run():
    first, again = (draw_restorations(12, 4, 19, [{1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}]) for _ in range(2))
    assert first == again
    sets = {tuple(found.shares) for found in first}
    assert len(sets) == 19
    assert (1, 2, 3, 4) not in sets
    assert all(set(layers) <= set(range(1, 13)) and len(layers) == 4 for layers in sets)
    assert {len(found.shares) for found in draw_restorations(3, 2, 3)} == {2}
    with pytest.raises(XlingValueError, match="no more than the 2 of 2 of 3 layers that are not chosen, got 3"):
        draw_restorations(3, 2, 3, [{1: 1.0, 2: 1.0}])


def test_swapping_everything_gives_the_other_run_and_averaging_with_itself_the_run(trained, tmp_path):
    run, donor = trained(), trained("source_language=de")
    arguments = ["--output-dir", str(tmp_path / "out")]
    assert main([str(run), "--swap-with", str(donor), "--layers", "0-3,head", "--layers", "2", *arguments]) == 0
    assert main([str(run), "--average", str(run), str(run / "checkpoints" / "last.ckpt"), *arguments]) == 0
    swapped, averaged = records(tmp_path / "out", "swap"), records(tmp_path / "out", "average")
    assert list(swapped) == ["swap_0-3_head_from_de", "swap_2_from_de"]
    assert final_scores(swapped["swap_0-3_head_from_de"]) == final_scores(donor)
    assert list(averaged) == ["average_checkpoints_last"]
    assert final_scores(averaged["average_checkpoints_last"]) == final_scores(run)
    impact, own = (pd.read_parquet(path / "impact.parquet") for path in (*averaged.values(), run))
    values = ["target_language", "layer", "measure", "impact", "step", "epoch"]
    pd.testing.assert_frame_equal(impact[values], own[values])
    assert not (run / "restored.csv").exists()


def test_seeds_of_a_study_are_averaged(trained):
    first, second = trained(), trained("seed=43")
    assert main([str(first), "--average", str(second)]) == 0
    assert list(records(first.parents[3], "average")) == ["average_seeds_42_43"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--swap-with", "RUN", "--average", "RUN"], "expected --swap-with or --average, got both"),
        (["--swap-with", "RUN"], "expected --layers with --swap-with"),
        (
            ["--layers", "1", "--layers", "1-2", "--random", "1"],
            r"expected --size, or --layers whose sets are of one size",
        ),
        (["--random", "1"], "expected --size"),
        (["--size", "2"], "expected --random N with --size"),
        (["--layers", "1", "--random", "1", "--weights", "0.5"], "expected --random with whole layers"),
        (["--layers", "1", "--random", "9"], "no more than the 2 of 1 of 3 layers that are not chosen, got 9"),
        (["--random", "1", "--size", "4"], "no more than the 0 of 4 of 3 layers"),
        (["--random", "1", "--size", "-1"], "no more than the 0 of -1 of 3 layers"),
        (
            ["--layers", "0-1", "--random", "1"],
            "expected sets of whole layers 1 to 3 with --random, which draws such sets, got 0-1",
        ),
        (["--layers", "1,2:0.5", "--random", "1"], "expected sets of whole layers 1 to 3"),
        (["--layers", "1,head", "--random", "1"], "expected sets of whole layers 1 to 3"),
        (["--layers", "a"], "expected layers such as 1-4,5:0.5 or head, got 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(finished_run, capsys, arguments, message):
    assert main([str(finished_run), *(str(finished_run) if word == "RUN" else word for word in arguments)]) == 1
    assert message in capsys.readouterr().err


def test_runs_of_different_bases_or_probes_are_not_combined(finished_run):
    run = load_run(finished_run)
    with pytest.raises(XlingValueError, match="were fine-tuned from different bases"):
        check_of_one_base(run, replace(run, model={**run.model, "content_hash": "0"}))
    other = shutil.copytree(finished_run, finished_run.parent / "seed_1")
    facts = read_json(other / "data.json")
    facts["probe.de"]["fingerprint"] = "0"
    write_json(other / "data.json", facts)
    with pytest.raises(XlingValueError, match="not measured on the same probe.de"):
        check_of_one_base(run, replace(run, path=other))


def test_a_run_that_lies_elsewhere_or_is_not_complete_needs_help(finished_run, tmp_path, capsys):
    moved = shutil.copytree(finished_run, tmp_path / "moved")
    assert main([str(moved), "--layers", "1"]) == 1
    assert "set --output-dir" in capsys.readouterr().err
    (moved / "manifest.json").unlink()
    assert main([str(moved), "--layers", "1", "--output-dir", str(tmp_path)]) == 1
    assert "expected a finished run at" in capsys.readouterr().err


def test_an_intervention_after_training_is_no_setting_of_training(make_config):
    with pytest.raises(XlingValueError, match="intervention=revert acts on a finished run's weights"):
        train(make_config("+intervention.layers=1-2", "intervention.kind=revert"))


def test_the_command_checks_layers_and_weights_before_it_measures(finished_run, capsys):
    assert main([str(finished_run), "--layers", "1,7"]) == 1
    assert "layer 7 does not exist" in capsys.readouterr().err
    assert main([str(finished_run), "--weights", "2"]) == 1
    assert "between 0 and 1" in capsys.readouterr().err
    assert not (finished_run / "restored.csv").exists()


def test_a_run_that_kept_no_checkpoint_is_refused(finished_run):
    shutil.rmtree(finished_run / "checkpoints")
    with pytest.raises(MissingFileError, match="run again with keep_checkpoint=true"):
        load_run(finished_run)


@pytest.mark.parametrize("n_bytes", [0, 1000])
def test_a_truncated_checkpoint_is_refused(finished_run, n_bytes):
    checkpoint = finished_run / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:n_bytes])
    with pytest.raises(CorruptArtefactError, match="cannot be read as a checkpoint"):
        load_run(finished_run)


@pytest.mark.parametrize(
    ("file", "keys", "what"),
    [
        ("environment.json", ("model", "content_hash"), "the base model bert has changed"),
        ("data.json", ("probe.de", "fingerprint"), "the probe set of de has changed"),
    ],
)
def test_another_base_model_or_probe_set_is_refused(finished_run, file, keys, what):
    facts = read_json(finished_run / file)
    facts[keys[0]][keys[1]] = "0" * 64
    write_json(finished_run / file, facts)
    with pytest.raises(XlingValueError, match=what):
        load_run(finished_run)
