"""Makes text of unknown origin harmless before a terminal or a spreadsheet interprets it."""

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    r"""Replace characters that a terminal would act on (escape sequences, line feeds, marks that reverse text) by their codes.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\u200c\u200d":
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character


def one_line(text: str) -> str:
    """Join the lines of a text and make it printable."""
    return printable(" ".join(text.split()))


def without_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """Put an apostrophe before text that a spreadsheet would take for a formula; numbers stay as they are.

    >>> import pandas as pd
    >>> without_formulas(pd.DataFrame({"a": ["=1+1", "de"], "b": [-1.5, 2.0]})).to_csv(index=False).split()
    ['a,b', "'=1+1,-1.5", 'de,2.0']
    """
    import pandas as pd  # late: most callers print a line and have no table

    def harmless(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

    columns = {
        column: table[column].map(harmless)
        for column in table
        if not pd.api.types.is_numeric_dtype(table[column]) and not isinstance(table[column].dtype, pd.CategoricalDtype)
    }
    return table.assign(**columns).rename(columns=harmless) if columns else table.rename(columns=harmless)
