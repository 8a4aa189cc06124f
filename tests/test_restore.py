import itertools
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from xling.analysis.questions.restoration import TREND, compute_trend
from xling.commands.restore import main
from xling.commands.train import train
from xling.errors import CorruptArtefactError, MissingFileError, XlingValueError
from xling.runs.tables import RESTORED
from xling.storage.atomic import read_json, write_json
from xling.training.finished import load_run
from xling.training.restoring import compute_restorations, restore_layers, restore_run
from xling.training.trainer import build_trainer

TARGETS = ("en", "de", "ru", "hi", "sw", "zh")
DISTANCE = dict(zip(TARGETS, (0.0, 0.2, 0.4, 0.6, 0.9, 1.0), strict=True))


def make_states() -> tuple[dict, dict]:
    def state() -> dict:
        net = nn.ModuleDict({f"layer_{i}": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for i in (1, 2, 10)})
        return net.state_dict()

    torch.manual_seed(0)
    return state(), state()


def test_full_weight_restores_the_base_bit_for_bit_and_no_weight_changes_nothing():
    finetuned, base = make_states()
    for name, tensor in restore_layers(finetuned, base, ["layer_1"], 1.0).items():
        assert torch.equal(tensor, (base if name.startswith("layer_1.") else finetuned)[name]), name
    for name, tensor in restore_layers(finetuned, base, ["layer_1", "layer_2"], 0.0).items():
        assert torch.equal(tensor, finetuned[name]), name


def test_a_prefix_ends_at_a_module_boundary():
    finetuned, base = make_states()
    restored = restore_layers(finetuned, base, ["layer_1"])
    assert torch.equal(restored["layer_10.0.weight"], finetuned["layer_10.0.weight"])


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.9])
def test_interpolation_is_the_weighted_mean(weight):
    finetuned, base = make_states()
    name = "layer_2.0.weight"
    expected = weight * base[name].double() + (1 - weight) * finetuned[name].double()
    restored = restore_layers(finetuned, base, ["layer_2"], weight)
    assert torch.allclose(restored[name].double(), expected, atol=1e-7)
    assert restored[name].dtype == torch.float32


def test_nested_prefixes_interpolate_once_and_inputs_stay_as_they_are():
    finetuned, base = make_states()
    before = {name: tensor.clone() for name, tensor in finetuned.items()}
    once = restore_layers(finetuned, base, ["layer_2"], 0.5)
    twice = restore_layers(finetuned, base, ["layer_2", "layer_2.0"], 0.5)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert all(torch.equal(finetuned[name], before[name]) for name in before)


def test_half_precision_and_integer_buffers_keep_their_type():
    finetuned = {"a.w": torch.ones(2, dtype=torch.bfloat16), "a.position_ids": torch.arange(2)}
    base = {"a.w": torch.zeros(2, dtype=torch.bfloat16), "a.position_ids": torch.arange(2)}
    restored = restore_layers(finetuned, base, ["a"], 0.5)
    assert restored["a.w"].dtype == torch.bfloat16
    assert restored["a.w"].tolist() == [0.5, 0.5]
    assert restored["a.position_ids"].tolist() == [0, 1]


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(XlingValueError, match="between 0 and 1"):
        restore_layers(*make_states(), ["layer_1"], weight)


def test_a_prefix_without_weights_is_refused():
    with pytest.raises(XlingValueError, match="no weights below 'layer_3'"):
        restore_layers(*make_states(), ["layer_3"])


def test_a_base_of_another_shape_or_without_the_layer_is_refused():
    finetuned, base = make_states()
    with pytest.raises(
        XlingValueError, match=r"layer_1.0.weight of shape \[3, 3\] in the base model, found shape \[2, 3\]"
    ):
        restore_layers(finetuned, base | {"layer_1.0.weight": torch.zeros(2, 3)}, ["layer_1"])
    del base["layer_1.0.weight"]
    with pytest.raises(XlingValueError, match="found no such tensor"):
        restore_layers(finetuned, base, ["layer_1"])


def evaluate(state) -> dict[str, float]:
    """Accuracy that a large weight lowers, more so for distant languages; layer 2 alone matters."""
    return {target: 0.8 - 0.1 * (1 + far) * float(state["two.w"]) for target, far in DISTANCE.items()}


def make_table(restorations, source_language="en") -> pd.DataFrame:
    finetuned, base = ({f"{layer}.w": torch.tensor(value) for layer in ("one", "two")} for value in (1.0, 0.0))
    table = compute_restorations(finetuned, base, [["one"], ["two"]], restorations, evaluate, source_language)
    return table.assign(genetic=table["target_language"].map(DISTANCE))


def test_every_restoration_is_measured_against_the_finetuned_model():
    table = make_table([([0], 1.0), ([1], 0.5), ([0, 1], 1.0)])
    assert list(table.columns) == [*RESTORED, "genetic"]
    assert table["restored_layers"].unique().tolist() == ["", "0", "1", "0+1"]
    assert (table.loc[table["restored_layers"].isin(["", "0"]), "change"] == 0).all()
    half, whole = (table[table["restored_layers"] == name]["change"].to_numpy() for name in ("1", "0+1"))
    assert half == pytest.approx(whole / 2)
    assert whole == pytest.approx([0.1 * (1 + far) for far in DISTANCE.values()])
    assert table.loc[table["is_in_language"], "target_language"].unique().tolist() == ["en"]


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(XlingValueError, match="layer 2 does not exist: expected a whole number from 0"):
        make_table([([2], 1.0)])


def test_trend_finds_the_layer_that_hurts_distant_languages():
    trend = compute_trend(make_table([([0], 1.0), ([1], 1.0)]), ["genetic"]).set_index("restored_layers")
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


@pytest.fixture
def finished_run(make_config, cache_dir, tmp_path):
    """Copy of a small trained run; it is trained once a session, since a complete run is not repeated."""
    config = make_config("target_languages=[en,de,ru,hi,sw]", "trainer.max_epochs=1", f"output_dir={cache_dir}")
    return shutil.copytree(train(config).path, tmp_path / "run")


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
    prefixes = [f"encoder.{name}" for name in ("embeddings", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2")]
    restored = restore_layers(run.finetuned, run.module.state_dict(), prefixes)
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

    monkeypatch.setattr("xling.training.restoring.build_trainer", build_for_one)
    run = load_run(finished_run)
    processes = {"strategy": "ddp", "devices": 2}
    several = replace(run, settings=run.settings.changed(trainer=processes))
    one, other = (restore_run(each, [([1], 1.0)], finished_run) for each in (run, several))
    pd.testing.assert_frame_equal(one, other)


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
