"""Puts a job back into Slurm's queue when its time is up, exactly once, though several programs could do it.

Slurm warns a job by a signal before its time limit. Under ``launcher=slurm``, submitit has a handler for SIGUSR2 that stores the
submission again and requeues the job. Under sbatch and srun, xling itself requeues it on SIGUSR1. Lightning's own requeueing is off
in both cases, because it saves inside the signal handler, between any two instructions, where a checkpoint cannot be resumed
exactly. SIGTERM never requeues: it comes with scancel, and with a preemption after which Slurm requeues the job itself.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from xling.errors import UnreachableError


@dataclass(frozen=True)
class Requeue:
    """How this process is put back into the queue.

    Attributes:
        signals: names of the signals on which it is put back.
        act: function that puts it back; in a run of several processes all call it.
    """

    signals: tuple[str, ...] = ()
    act: Callable[[], None] = lambda: None

    def after(self, received: str | None) -> None:
        """Requeue if the signal that stopped the run asks for it; call this when a checkpoint is written."""
        if received in self.signals:
            self.act()


def find_requeue() -> Requeue:
    """Find out how this process is requeued, and on which signal; on no signal where it is no job of Slurm's."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
        number = signal.Signals["SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")]
        handler = signal.getsignal(number)
        return Requeue((number.name,), lambda: handler(number, None)) if callable(handler) else Requeue()
    if is_slurm_job():
        return Requeue(("SIGUSR1",), requeue_job)
    return Requeue()


def is_slurm_job() -> bool:
    """Whether this process is a task of a Slurm job, and not of an interactive shell or of torchrun."""
    is_task = "SLURM_NTASKS" in os.environ and SLURMEnvironment.job_name() not in (None, "bash", "interactive")
    return is_task and not TorchElasticEnvironment.detect()


def slurm_plugins() -> list[SLURMEnvironment]:
    """Make Lightning's plugin for a process that Slurm runs, with Lightning's requeueing off; elsewhere no plugin."""
    return [SLURMEnvironment(auto_requeue=False)] if is_slurm_job() else []


def requeue_job() -> None:
    """Put this process's job back into Slurm's queue, which ends all its processes; only rank 0 does it.

    Raises:
        UnreachableError: Slurm refuses to requeue the job.
    """
    if os.environ.get("SLURM_PROCID", "0") != "0":
        return
    job = job_id(os.environ)
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip() or f"scontrol ended with status {done.returncode}"
        raise UnreachableError(
            f"Slurm does not put job {job} back into the queue ({reason}); its checkpoint is written: submit it again, "
            "with #SBATCH --requeue"
        )


def job_id(environment: Mapping[str, str]) -> str:
    """Give the job's id in the form that scontrol takes.

    >>> job_id({"SLURM_JOB_ID": "12"})
    '12'
    >>> job_id({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"})
    '12_1'
    """
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment["SLURM_JOB_ID"]
