"""Refuses to compare rows that are not the same examples in the same order: before with after, source with target."""

from collections.abc import Sequence

from xling.errors import XlingValueError


def check_same_examples(ids_x: Sequence, ids_y: Sequence) -> None:
    """Refuse two lists of example ids that do not agree one by one.

    Args:
        ids_x: ids of the rows of x as plain values; for parallel data, the ids that translations share.
        ids_y: ids of the rows of y.

    Raises:
        XlingValueError: the numbers of rows, the ids or their order differ.
    """
    ids_x, ids_y = list(ids_x), list(ids_y)
    if len(ids_x) != len(ids_y):
        raise XlingValueError(f"x has {len(ids_x)} example ids and y has {len(ids_y)}; compare the same examples")
    for row, (of_x, of_y) in enumerate(zip(ids_x, ids_y, strict=True)):
        if of_x != of_y:
            raise XlingValueError(
                f"row {row} is example {of_x!r} in x and {of_y!r} in y; put the rows of both sides in the same order"
            )
