"""Reads the labels of a task, which are given or learnt from the training examples, as texts.

Files, hubs and settings write the same label in different ways (``1``, ``1.0``, ``"1 "``); here they all become one text.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from xling.data.examples import refuse_unlabelled, row_name
from xling.errors import XlingValueError, close_matches

MISSING = ("", "-1", "nan", "NaN")
"""Texts that stand for no label, unless the task's labels name them: an empty field, the hub's -1, pandas' NaN."""


def label_text(value: Any) -> str:
    """Write a label as text, without white space around it; a whole number has no ``.0``, and a missing label is ``""``.

    >>> [label_text(value) for value in ("0 ", 1, 2.0, True, None, float("nan"))]
    ['0', '1', '2', 'True', '', '']
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return "" if math.isnan(number) else str(int(number)) if number.is_integer() else str(number)
    return str(value).strip()


def given_labels(labels: Any) -> tuple[str, ...] | None:
    """Check the setting ``data.task.labels`` and write its labels as texts.

    Returns:
        The labels in their order; None where the labels are to be those of the training examples.

    Raises:
        XlingValueError: `labels` is no list, has fewer than two labels, or one that is empty or occurs twice.
    """
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise XlingValueError(f"expected data.task.labels to be a list or null, found {labels!r}")
    texts = tuple(label_text(label) for label in labels)
    if len(texts) < 2 or len(set(texts)) < len(texts) or "" in texts:
        raise XlingValueError(
            f"expected data.task.labels to be two or more labels, none of them empty or twice, found {list(labels)}; correct it, "
            "or set null to take those of the training examples"
        )
    return texts


def fitted_labels(labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return a task's labels, whose positions are the numbers of the classes.

    Raises:
        XlingValueError: `labels` is None, since the task has not seen its training examples yet.
    """
    if labels is None:
        raise XlingValueError(
            "the labels of this task are not known yet; give labels=[...], or take task.fitted(training examples)"
        )
    return tuple(labels)


def is_missing(label: str, labels: Sequence[str] | None) -> bool:
    """Whether a label, written by :func:`label_text`, means that there is none."""
    return label in MISSING and label not in (labels or ())


def labels_of(values: Iterable[str], where: str) -> tuple[str, ...]:
    """List the different `values`, sorted.

    Args:
        values: labels of examples, written by :func:`label_text`.
        where: name of the set of examples, for the message.

    Raises:
        XlingValueError: there are fewer than two different labels, so that there is nothing to classify.
    """
    labels = tuple(sorted(set(values)))
    if len(labels) < 2:
        raise XlingValueError(
            f"{where}: expected at least two labels, found {', '.join(labels) or 'none'}; check the file"
        )
    return labels


def check_labels(
    frame: pd.DataFrame, of_rows: Sequence[Sequence[str]], labels: Sequence[str] | None, where: str, what: str = "label"
) -> None:
    """Refuse examples without a label, and a label that the task does not have.

    Args:
        frame: examples.
        of_rows: the labels of each example, written by :func:`label_text`.
        labels: the labels of the task; None: any label is accepted, since the task learns its labels from these examples.
        where: name of the set of examples, for the message.
        what: word for a label in the message, e.g. ``tag``.

    Raises:
        XlingValueError: an example has no label, or one that the task does not have.
    """
    is_bare = np.array([any(is_missing(label, labels) for label in row) for row in of_rows], dtype=bool)
    remedy = ""
    if is_bare.any():
        shown = next(label for label in of_rows[int(is_bare.argmax())] if is_missing(label, labels))
        remedy = f", or, if {shown!r} is a {what}, name all in data.task.labels" if shown else ""
    refuse_unlabelled(frame, is_bare, where, f"a {what}", remedy)
    if labels is None:
        return
    known = set(labels)
    for position, row in enumerate(of_rows):
        for label in row:
            if label not in known:
                raise XlingValueError(
                    f"{where}: unknown {what} {label!r} in {row_name(frame, position)}; expected one of "
                    f"{', '.join(labels)}{close_matches(label, labels)}"
                )
