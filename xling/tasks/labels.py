"""A task's labels: given, or those of the training examples; what counts as one, whichever file, hub or setting it is from."""

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
    """A label as text: without white space around it, a whole number without ``.0``, ``""`` where there is none.

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
    """The labels of ``data.task.labels`` as texts; None: those of the training examples.

    Raises:
        XlingValueError: no list, fewer than two, an empty one, or one that comes twice.
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
    """A task's labels, which number the classes.

    Raises:
        XlingValueError: they are not known yet.
    """
    if labels is None:
        raise XlingValueError(
            "the labels of this task are not known yet; give labels=[...], or take task.fitted(training examples)"
        )
    return tuple(labels)


def is_missing(label: str, labels: Sequence[str] | None) -> bool:
    """Whether a label, as of :func:`label_text`, stands for none."""
    return label in MISSING and label not in (labels or ())


def labels_of(values: Iterable[str], where: str) -> tuple[str, ...]:
    """The different `values`, sorted.

    Raises:
        XlingValueError: fewer than two: there is nothing to tell apart.
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
        of_rows: the labels of each, as of :func:`label_text`.
        labels: those of the task; None: whatever there is becomes the labels.
        where: what to call the set.
        what: what to call a label.

    Raises:
        XlingValueError: says how many have none, or names one unknown label, its row and what was expected.
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
