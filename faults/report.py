"""The table of what was injected and what it changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: what was done.
        times: how often.
        differences: between what came out and an undisturbed sweep, or a message that was missing; empty is well.
        note: what else is worth knowing.
    """

    name: str
    times: int
    differences: list[str] = field(default_factory=list)
    note: str = ""


def format_table(faults: Sequence[Fault]) -> str:
    """A Markdown table, then every difference.

    >>> print(format_table([Fault("kill -9", 3)]))
    | fault | times | differences | note |
    |---|---|---|---|
    | kill -9 | 3 | 0 |  |
    """
    rows = [f"| {fault.name} | {fault.times} | {len(fault.differences)} | {fault.note} |" for fault in faults]
    details = [f"- {fault.name}: {difference}" for fault in faults for difference in fault.differences]
    return "\n".join(["| fault | times | differences | note |", "|---|---|---|---|", *rows, *details])
