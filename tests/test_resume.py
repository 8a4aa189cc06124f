"""A run that is interrupted anywhere ends as if nothing had happened: weights, tables and logs, bit for bit."""

import pytest
import pytorch_lightning as pl
import torch

from xling.commands.train import train
from xling.runs.directory import RunDirectory

SETTINGS = {
    "whole epochs": [],
    "validation every 4 steps": ["trainer.val_check_interval=4", "trainer.check_val_every_n_epoch=null"],
    "validation at every step": ["trainer.val_check_interval=1"],
    "validation every other epoch": ["trainer.check_val_every_n_epoch=2"],
    "accumulated gradients": ["trainer.accumulate_grad_batches=4"],
    "limited steps": ["trainer.max_steps=9"],
    "loader processes": ["data.num_workers=1"],
    "bfloat16": ["trainer.precision=bf16-mixed"],
    "two poolings": ["probe.further_poolings=[cls]"],
}


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class KillAt(pl.Callback):
    """Ends the process's work the `n`-th time that a hook is called."""

    def __init__(self, hook: str, n: int) -> None:
        self.left = n
        setattr(self, hook, self._count)

    def _count(self, trainer, *arguments, **keywords):
        if not trainer.sanity_checking:
            self.left -= 1
            if self.left == 0:
                raise Killed


@pytest.fixture
def train_with(monkeypatch):
    """Train; with `kill` given, be interrupted there."""

    def run(config, kill: KillAt | None = None) -> RunDirectory:
        if kill is None:
            return train(config)
        with monkeypatch.context() as patch:
            import xling.commands.train

            build = xling.commands.train.build_trainer
            patch.setattr(
                xling.commands.train,
                "build_trainer",
                lambda c, callbacks, *a, **k: build(c, [kill, *callbacks], *a, **k),
            )
            with pytest.raises(Killed):
                train(config)
        return RunDirectory.of(config.output_dir, "test", "en", "none", 42)

    return run


def outcome(run: RunDirectory) -> dict[str, bytes]:
    """Everything a run computed, as bytes: tables, logged metrics, weights."""
    weights = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    files = {path.name: path.read_bytes() for path in [*run.path.glob("*.parquet"), run.path / "logs" / "metrics.csv"]}
    return files | {name: value.numpy().tobytes() for name, value in weights.items()}


@pytest.fixture(scope="module")
def undisturbed():
    """Outcomes of runs without a kill, by settings."""
    return {}


KILLS = {
    "training": [("on_train_batch_end", 3), ("on_train_batch_end", 5)],
    "validation": [("on_validation_batch_end", 5)],
    "next epoch": [("on_train_batch_start", 9)],
    "end": [("on_train_end", 1)],
}
BY_DEFAULT = [
    ("bfloat16", "training"),
    ("whole epochs", "training"),
    ("validation every 4 steps", "validation"),
]


def cases():
    """All combinations; but for a few they are slow."""
    for settings in SETTINGS:
        for kills in KILLS:
            marks = [] if (settings, kills) in BY_DEFAULT else [pytest.mark.slow]
            yield pytest.param(settings, kills, marks=marks, id=f"{settings}, killed in {kills}")


@pytest.mark.parametrize(("settings", "kills"), list(cases()))
def test_an_interrupted_run_ends_as_an_undisturbed_one(make_config, tmp_path, train_with, undisturbed, settings, kills):
    common = [*SETTINGS[settings], "checkpoint.every_n_steps=1", "trainer.log_every_n_steps=2", "data.batch_size=12"]
    if settings not in undisturbed:
        undisturbed[settings] = outcome(train(make_config(*common, f"output_dir={tmp_path}/undisturbed")))
    config = make_config(*common, f"output_dir={tmp_path}/interrupted")
    for hook, n in KILLS[kills]:
        run = train_with(config, KillAt(hook, n))
        assert not run.is_complete
    found = outcome(train(config))
    assert [name for name in found if found[name] != undisturbed[settings].get(name)] == []
    assert found.keys() == undisturbed[settings].keys()
