"""Helps Hydra's launchers: how many jobs run at once, which job has which GPU, and where to look for their output."""

import importlib.util
import itertools
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from xling.errors import UnreachableError

log = logging.getLogger(__name__)

_PLUGINS = {"joblib": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher", "ray": "hydra_ray_launcher"}
CORES_PER_JOB = 4  # without a GPU: fewer leave a job slow, more are hardly used by batches of short sentences

_claim: FileLock | None = None


def check_launcher(arguments: list[str]) -> None:
    """Refuse ``launcher=NAME`` where what it needs is not installed.

    Args:
        arguments: arguments of the command line.

    Raises:
        UnreachableError: the launcher's plugin is not installed, or this machine has no Slurm to submit to.
    """
    for argument in arguments:
        key, _, name = argument.partition("=")
        if key != "launcher" or name not in _PLUGINS:
            continue
        if not is_installed(_PLUGINS[name]):
            raise UnreachableError(
                f"launcher={name} needs the Hydra plugin {_PLUGINS[name]}, which is not installed; "
                f"pip install 'xling[{name}]'"
            )
        if name == "slurm" and shutil.which("sbatch") is None:
            raise UnreachableError(
                "launcher=slurm submits with sbatch, which this machine does not have; "
                "type the command on the cluster's login node"
            )


def is_installed(plugin: str) -> bool:
    """Whether a plugin of Hydra's, e.g. ``hydra_joblib_launcher``, can be imported."""
    try:
        return importlib.util.find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:  # no plugin of Hydra's at all
        return False


def local_jobs() -> int:
    """Choose how many jobs run side by side on this machine: one per GPU or, without GPUs, one per four cores but at least two.

    Returns:
        At least 1; without GPUs at most the number of cores.
    """
    n_gpus, n_cores = len(visible_gpus()), _n_cores()
    return n_gpus or min(n_cores, max(2, n_cores // CORES_PER_JOB))


def visible_gpus() -> list[str]:
    """List this process's GPUs, by names that CUDA_VISIBLE_DEVICES takes, without initialising CUDA."""
    import torch  # late: this module is imported for every command's help

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in named.split(",")] if named else None
    n_gpus = torch.cuda.device_count()
    return names[:n_gpus] if names else [str(index) for index in range(n_gpus)]


def claim_gpu(folder: Path, gpus: list[str]) -> str:
    """Reserve a GPU for this process, by locking the first free slot until the process ends.

    The operating system frees the slot of a process that dies. Slots are numbered without end and go round the GPUs, so that each
    process has a GPU of its own as long as there are enough, and further processes share them evenly.

    Args:
        folder: folder of the sweep's locks, on this machine.
        gpus: names of the GPUs to share.

    Returns:
        The name of the slot's GPU.
    """
    global _claim
    slots = itertools.count()
    while True:
        slot = next(slots)
        lock = FileLock(folder / f"slot-{slot}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        _claim = lock  # an OS lock: held as long as this process lives
        return gpus[slot % len(gpus)]


class GpuPerJob(Callback):
    """Hydra callback of ``launcher=joblib``: each worker process sees one GPU.

    Runs on: multirun start (in the process that was typed) and job start (in the workers).
    Writes: empty lock files into a folder of its own under the machine's temporary folder, gone after the sweep.
    """

    def __init__(self) -> None:
        self.gpus: list[str] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Find the GPUs; workers receive this callback, and with it the folder, as a copy."""
        self.gpus = visible_gpus()
        if self.gpus:
            self.folder = Path(tempfile.mkdtemp(prefix="xling-gpus-"))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Reserve a GPU at a worker's first job and keep it, since CUDA reads the variable only once."""
        if self.gpus and _claim is None:
            os.environ["CUDA_VISIBLE_DEVICES"] = claim_gpu(self.folder, self.gpus)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Remove the locks' folder."""
        if self.gpus:
            shutil.rmtree(self.folder)


class SlurmNotice(Callback):
    """Hydra callback of ``launcher=slurm``: says where to look while the command waits for its jobs.

    Runs on: multirun start.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Name the commands and the folder."""
        log.info(
            "submitting to Slurm and waiting for the jobs; squeue --me lists them, xling-status %s says how far they are, "
            "%s/.submitit/*/*.out holds what they print",
            config.hydra.sweep.dir, config.hydra.sweep.dir,
        )  # fmt: skip


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


OmegaConf.register_new_resolver("local_jobs", local_jobs, replace=True)
