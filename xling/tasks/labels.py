"""A task's labels: given, or those of the training examples."""

from collections.abc import Collection, Iterable, Sequence

from xling.errors import XlingValueError, close_matches


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


def check_labels(values: Collection[str], labels: Sequence[str] | None, where: str, what: str = "label") -> None:
    """Refuse a label that the task does not have; None: whatever there is becomes the labels.

    Raises:
        XlingValueError: names one unknown label and what was expected.
    """
    unknown = sorted(set(values) - set(labels or values), key=str)
    if unknown:
        raise XlingValueError(
            f"{where}: unknown {what} {unknown[0]!r}; expected one of {', '.join(labels)}{close_matches(unknown[0], labels)}"
        )
