"""Loggers beside the CSV file: each for real, offline, read back with its own reader."""

import importlib.util

import pandas as pd
import pytest
import pytorch_lightning as pl

from xling.commands.train import train
from xling.errors import UnreachableError
from xling.training.loggers import PACKAGES, FinalFigures, build_loggers, check_packages, final_figures

RUN = "en-none-seed_42"


def needs(name):
    is_missing = importlib.util.find_spec(PACKAGES[name]) is None
    return pytest.mark.skipif(is_missing, reason=f"needs pip install 'xling[{name}]'")


def last_figures(run):
    """What the tables of a finished run say, under the names the loggers use."""
    transfer, impact = (pd.read_parquet(run.path / f"{name}.parquet") for name in ("transfer", "impact"))
    transfer, impact = (frame[frame["step"] == frame["step"].max()] for frame in (transfer, impact))
    scores = {f"final/accuracy/{row.target_language}": row.score for row in transfer.itertuples()}
    layers = impact.groupby("layer")["impact"].mean()
    return scores | {f"final/impact/layer_{layer:02d}": value for layer, value in layers.items()}


def test_final_figures_are_those_of_the_last_validation():
    transfer = [
        {"target_language": "de", "step": 1, "metric": "f1", "score": 0.1},
        {"target_language": "de", "step": 2, "metric": "f1", "score": 0.7},
        {"target_language": "sw", "step": 2, "metric": "f1", "score": 0.5},
    ]
    impact = [{"layer": 0, "step": 2, "impact": float("nan")}, {"layer": 1, "step": 0, "impact": 0.0}]
    impact += [{"layer": 1, "step": 2, "impact": value} for value in (0.2, 0.4)]
    assert final_figures(transfer, impact) == {
        "final/f1/de": 0.7,
        "final/f1/sw": 0.5,
        "final/impact/layer_01": pytest.approx(0.3),
    }


def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(PACKAGES, "wandb", "no_such_package_anywhere")
    with pytest.raises(UnreachableError, match=r"logger=wandb needs .*pip install 'xling\[wandb\]'"):
        check_packages({"wandb": {}})
    with pytest.raises(UnreachableError, match="logger=wandb needs"):
        build_loggers({"wandb": {}}, "study", tmp_path)


def test_a_missing_package_speaks_up_before_anything_is_written(make_config, monkeypatch, tmp_path):
    monkeypatch.setitem(PACKAGES, "mlflow", "no_such_package_anywhere")
    with pytest.raises(UnreachableError, match="logger=mlflow needs"):
        train(make_config("logger=mlflow"))
    assert not (tmp_path / "test").exists()


def test_loggers_may_be_several(make_config):
    assert make_config().logger == {}
    assert set(make_config("logger=[tensorboard,mlflow]").logger) == {"tensorboard", "mlflow"}


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's and protobuf's own making
def test_a_logger_is_not_part_of_what_a_run_is(make_config):
    first = train(make_config("trainer.max_epochs=1"))
    assert train(make_config("trainer.max_epochs=1", "logger=tensorboard")).path == first.path


class Remembers(pl.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.parameters, self.metrics = [], []

    def log_hyperparams(self, params, *args, **kwargs):
        self.parameters.append(params)

    def log_metrics(self, metrics, step=None):
        self.metrics.append((metrics, step))


def test_the_csv_file_gets_no_final_figures():
    csv, other = Remembers(), Remembers()
    trainer = pl.Trainer(logger=[csv, other], enable_checkpointing=False, accelerator="cpu")
    callback = FinalFigures({"seed": 1}, lambda: {"final/impact/layer_01": 0.5})
    callback.on_fit_start(trainer, None)
    callback.on_fit_end(trainer, None)
    assert (csv.parameters, csv.metrics) == ([], [])
    assert other.parameters == [{"seed": 1}]
    assert other.metrics == [({"final/impact/layer_01": 0.5}, 0)]


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's and protobuf's own making
def test_tensorboard_events_are_read_back(make_config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(make_config("logger=tensorboard"))
    events = EventAccumulator(str(tmp_path / "test" / "tensorboard" / RUN)).Reload()
    for name, value in last_figures(run).items():
        (event,) = events.Scalars(name)
        assert (event.value, event.step) == (pytest.approx(value, abs=1e-6), 12)
    assert "train/loss" in events.Tags()["scalars"]
    assert (run.path / "logs" / "metrics.csv").is_file()


@needs("mlflow")
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # mlflow and its dependencies warn on import
def test_an_mlflow_folder_is_read_back(make_config, tmp_path):
    run = train(make_config("logger=mlflow"))
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"file:{tmp_path}/mlflow")
    experiment = client.get_experiment_by_name("test")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == (RUN, "FINISHED")
    assert found.data.metrics.items() >= {k: pytest.approx(v) for k, v in last_figures(run).items()}.items()
    assert found.data.params["optimizer/learning_rate"] == "0.001"
    (again,) = build_loggers({"mlflow": {"tracking_uri": f"file:{tmp_path}/mlflow"}}, "test", run.path)
    assert again.run_id == found.info.run_id  # a run that goes on is the same run
    assert (run.path / "logs" / "metrics.csv").is_file()


@needs("wandb")
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # wandb and its dependencies warn on import
def test_an_offline_wandb_run_is_read_back(make_config, tmp_path):
    import json

    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    run = train(make_config("logger=wandb", "logger.wandb.offline=true"))
    train(make_config("logger=wandb", "logger.wandb.offline=true", "seed=7"))
    folders = sorted((tmp_path / "test" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2  # one per run of the sweep, not one for both
    store, records = DataStore(), []
    store.open_for_scan(str(next(folders[0].glob("run-*.wandb"))))
    while data := store.scan_data():
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        records.append(record)
    store.close()
    (started,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (started.display_name, started.run_group, started.project) == (RUN, "test", "xling")
    logged = {}
    for record in records:
        for item in record.history.item:
            logged["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    assert logged.items() >= {k: pytest.approx(v) for k, v in last_figures(run).items()}.items()
    assert (run.path / "logs" / "metrics.csv").is_file()
