"""Who puts a job back into Slurm's queue when its time is up, and on which signal: exactly one.

Slurm warns a job by a signal before its time limit. Under ``launcher=slurm`` submitit has a handler for SIGUSR2 that stores the
submission again and requeues; under sbatch and srun the project itself requeues on SIGUSR1. Lightning's own requeueing is off in
both: it saves inside the signal handler, between any two instructions, where a checkpoint is not one to go on from. SIGTERM never
requeues: it comes with scancel, and with a preemption after which Slurm requeues the job itself.
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
        signals: the names of those that ask for it.
        act: does it; in a run of several processes all call it.
    """

    signals: tuple[str, ...] = ()
    act: Callable[[], None] = lambda: None

    def after(self, received: str | None) -> None:
        """Requeue if the signal that stopped the run asks for it; call this when a checkpoint is written."""
        if received in self.signals:
            self.act()


def find_requeue() -> Requeue:
    """Find out who requeues this process, and on which signal; on none where it is no job of Slurm's."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
        number = signal.Signals["SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")]
        handler = signal.getsignal(number)
        return Requeue((number.name,), lambda: handler(number, None)) if callable(handler) else Requeue()
    if is_slurm_job():
        return Requeue(("SIGUSR1",), requeue_job)
    return Requeue()


def is_slurm_job() -> bool:
    """Whether this process is a task of a Slurm job: not of an interactive shell's, and not torchrun's."""
    is_task = "SLURM_NTASKS" in os.environ and SLURMEnvironment.job_name() not in (None, "bash", "interactive")
    return is_task and not TorchElasticEnvironment.detect()


def slurm_plugins() -> list[SLURMEnvironment]:
    """Lightning's plugin for a process that Slurm runs, with its own requeueing off; elsewhere none."""
    return [SLURMEnvironment(auto_requeue=False)] if is_slurm_job() else []


def requeue_job() -> None:
    """Put this process's job back into Slurm's queue, which ends all its processes; only rank 0 does it.

    Raises:
        UnreachableError: Slurm refuses.
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
    """The id that scontrol takes.

    >>> job_id({"SLURM_JOB_ID": "12"})
    '12'
    >>> job_id({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"})
    '12_1'
    """
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment["SLURM_JOB_ID"]
