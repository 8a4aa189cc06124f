"""Writes the page's tables as LaTeX for a paper: one file per table, with names and digits as on the page, caption and label."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from xling.report.section import Section, Sheet
from xling.report.words.cells import column_classes, heading, table_rows
from xling.storage.atomic import write_text

LONG_TABLE = 40
"""Tables with more rows than this break over pages."""
WIDE_TABLE = 76
"""Number of letters that fit on a line, where a gap between columns counts as three; wider tables are scaled."""
PREAMBLE = r"% \usepackage{booktabs,longtable,graphicx}"

_LETTERS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": r"\textbar{}",
    "−": "$-$", "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", "\xa0": "~",
    "ρ": r"$\rho$", "²": "$^2$", "×": r"$\times$", "≠": r"$\neq$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$",
    "±": r"$\pm$", "Δ": r"$\Delta$", "β": r"$\beta$", "τ": r"$\tau$", "é": r"\'e", "ü": r'\"u', "ö": r'\"o', "ä": r'\"a',
}  # fmt: skip
"""Letters that have a meaning in LaTeX, or that pdfLaTeX cannot print with the common fonts -> how they are written."""


def latex(text: str) -> str:
    r"""Write plain text as LaTeX.

    >>> print(latex("p_qap ≤ .05 & 50 %"))
    p\_qap $\leq$ .05 \& 50 \%
    """
    return "".join(_LETTERS.get(letter, letter) for letter in text)


def latex_table(sheet: Sheet, label: str) -> str:
    r"""Set a table of the page with booktabs.

    Args:
        sheet: frame and caption.
        label: label of the table, without ``tab:`` before it.

    Returns:
        A ``table``, scaled where it is wider than the text. More than 40 rows become a ``longtable`` or, where it has to be scaled,
        several tables. It needs the packages booktabs, longtable and graphicx.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"source_language": ["en", "de"], "p_max_t": [0.0002, None]})
    >>> print(latex_table(Sheet("t", frame, "Two tests."), "t"))
    % \usepackage{booktabs,longtable,graphicx}
    \begin{table}
    \centering
    \caption{Two tests.}
    \label{tab:t}
    \small
    \begin{tabular}{lr}
    \toprule
    source & p family-wise \\
    \midrule
    en & $<$ .001 \\
    de & -- \\
    \bottomrule
    \end{tabular}
    \end{table}
    <BLANKLINE>
    """
    texts = [[cell.text for cell in row] for row in table_rows(sheet.frame)]
    headings = [heading(column) for column in sheet.frame]
    columns = "".join("r" if kind == "number" else "l" for kind in column_classes(sheet.frame))
    width = sum(3 + max(map(len, column)) for column in zip(headings, *texts, strict=True))
    table = _Table(columns, _row(headings), [_row(row) for row in texts], latex(sheet.caption), f"tab:{label}")
    if width > WIDE_TABLE:
        lines = _scaled(table)
    else:
        lines = _long(table) if len(texts) > LONG_TABLE else _floating(table, _tabular(table, table.body))
    return "\n".join([PREAMBLE, *lines, ""])


class _Table(NamedTuple):
    """Pieces of LaTeX."""

    columns: str
    head: str
    body: list[str]
    caption: str
    label: str


def _row(texts: Iterable[str]) -> str:
    return " & ".join(map(latex, texts)) + r" \\"


def _tabular(table: _Table, body: Sequence[str]) -> list[str]:
    rows = [r"\toprule", table.head, r"\midrule", *body, r"\bottomrule"]
    return [rf"\begin{{tabular}}{{{table.columns}}}", *rows, r"\end{tabular}"]


def _floating(table: _Table, lines: Sequence[str], part: str = "") -> list[str]:
    name = [rf"\caption{{{table.caption}{part}}}", *([] if part else [rf"\label{{{table.label}}}"])]
    return [r"\begin{table}", r"\centering", *name, r"\small", *lines, r"\end{table}"]


def _scaled(table: _Table) -> list[str]:
    """Scale a table to the width of the text; many rows become several floats, since LaTeX cannot break a scaled table."""
    lines = []
    for start in range(0, max(1, len(table.body)), LONG_TABLE):
        rows = _tabular(table, table.body[start : start + LONG_TABLE])
        scaled = [r"\resizebox{\linewidth}{!}{%", *rows[:-1], rows[-1] + "}"]
        lines += [*([r"\clearpage"] if start else []), *_floating(table, scaled, " (continued)" if start else "")]
    return lines


def _long(table: _Table) -> list[str]:
    again = [r"\toprule", table.head, r"\midrule"]
    return [
        rf"\begin{{longtable}}{{{table.columns}}}",
        rf"\caption{{{table.caption}}}\label{{{table.label}}}\\",
        *again, r"\endfirsthead", *again, r"\endhead",
        r"\midrule", rf"\multicolumn{{{len(table.columns)}}}{{r}}{{continued}}\\", r"\endfoot", r"\bottomrule",
        r"\endlastfoot",
        *table.body,
        r"\end{longtable}",
    ]  # fmt: skip


def name_sheets(sections: Sequence[Section]) -> dict[str, Sheet]:
    """Give each table of the page a file name: its own; where several tables share it, with the section's name and a number."""
    shown = [(section.key.replace("-", "_"), sheet) for section in sections for sheet in section.sheets if sheet.name]
    counts, named = Counter(sheet.name for _, sheet in shown), dict[str, Sheet]()
    for key, sheet in shown:
        name = sheet.name if counts[sheet.name] == 1 else f"{sheet.name}_{key}"
        same = sum(other == name or other.startswith(f"{name}_part_") for other in named)
        named[f"{name}_part_{same + 1}" if same else name] = sheet
    return named


def save_latex(sections: Sequence[Section], directory: Path) -> None:
    """Write ``<name>.tex`` for every table that the page shows."""
    for name, sheet in name_sheets(sections).items():
        if not sheet.is_elsewhere:
            write_text(directory / f"{name}.tex", latex_table(sheet, name))
