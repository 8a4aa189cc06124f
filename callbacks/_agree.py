"""Lets all processes take the same decision, since one that stops or writes alone would leave the others waiting."""

import pytorch_lightning as pl

from xling.machine.distributed import is_distributed


def agree(trainer: pl.Trainer, decision: bool, check_every: int = 1) -> bool:
    """Ask whether any process has decided to act; every process gets the same answer.

    Clocks and signals differ between processes, but a checkpoint has to be written by all of them or by none.

    Args:
        trainer: trainer in a fit.
        decision: whether this process would act.
        check_every: processes ask each other only at multiples of this many optimiser steps, because each time costs a
            synchronisation; in between the answer is no. A single process always gets its own decision.

    Returns:
        Whether to act.
    """
    if not is_distributed():
        return decision
    if trainer.global_step % check_every:
        return False
    return bool(trainer.strategy.reduce_boolean_decision(decision, all=False))
