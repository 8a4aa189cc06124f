"""Reads and sets the random states of a run, as plain values that a checkpoint can hold and ``weights_only`` can load."""

import random
from typing import Any

import numpy as np
import torch


def get_random_state(device: torch.device | None = None) -> dict[str, Any]:
    """Read the random states of Python, NumPy and torch, and of `device` where that is a CUDA device.

    >>> state = get_random_state()
    >>> drawn = torch.rand(3)
    >>> set_random_state(state)
    >>> torch.equal(drawn, torch.rand(3))
    True
    """
    numpy_state = np.random.get_state(legacy=False)
    state = {
        "python": random.getstate(),
        "numpy": numpy_state | {"state": numpy_state["state"] | {"key": numpy_state["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
    }
    if device is not None and device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device | None = None) -> None:
    """Set the random states that :func:`get_random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    key = np.asarray(state["numpy"]["state"]["key"], dtype=np.uint32)
    np.random.set_state(state["numpy"] | {"state": state["numpy"]["state"] | {"key": key}})
    torch.set_rng_state(state["torch"].cpu())
    if device is not None and device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
