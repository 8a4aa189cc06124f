"""The parts of resuming, one by one: position in the data, random state, logged metrics, signals, failures."""

import errno
import os
import signal
import time

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from strangers import fit

from xling.callbacks import ProgressFile, RunCheckpoint, StopOnDivergence, StopOnSignal
from xling.callbacks.stop_on_signal import EXIT_PREEMPTED, Preempted
from xling.commands.train import train
from xling.data.batching import LengthBucketBatches
from xling.errors import CorruptArtefactError, DivergedError, OutOfMemoryError, UnreachableError, XlingValueError
from xling.machine.randomness import get_random_state, set_random_state
from xling.machine.resources import explaining_resources
from xling.runs.directory import RunDirectory
from xling.runs.state import read_failure, read_progress, recording_failure
from xling.training.metrics_file import MetricsFile


def test_the_sampler_goes_on_within_an_epoch_and_is_whole_in_the_next():
    whole, resumed = (LengthBucketBatches(range(40), 4, shuffle=True, seed=3) for _ in range(2))
    whole.set_epoch(2)
    resumed.go_on(epoch=2, n_done=7)
    assert list(resumed) == list(whole)[7:]
    assert len(resumed) == 10
    for sampler in (whole, resumed):
        sampler.set_epoch(3)
    assert list(resumed) == list(whole)


def test_the_sampler_is_whole_in_the_next_epoch_after_one_that_was_done():
    sampler = LengthBucketBatches(range(40), 4, shuffle=True, seed=3)
    sampler.go_on(epoch=2, n_done=10)
    sampler.set_epoch(2)
    sampler.set_epoch(3)
    assert len(list(sampler)) == 10


def test_random_states_of_python_numpy_and_torch_come_back_through_a_file(tmp_path):
    import random

    torch.save(get_random_state(), tmp_path / "state.pt")
    drawn = random.random(), np.random.rand(), torch.rand(1)
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert drawn == (random.random(), np.random.rand(), torch.rand(1))


def test_logged_metrics_go_on_after_the_rows_of_the_checkpoint(tmp_path):
    first = MetricsFile(tmp_path)
    first.log_metrics({"train/loss": torch.tensor(0.5)}, step=0)
    state = first.state_dict()
    first.log_metrics({"train/loss": 0.4}, step=1)
    first.save()
    second = MetricsFile(tmp_path)
    second.load_state_dict(state)
    second.log_metrics({"val/accuracy/de": 0.25}, step=1)
    second.finalize("success")
    assert second.path.read_text().splitlines() == ["step,train/loss,val/accuracy/de", "0,0.5,", "1,,0.25"]


@pytest.mark.parametrize("change", [lambda text: "", lambda text: text.replace("0.5", "0.7")])
def test_metrics_that_a_checkpoint_counts_on_must_be_there(tmp_path, change):
    metrics = MetricsFile(tmp_path)
    metrics.log_metrics({"train/loss": 0.5}, step=0)
    metrics.save()
    metrics.path.write_text(change(metrics.path.read_text()))
    with pytest.raises(CorruptArtefactError, match="not the 1 that were there when the checkpoint was written; delete"):
        MetricsFile(tmp_path).load_state_dict(metrics.state_dict())


class SignalAt(pl.Callback):
    """Sends this process a signal in the `n`-th call of a hook."""

    def __init__(self, hook, n, number=signal.SIGTERM):
        self.left, self.number = n, number
        setattr(self, hook, self._count)

    def _count(self, trainer, *arguments, **keywords):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def test_a_signal_in_training_stops_after_whole_steps_with_a_checkpoint(tmp_path):
    stop, checkpoint = StopOnSignal(), RunCheckpoint()
    with stop.listening(), pytest.raises(Preempted) as caught:
        fit("mlp", tmp_path, [stop, SignalAt("on_train_batch_end", 1), checkpoint], accumulate_grad_batches=2)
    assert caught.value.code == EXIT_PREEMPTED == 75
    assert (
        caught.value.message == "stopped by SIGTERM at step 1, checkpoint written; the same command goes on from there"
    )
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_in_a_validation_stops_at_its_next_batch(tmp_path):
    stop = StopOnSignal(["SIGUSR1"])
    killer = SignalAt("on_validation_batch_end", 1, signal.SIGUSR1)
    with stop.listening(), pytest.raises(Preempted, match="75") as caught:
        fit("mlp", tmp_path, [stop, killer, RunCheckpoint()])
    assert "stopped by SIGUSR1 within a validation" in caught.value.message


def test_validation_at_every_step_can_be_stopped_too(tmp_path):
    stop = StopOnSignal()
    with stop.listening(), pytest.raises(Preempted):
        fit("mlp", tmp_path, [stop, SignalAt("on_train_batch_end", 2), RunCheckpoint()], val_check_interval=1)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


