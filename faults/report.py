"""Makes the table of the faults that were injected, and what they changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: words that say what was done.
        times: how often it was done.
        differences: differences of the outcome from an undisturbed sweep's, and missing messages; empty if all is well.
        note: further words worth knowing.
    """

    name: str
    times: int
    differences: list[str] = field(default_factory=list)
    note: str = ""


def format_table(faults: Sequence[Fault]) -> str:
    """Make a Markdown table of faults, followed by every difference.

    >>> print(format_table([Fault("kill -9", 3)]))
    | fault | times | differences | note |
    |---|---|---|---|
    | kill -9 | 3 | 0 |  |
    """
    rows = [f"| {fault.name} | {fault.times} | {len(fault.differences)} | {fault.note} |" for fault in faults]
    details = [f"- {fault.name}: {difference}" for fault in faults for difference in fault.differences]
    return "\n".join(["| fault | times | differences | note |", "|---|---|---|---|", *rows, *details])
