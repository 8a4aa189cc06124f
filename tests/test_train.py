"""Whole runs of the tiny model: what they write, what they refuse, what observing costs."""

import math

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from xling.callbacks import LayerFreezing, TrainUsedRows
from xling.commands.train import train
from xling.errors import CorruptArtefactError, MissingFileError, UnreachableError, XlingValueError
from xling.runs.directory import RunDirectory
from xling.runs.study import load_study
from xling.runs.tables import ALIGNMENT, IMPACT, TRANSFER
from xling.training.parts import build_parts, resolve_settings
from xling.training.trainer import build_trainer


def test_a_run_writes_documented_tables(make_config):
    run = train(make_config("source_language=de"))
    impact, transfer = (pd.read_parquet(run.path / f"{name}.parquet") for name in ("impact", "transfer"))
    assert run.path.parts[-4:] == ("test", "de", "none", "seed_42")
    assert set(impact.columns) == {*IMPACT, "impact_se", "impact_low", "impact_high"}
    assert set(transfer.columns) == {*TRANSFER, "macro_f1"}
    assert transfer["metric"].unique().tolist() == ["accuracy"]
    assert len(transfer) == 2 * 3  # epochs x targets
    assert len(impact) == 3 * 3 * 4 * 3  # before and after each epoch x targets x layers x measures
    assert impact["measure"].unique().tolist() == ["cka_grouped", "cka_debiased", "cka_biased"]
    assert transfer["n_examples"].eq(36).all()
    assert transfer[transfer["is_in_language"]]["target_language"].unique().tolist() == ["de"]


def test_alignment_of_source_and_targets_is_recorded_before_and_after(make_config):
    run = train(make_config("source_language=de"))
    alignment = pd.read_parquet(run.path / "alignment.parquet")
    assert set(alignment.columns) == {*ALIGNMENT, "cka_grouped", "cka_debiased"}
    assert alignment["step"].nunique() == 3
    assert set(alignment["target_language"]) == {"en", "sw"}
    assert alignment["cka_debiased"].between(-0.1, 1).all()


def test_impact_is_zero_before_training_and_not_after(make_config):
    run = train(make_config())
    impact = pd.read_parquet(run.path / "impact.parquet")
    before, after = impact[impact["step"] == 0], impact[impact["epoch"] == 2.0]
    assert before["impact"].abs().max() <= 1e-6
    assert run.read_manifest()["noise_floor"] <= 1e-6
    assert after["impact"].min() > 1e-6


def test_impact_is_exactly_zero_in_frozen_layers_on_frozen_input(make_config):
    run = train(make_config("freeze=bottom_k", "freeze.k=2"))
    impact = pd.read_parquet(run.path / "impact.parquet")
    last = impact[impact["epoch"] == 2.0]
    assert last[last["is_frozen"]]["layer"].unique().tolist() == [0, 1, 2]
    assert last[last["is_frozen"]]["impact"].eq(0.0).all()
    assert last[~last["is_frozen"]]["impact"].gt(1e-6).all()


IDENTITY = {"study": "test", "source_language": "en", "strategy": "none", "seed": 42}


def fit_weights(config, tmp_path, observers: bool):
    """Weights after a seeded fit, with all callbacks or with those alone that intervene."""
    config = resolve_settings(config)
    pl.seed_everything(config.seed, verbose=False)
    parts = build_parts(config, IDENTITY, RunDirectory(tmp_path / f"run_{observers}"))
    parts.monitor.base = None
    interveners = [part for part in parts.callbacks if isinstance(part, LayerFreezing | TrainUsedRows)]
    callbacks = parts.callbacks if observers else interveners
    pl.seed_everything(config.seed, verbose=False)
    build_trainer(config, callbacks, tmp_path / f"run_{observers}").fit(parts.module, parts.datamodule)
    return parts.module.state_dict()


def test_observing_leaves_the_weights_bit_identical(make_config, tmp_path):
    config = make_config("probe.write_representations=true")
    plain, observed = (fit_weights(config, tmp_path, observers) for observers in (False, True))
    assert all(torch.equal(plain[name], observed[name]) for name in plain)


def test_the_encoder_runs_once_per_validation_batch(make_config, tmp_path):
    config = resolve_settings(make_config())
    parts = build_parts(config, IDENTITY, RunDirectory(tmp_path))
    parts.monitor.base = None
    calls = []
    parts.module.encoder.register_forward_hook(lambda module, inputs, output: calls.append(module.training))
    build_trainer(config, parts.callbacks, tmp_path).fit(parts.module, parts.datamodule)
    n_val_batches = sum(len(loader) for loader in parts.datamodule.val_dataloader().values())
    n_train_batches = len(parts.datamodule.train_dataloader())
    assert calls.count(True) == 2 * n_train_batches
    assert calls.count(False) == 3 * n_val_batches  # the base pass and one per epoch


