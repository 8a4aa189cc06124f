"""What a model answered, example by example: columns that every task's validation keeps, and one frame of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from xling.machine.distributed import gather_objects, is_distributed

Columns = dict[str, Any]
"""Tensors ``[n]`` (``[n, classes]`` for probabilities) or lists of n: example_id, group_id, gold, predicted and more."""

UNDEFINED = -1
"""Class of an example whose logits are not all finite: it has no prediction, and the scores over it no value."""


def classes_of(logits: Tensor) -> Tensor:
    """The class with the largest of ``[n, classes]`` logits, ``[n]`` int64; :data:`UNDEFINED` where one is not finite."""
    return logits.argmax(dim=-1).masked_fill(~logits.isfinite().all(dim=-1), UNDEFINED)


def gather_columns(parts: Iterable[Columns]) -> Columns:
    """Batches one after another, of all processes; every process must call it."""
    own = _joined([{name: _on_cpu(value) for name, value in part.items()} for part in parts])
    return _joined([shard for shard in gather_objects(own) if shard]) if is_distributed() else own


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _joined(parts: Sequence[Columns]) -> Columns:
    if not parts:
        return {}
    return {
        name: np.concatenate([part[name] for part in parts])
        if isinstance(parts[0][name], np.ndarray)
        else [value for part in parts for value in part[name]]
        for name in parts[0]
    }


def prediction_frame(columns: Columns, labels: Sequence[str] | None) -> pd.DataFrame:
    """One row per example, sorted by id: example_id, group_id, gold, predicted, then what else the task keeps.

    Args:
        columns: of :func:`gather_columns`.
        labels: names of the classes that gold and predicted number, and whose probabilities are columns ``p_<label>``,
            float32; None: they are texts.
    """
    columns = dict(columns)
    probabilities = columns.pop("probabilities", None)
    if labels is not None:
        for name in ("gold", "predicted"):
            columns[name] = pd.Categorical.from_codes(columns[name], categories=list(labels))
    if labels is not None and probabilities is not None:
        columns |= {f"p_{label}": probabilities[:, index] for index, label in enumerate(labels)}
    frame = pd.DataFrame(columns)
    return frame.sort_values("example_id", ignore_index=True, kind="stable")
