"""Frames as LaTeX tables: what ``DataFrame.to_latex`` writes, byte for byte, without an object for every cell."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

LONG_TABLE = 40
"""Tables with more rows than this become a ``longtable`` that breaks over pages."""

MISSING = "--"
_ENDS = {False: "\\bottomrule\n\\end{tabular}", True: "\\end{longtable}"}
_MARK = "\0"  # stands for a backslash until all that becomes one is replaced; no text of a table holds it
_ESCAPES = (
    ("\\", _MARK), (f"{_MARK} ", f"{_MARK}\\space "), ("&", "\\&"), ("%", "\\%"), ("$", "\\$"), ("#", "\\#"), ("_", "\\_"),
    ("{", "\\{"), ("}", "\\}"), ("~ ", "~\\space "), ("~", "\\textasciitilde "), ("^ ", "^\\space "),
    ("^", "\\textasciicircum "), (_MARK, "\\textbackslash "),
)  # fmt: skip


def latex_table(table: pd.DataFrame) -> str:
    r"""Set a frame as a booktabs table; special characters are escaped, missing values become ``--``.

    >>> print(latex_table(pd.DataFrame({"pearson_r": [0.12345, None]})))
    \begin{tabular}{r}
    \toprule
    pearson\_r \\
    \midrule
    0.123 \\
    -- \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    is_long = len(table) > LONG_TABLE
    empty = table.head(0).to_latex(index=False, escape=True, na_rep=MISSING, float_format="%.3f", longtable=is_long)
    whole = empty.replace(
        "\\multicolumn{0}", f"\\multicolumn{{{table.shape[1]}}}", 1
    )  # pandas counts them in the first row
    head, end, rest = whole.rpartition(_ENDS[is_long])
    columns = [_texts(table.iloc[:, index]) for index in range(table.shape[1])]
    return head + "".join(" & ".join(row) + " \\\\\n" for row in zip(*columns, strict=True)) + end + rest


def _texts(column: pd.Series) -> Iterable[str]:
    """The cells of a column; what a column of numbers cannot hold is not asked of each of its cells."""
    kind = getattr(column.dtype, "kind", "O") if not pd.api.types.is_extension_array_dtype(column.dtype) else "O"
    if kind == "f":
        return [MISSING if value != value else f"{value:.3f}" for value in column.tolist()]
    if kind in "iub":
        return map(str, column.tolist())
    known: dict[str, str] = {}  # names of languages and layers come again and again
    return [
        _text(value) if not isinstance(value, str) else known.get(value) or known.setdefault(value, escape(value))
        for value in column
    ]


def _text(value: Any) -> str:
    if pd.isna(value) is True or value is pd.NaT:
        return MISSING
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def escape(text: str) -> str:
    r"""Replace the characters that LaTeX acts on.

    >>> escape("cka_debiased, 5 %")
    'cka\\_debiased, 5 \\%'
    """
    for character, escaped in _ESCAPES:
        text = text.replace(character, escaped)
    return text