def test_seeds_repeat_and_differ(make_config, tmp_path):
    def accuracies(*overrides):
        run = train(make_config(*overrides))
        return pd.read_parquet(run.path / "impact.parquet")["impact"].dropna().tolist()

    first = accuracies(f"output_dir={tmp_path}/a", "seed=1")
    assert first == accuracies(f"output_dir={tmp_path}/b", "seed=1")
    assert first != accuracies(f"output_dir={tmp_path}/c", "seed=2")


def test_impact_can_be_followed_every_few_steps(make_config):
    run = train(
        make_config("trainer.val_check_interval=3", "trainer.check_val_every_n_epoch=null", "trainer.max_epochs=1")
    )
    assert pd.read_parquet(run.path / "impact.parquet")["step"].unique().tolist() == [0, 3, 6]


def test_a_complete_run_is_not_repeated(make_config):
    first = train(make_config())
    before = (first.path / "manifest.json").stat().st_mtime_ns
    assert (train(make_config()).path / "manifest.json").stat().st_mtime_ns == before


def test_a_directory_of_another_configuration_is_refused(make_config):
    run = train(make_config())
    files = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    with pytest.raises(
        XlingValueError, match=r"optimizer\.learning_rate=0\.001, now optimizer\.learning_rate=0\.002.*another study"
    ):
        train(make_config("optimizer.learning_rate=2e-3"))
    assert files == {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}


def test_a_directory_in_use_is_refused(make_config):
    config = make_config()
    run = RunDirectory.of(config.output_dir, "test", "en", "none", 42)
    with run.lock(), pytest.raises(UnreachableError, match="in use by another process"):
        train(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("source_language=eng", "no language 'eng'"),
        ("target_languages=[en,xx]", "no language 'xx'"),
        ("data.probe_split=train", "both 'train'"),
        ("data.train_split=trian", "did you mean 'train'"),
        ("data.train_limit=2", "not even one group"),
        ("trainer.precision=fp8", "unknown trainer.precision 'fp8'"),
        ("probe.pooling=max", "unknown pooling 'max'"),
        ("probe.similarity=[cka_debaised]", "cka_debaised"),
        ("freeze.strategy=bottom", "unknown freezing strategy 'bottom'"),
    ],
)
def test_bad_settings_are_named(make_config, override, message):
    with pytest.raises(XlingValueError, match=message):
        train(make_config(override))


def test_a_layer_out_of_range_is_named(make_config):
    with pytest.raises(XlingValueError, match="layer 9 does not exist"):
        train(make_config("freeze=layers", "freeze.layers=[9]"))


def test_checkpoints_are_kept_or_not(make_config):
    assert (train(make_config()).path / "checkpoints" / "last.ckpt").is_file()
    dropped = train(make_config("study=other", "keep_checkpoint=false"))
    assert not list(dropped.path.rglob("*.ckpt"))


def test_a_study_is_read_and_its_broken_runs_are_named(make_config, tmp_path):
    for language in ("en", "de", "sw"):
        train(make_config(f"source_language={language}"))
    (tmp_path / "test" / "de" / "none" / "seed_42" / "manifest.json").unlink()
    tables = tmp_path / "test" / "sw" / "none" / "seed_42" / "impact.parquet"
    tables.write_bytes(tables.read_bytes()[:-5])
    study = load_study(tmp_path / "test")
    assert study.runs["source_language"].tolist() == ["en"]
    assert study.impact["source_language"].unique().tolist() == ["en"]
    reasons = [reason for _, reason in study.skipped]
    assert any("not complete" in reason for reason in reasons)
    assert any("has changed since the run ended" in reason for reason in reasons)


def test_a_study_without_runs_says_so(tmp_path):
    with pytest.raises(MissingFileError, match="expected a folder with runs"):
        load_study(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="at least one complete run"):
        load_study(tmp_path)


def test_a_damaged_base_is_refused(make_config, tmp_path):
    config = make_config(f"cache_dir={tmp_path}/cache")
    train(config)
    base = next((tmp_path / "cache" / "base").rglob("*.safetensors"))
    content = bytearray(base.read_bytes())
    content[-3] ^= 1
    base.write_bytes(content)
    with pytest.raises(CorruptArtefactError, match="checksum differs.*delete it"):
        train(config.changed(seed=7))


def test_the_first_token_has_no_layer_0(make_config):
    run = train(make_config("model.pooling=cls"))
    impact = pd.read_parquet(run.path / "impact.parquet")
    embeddings = impact[(impact["layer"] == 0) & (impact["step"] > 0)]
    assert embeddings["impact"].map(math.isnan).all()
    assert embeddings["reason"].str.contains("constant").all()
    assert impact[(impact["layer"] > 0) & (impact["step"] > 0)]["reason"].eq("").all()
