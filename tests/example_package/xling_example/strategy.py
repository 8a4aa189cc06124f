"""A freezing strategy: every other block, from the first or the second on."""

from xling.freezing import Strategy


def every_other(n_layers: int, start: int = 1) -> list[int]:
    """Blocks start, start + 2, ...

    >>> every_other(6), every_other(6, start=2)
    ([1, 3, 5], [2, 4, 6])
    """
    return list(range(start, n_layers + 1, 2))


EVERY_OTHER = Strategy(every_other, lambda start: f"every_other_from_{start}")
