"""Checks that a run will be validated at all, since a run without any validation would end without a single number."""

import math

from xling.errors import XlingValueError
from xling.settings import RunSettings, TrainerSettings


def check_validates(settings: RunSettings, n_train: int) -> None:
    """Refuse settings under which training ends before its first validation.

    Args:
        settings: settings of the run.
        n_train: number of training examples.

    Raises:
        XlingValueError: a batch size or limit is not positive, or no validation falls within the steps of the run.
    """
    for name in ("batch_size", "eval_batch_size"):
        if (size := getattr(settings.data, name)) < 1:
            raise XlingValueError(f"expected data.{name} of at least 1, got {size}")
    if settings.data.eval_tokens is not None and settings.data.eval_tokens < 1:
        raise XlingValueError(f"expected data.eval_tokens of at least 1, got {settings.data.eval_tokens}")
    trainer = settings.trainer
    for name in ("limit_val_batches", "limit_train_batches"):
        if trainer.named.get(name) == 0:
            raise XlingValueError(f"trainer.{name}=0 leaves this run nothing to record; raise it")
    per_epoch = math.ceil(n_train / settings.data.batch_size)
    n_steps, first = _steps(trainer, per_epoch), _first_validation(trainer, per_epoch)
    if n_steps < first:
        names = ("max_epochs", "max_steps", "check_val_every_n_epoch", "val_check_interval")
        given = ", ".join(f"{name}={getattr(trainer, name)}" for name in names)
        raise XlingValueError(
            f"this run has {n_steps:g} steps and would be validated first after {first:g} (trainer: {given}; {per_epoch} steps an "
            "epoch), so it would record nothing; train longer, or validate earlier"
        )


def check_validated(n_rows: int, step: int) -> None:
    """Refuse to complete a run that recorded nothing, because something ended it before its first validation.

    ``trainer.max_time`` can do so, for instance, which :func:`check_validates` cannot foresee.

    Args:
        n_rows: number of rows in the run's transfer table.
        step: optimiser steps completed, for the message.

    Raises:
        XlingValueError: `n_rows` is 0.
    """
    if not n_rows:
        raise XlingValueError(
            f"training ended at step {step} before any validation, so that this run has nothing to record; train longer, or "
            "validate earlier (trainer.val_check_interval)"
        )


def _steps(trainer: TrainerSettings, per_epoch: int) -> float:
    """Count the optimiser steps of the whole run; infinite where the settings name no end."""
    by_epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs * per_epoch
    by_steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
    return min(by_epochs, by_steps)


def _first_validation(trainer: TrainerSettings, per_epoch: int) -> float:
    """Count the optimiser steps until the first validation; at least 1."""
    interval, every = trainer.val_check_interval, trainer.check_val_every_n_epoch
    if isinstance(interval, float):
        within = max(1, math.floor(per_epoch * interval))
    else:
        within = per_epoch if interval is None else math.ceil(interval / trainer.accumulate_grad_batches)
    return max(1, within if every is None else (every - 1) * per_epoch + within)
