"""One decision for all processes."""

import pytorch_lightning as pl

from xling.machine.distributed import is_distributed


def agree(trainer: pl.Trainer, decision: bool, check_every: int = 1) -> bool:
    """Whether any process decided so; every process gets the same answer.

    Clocks and signals differ between processes, and a checkpoint is written by all or by none.

    Args:
        trainer: in a fit.
        decision: of this process.
        check_every: several processes ask each other only at multiples of this many optimiser steps; in between: no.
    """
    if not is_distributed():
        return decision
    if trainer.global_step % check_every:
        return False
    return bool(trainer.strategy.reduce_boolean_decision(decision, all=False))