def test_a_preempted_run_goes_on_and_is_no_failure(make_config, monkeypatch, tmp_path):
    import xling.commands.train

    build = xling.commands.train.build_trainer
    undisturbed = train(make_config(f"output_dir={tmp_path}/undisturbed", "trainer.max_epochs=1"))
    config = make_config("trainer.max_epochs=1")
    with monkeypatch.context() as patch:
        killer = SignalAt("on_train_batch_end", 3)
        patch.setattr(
            xling.commands.train, "build_trainer", lambda c, callbacks, *a, **k: build(c, [killer, *callbacks], *a, **k)
        )
        with pytest.raises(Preempted):
            train(config)
    interrupted = RunDirectory.of(config.output_dir, "test", "en", "none", 42)
    assert read_progress(interrupted.path).total_steps == 6
    assert read_failure(interrupted.path) is None
    run = train(config)
    assert (run.path / "impact.parquet").read_bytes() == (undisturbed.path / "impact.parquet").read_bytes()
    assert read_progress(run.path) is None


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTREM"])
def test_signals_that_do_not_exist_or_cannot_be_caught_are_named(name):
    with pytest.raises(XlingValueError, match=f"unknown signal that can be caught '{name}'"):
        StopOnSignal([name])


def test_intervals_must_be_positive():
    with pytest.raises(XlingValueError, match="positive interval, found every_seconds=0"):
        RunCheckpoint(every_seconds=0)


def test_a_checkpoint_by_no_interval_is_the_last_one_alone(make_config):
    run = train(make_config("checkpoint.every_seconds=null", "trainer.max_epochs=1"))
    assert run.checkpoint.is_file()


def test_a_loss_that_is_no_number_fails_the_run_with_one_sentence(make_config):
    config = make_config("optimizer.learning_rate=1e30", "checkpoint.every_n_steps=1")
    with pytest.raises(
        DivergedError, match=r"finite training loss, found nan by step \d+ of 12; lower the learning rate"
    ):
        train(config)
    run = RunDirectory.of(config.output_dir, "test", "en", "none", 42)
    assert not run.is_complete
    assert read_failure(run.path).reason.startswith("expected a finite training loss, found nan")
    assert "Traceback" in (run.path / "run.log").read_text()
    saved = torch.load(run.checkpoint, weights_only=True)["state_dict"] if run.checkpoint.is_file() else {}
    assert all(torch.isfinite(value).all() for value in saved.values())


def test_a_failure_is_recorded_and_forgotten_when_the_run_starts_again(tmp_path):
    with pytest.raises(KeyError), recording_failure(tmp_path, "run.log"):
        raise KeyError("broken on purpose")
    assert read_failure(tmp_path).reason == "KeyError: 'broken on purpose'"
    assert "Traceback" in (tmp_path / "run.log").read_text()
    with recording_failure(tmp_path, "run.log"):
        assert read_failure(tmp_path) is None


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (MemoryError(), OutOfMemoryError, "memory of this machine does not suffice; halve data.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError, "memory of this GPU does not suffice"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemoryError, "does not suffice"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), UnreachableError, "cannot write a/b: No space left"),
        (OSError(errno.EROFS, "Read-only file system"), UnreachableError, "cannot write a file of this run: Read-only"),
    ],
)
def test_a_machine_that_runs_out_says_so_in_one_sentence(error, expected, message):
    with pytest.raises(expected, match=message), explaining_resources():
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shape"), explaining_resources():
        raise RuntimeError("shape mismatch")


def test_progress_is_written_at_most_every_few_seconds(tmp_path):
    fit("mlp", tmp_path, [ProgressFile(every_seconds=1000)])
    assert read_progress(tmp_path).step == 0  # written when training began, and not again
    fit("mlp", tmp_path, [ProgressFile(every_seconds=1e-6)])
    progress = read_progress(tmp_path)
    assert (progress.step, progress.total_steps, progress.epoch) == (10, 10, 2.0)


def test_a_checkpoint_is_written_when_time_is_up_whatever_the_wall_clock_says(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    checkpoint = RunCheckpoint(every_seconds=1e-9)
    saved = []
    monkeypatch.setattr(RunCheckpoint, "save", lambda self, trainer: saved.append(trainer.global_step))
    fit("mlp", tmp_path, [checkpoint])
    assert saved[:4] == [1, 2, 3, 4]


def test_an_infinite_loss_is_found_before_a_checkpoint_is_written(tmp_path):
    class Infinite(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            outputs["loss"].data.fill_(float("inf"))

    with pytest.raises(DivergedError, match="found inf by step 1 of 10"):
        fit("mlp", tmp_path, [Infinite(), StopOnDivergence(), RunCheckpoint(every_n_steps=1)])
    assert not (tmp_path / "last.ckpt").exists()
