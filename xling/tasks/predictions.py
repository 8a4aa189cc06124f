"""Keeps the predictions of a model, example by example: columns for every task's validation, and the table made of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from xling.machine.distributed import gather_objects, is_distributed

Columns = dict[str, Any]
"""Column -> tensor ``[n]`` (``[n, classes]`` for probabilities) or list of n values: example_id, group_id, gold, predicted and
more."""

UNDEFINED = -1
"""Class of an example whose logits are not all finite: it has no prediction, and scores over it are NaN."""


def classes_of(logits: Tensor) -> Tensor:
    """Choose the class with the largest logit.

    Args:
        logits: float ``[n, classes]``.

    Returns:
        Classes, int64 ``[n]``; :data:`UNDEFINED` where one of the logits is not finite.
    """
    return logits.argmax(dim=-1).masked_fill(~logits.isfinite().all(dim=-1), UNDEFINED)


def gather_columns(parts: Iterable[Columns]) -> Columns:
    """Join the columns of batches, those of all processes; every process must call this."""
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
    """Make a table of predictions with one row per example, sorted by id.

    Args:
        columns: columns from :func:`gather_columns`.
        labels: names of the classes, where gold and predicted are numbers of classes; None: they are texts.

    Returns:
        Columns example_id, group_id, gold, predicted, and what else the task keeps; probabilities become float32 columns
        ``p_<label>``.
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
